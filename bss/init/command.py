"""The command `bss init`."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape

from bss.config.schema import Links
from bss.console import counts_table, make_console, make_table
from bss.datasets.find import all_datasets, find_dataset
from bss.datasets.read import count_notes
from bss.errors import BssError
from bss.init.cautions import class_counts
from bss.init.dataset import dataset_text
from bss.init.estimate import estimate
from bss.init.project import next_commands, write_project
from bss.init.suggest import Suggestion, check_new, root_for, split_name, suggest, write_new

PARAMS = "params.yaml"
"""The file that dvc.yaml names."""


def init(manifest: Path, output: Path, force: bool, links: Links) -> None:
    """Inspect `manifest` and write `output`; raise `BssError` if that fails or `output` already exists."""
    check_new(output, force)
    console = make_console()
    with console.status("init: reading the manifest") as status:
        made = suggest(manifest, output.parent, lambda name: status.update(f"init: inspecting {escape(name)}"), links)
    write_new(output, made.text)
    _print(console, made, split_name(manifest)[0], output)


def init_dataset(
    name: str, root: Path, protocol: str, method: str | None, output: Path, force: bool, links: Links
) -> None:
    """Write `output` for the published dataset `name` in the folder `root`, after checking its layout.

    `method` as in `dataset_parameters`.
    """
    check_new(output, force)
    dataset = find_dataset(name, "--dataset")
    folder = root_for(root, output.parent)
    notes = count_notes(dataset.read(root), dataset.counts)
    write_new(output, dataset_text(name, protocol, folder, root, method, links))
    console = make_console()
    for note in (*notes, *dataset.notes):
        console.print(f"Note: {note}", markup=False, soft_wrap=True)
    _finish(console, output, f" for {dataset.title}, protocol {protocol}")


def show_presets(name: str | None, protocol: str, method: str | None, table: bool) -> None:
    """Print the datasets, or one dataset's full preset as YAML; `method` and `table` as in `dataset_text`."""
    if table and (name is None or method is not None):
        raise BssError("--table needs the name of a preset, and no --method: `bss presets NAME --table`.")
    if name is not None:
        find_dataset(name, "the preset")
        print(dataset_text(name, protocol, f"data/{name}", method=method, table=table), end="")
        return
    if method is not None:
        raise BssError("--method needs the name of a preset: `bss presets NAME --protocol published --method ...`.")
    columns = ["preset", "dataset", "modalities", "classes", "samples, published splits", "honest split"]
    rows = [
        [
            dataset.name,
            dataset.title,
            ", ".join(dataset.preset["prepare"]["modalities"]) or "any",
            "any" if dataset.classes is None else dataset.classes,
            " / ".join(f"{split} {count}" for split, count in dataset.counts.items()) or "-",
            f"{dataset.honest}, by {dataset.group}",
        ]
        for dataset in all_datasets().values()
    ]
    console = make_console()
    console.print(make_table(columns, rows))
    console.print("`bss presets NAME` prints a full preset; docs/datasets.md has layouts and sources.")


def _print(console: Console, made: Suggestion, root: Path, output: Path) -> None:
    rows = [[name, guess.kind["kind"], guess.encoder["kind"], guess.seen] for name, guess in made.guesses.items()]
    console.print(make_table(["modality", "kind", "encoder", "seen"], rows))
    console.print("Samples, with val split off from train:" if made.carved else "Samples:")
    console.print(counts_table(class_counts(made.manifest)))
    for caution in made.cautions:
        console.print(f"Caution: {caution}.", markup=False, soft_wrap=True)
    with console.status("init: timing a few training steps"):
        duration = _duration(made, root)
    console.print(duration, markup=False, highlight=False, soft_wrap=True)
    _finish(console, output, "")


def _duration(made: Suggestion, root: Path) -> str:
    """Return what the first comparison takes, or why that was not estimated."""
    try:
        found = estimate(made.config, made.manifest, root)
    except (BssError, ModuleNotFoundError, RuntimeError, MemoryError, OSError) as error:
        # Such as a GPU that another program has filled: nothing of `bss init` depends on an estimate.
        reason = str(error).partition("\n")[0] or type(error).__name__
        return f"The time of the first comparison was not estimated: {reason}"
    too_few = "The time of the first comparison was not estimated: too few files could be read."
    return too_few if found is None else found.text()


def _finish(console: Console, output: Path, what: str) -> None:
    """Turn the folder of a params.yaml into a project; print what was written and the next commands."""
    if output.name != PARAMS:  # dvc.yaml reads params.yaml
        console.print(f"Wrote {output}{what}. Next: rename it to {PARAMS}, then dvc repro", markup=False)
        return
    written, notes = write_project(output.parent)
    console.print(f"Wrote {', '.join([str(output), *written])}{what}.", markup=False, soft_wrap=True)
    for note in notes:
        console.print(f"Note: {note}.", markup=False, soft_wrap=True)
    console.print(f"Next: {next_commands(output.parent)}", markup=False, soft_wrap=True)
