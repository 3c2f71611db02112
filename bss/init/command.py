"""The command `bss init`."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape

from bss.console import counts_table, make_console, make_table
from bss.init.cautions import class_counts
from bss.init.suggest import Suggestion, check_new, suggest, write_new


def init(manifest: Path, output: Path, force: bool) -> None:
    """Look at `manifest` and write `output`; raise `BssError` where it cannot be made, or is there already."""
    check_new(output, force)
    console = make_console()
    with console.status("init: looking at the manifest") as status:
        made = suggest(manifest, output.parent, lambda name: status.update(f"init: looking at {escape(name)}"))
    write_new(output, made.text)
    _print(console, made, output)


def _print(console: Console, made: Suggestion, output: Path) -> None:
    rows = [[name, guess.kind["kind"], guess.encoder["kind"], guess.seen] for name, guess in made.guesses.items()]
    console.print(make_table(["modality", "kind", "encoder", "seen"], rows))
    console.print("Samples, val carved out of train:" if made.carved else "Samples:")
    console.print(counts_table(class_counts(made.manifest)))
    for caution in made.cautions:
        console.print(f"Caution: {caution}.", markup=False, soft_wrap=True)
    console.print(f"Wrote {output}. Next: dvc repro", markup=False)
