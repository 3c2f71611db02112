"""The command `bss init`."""

from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bss.console import make_console
from bss.data.store import SPLITS
from bss.init.cautions import class_counts
from bss.init.suggest import Suggestion, check_new, suggest, write_new

SHOWN = 30
"""Classes that are listed one by one."""


def init(manifest: Path, output: Path, force: bool) -> None:
    """Look at `manifest` and write `output`; raise `BssError` where it cannot be made, or is there already."""
    check_new(output, force)
    made = suggest(manifest, output.parent)
    write_new(output, made.text)
    _print(make_console(), made, output)


def _print(console: Console, made: Suggestion, output: Path) -> None:
    # Names of the user's columns and labels may hold square brackets, which are no markup here.
    table = _table(["modality", "kind", "encoder", "seen"])
    for name, guess in made.guesses.items():
        table.add_row(Text(name), guess.kind["kind"], guess.encoder["kind"], Text(guess.seen))
    console.print(table)
    counts = class_counts(made.manifest)
    console.print("Samples, val carved out of train:" if made.carved else "Samples:")
    table = _table(["label", *SPLITS])
    for label, count in list(counts.items())[:SHOWN]:
        table.add_row(Text(label), *[str(count[split]) for split in SPLITS])
    if len(counts) > SHOWN:
        table.add_row(f"... and {len(counts) - SHOWN} more", *[""] * len(SPLITS))
    table.add_row("all", *[str(sum(count[split] for count in counts.values())) for split in SPLITS])
    console.print(table)
    for caution in made.cautions:
        console.print(f"Caution: {caution}.", markup=False, soft_wrap=True)
    console.print(f"Wrote {output}. Next: dvc repro", markup=False)


def _table(columns: list[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column)
    return table
