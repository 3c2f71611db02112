"""Where people read what a stage prints."""

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

PLAIN_WIDTH = 120
"""Columns of tables that go to a file or a pipe."""
LISTED = 30
"""Rows of a long table that are printed one by one."""


def make_console() -> Console:
    """Return a console as wide as the terminal, or plain text 120 wide where there is none."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    return console


def make_plain_console() -> Console:
    """Return a console of plain lines, for what is printed while another shows a bar."""
    console = Console(force_terminal=False, highlight=False)
    console.width = PLAIN_WIDTH
    return console


def make_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """Return a plain table; square brackets in its cells are no markup."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*[Text(str(cell)) for cell in row])
    return table


def counts_table(counts: Mapping[str, Mapping[str, int]]) -> Table:
    """Return a table of the samples of each class (the first 30) and split, and of all."""
    splits = list(next(iter(counts.values())))
    rows: list[list[object]] = [[label, *count.values()] for label, count in list(counts.items())[:LISTED]]
    if len(counts) > LISTED:
        rows.append([f"... and {len(counts) - LISTED} more", *[""] * len(splits)])
    rows.append(["all", *[sum(count[split] for count in counts.values()) for split in splits]])
    return make_table(["label", *splits], rows)
