"""Consoles and tables for the output of the stages."""

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

PLAIN_WIDTH = 120
"""Width of tables that go to a file or a pipe."""
LISTED = 30
"""Maximum number of rows printed of a long table."""


def make_console() -> Console:
    """Return a console as wide as the terminal, or plain and 120 columns wide without one."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    return console


def make_plain_console() -> Console:
    """Return a console of plain lines, for output while another console shows a progress bar."""
    console = Console(force_terminal=False, highlight=False)
    console.width = PLAIN_WIDTH
    return console


def make_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """Return a plain table; square brackets in its cells are not parsed as markup."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*[Text(str(cell)) for cell in row])
    return table


def counts_table(counts: Mapping[str, Mapping[str, int]]) -> Table:
    """Return a table of sample counts per class (the first 30) and split, with totals."""
    splits = list(next(iter(counts.values())))
    rows: list[list[object]] = [[label, *count.values()] for label, count in list(counts.items())[:LISTED]]
    if len(counts) > LISTED:
        rows.append([f"... and {len(counts) - LISTED} more", *[""] * len(splits)])
    rows.append(["all", *[sum(count[split] for count in counts.values()) for split in splits]])
    return make_table(["label", *splits], rows)
