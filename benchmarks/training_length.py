"""What the schedulers are worth on the built-in data as trials get longer: accuracies, no timings."""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import describe_machine
from benchmarks.process import BSS, PROJECT, run_python
from bss.config import BUILTIN
from bss.config.load import read_yaml
from bss.report.markdown import legend, markdown_row, markdown_table

PAGE = PROJECT / "docs" / "training-length.md"
CURRICULA = ("random-ranking", "bss-h", "bss-h-trimmed")
SCHEDULERS = ("uniform", "random-ranking", "bss-h", "bss-h-trimmed", "bss-l", "bss-l-online")
HEAD = ["epochs", "scheduler", "test accuracy, %", "vs uniform", "vs random ranking", "last epoch, %", "steps"]
TEXT = """# How long to train

The built-in data ([results.md](results.md)) with trials of different lengths. The curriculum opens over the first
third of the epochs and the learning rate falls after two thirds, as in `params.yaml`; the warm-up of the score stays at
three epochs. The schedulers of one length are compared together: five against each reference.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Train every scheduler for each number of epochs; print the table, and with ``--record`` write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training_length", description=__doc__)
    parser.add_argument("--epochs", type=int, nargs="+", default=[3, 6, 12, 24, 48], help="default: 3 6 12 24 48")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(8)), help="default: 0 to 7")
    parser.add_argument("--set", action="append", default=[], dest="overrides", help="as for bss, of all of them")
    parser.add_argument("--record", action="store_true", help="write docs/training-length.md")
    options = parser.parse_args(arguments)
    rows, meaning = run(options.epochs, options.seeds, options.overrides)
    table = markdown_table(HEAD, rows)
    print(table)
    if options.record:
        machine = describe_machine()
        made = (
            f"`python -m benchmarks.training_length --record`, {len(options.seeds)} seeds, on {machine['processor']}; "
        )
        made += f"torch {machine['torch']}; commit {machine['commit']}."
        PAGE.write_text(f"{TEXT}\n{meaning}\n\n{made}\n\n{table}\n", encoding="utf-8")


def run(epochs: Sequence[int], seeds: Sequence[int], overrides: Sequence[str]) -> tuple[list[list[str]], str]:
    """Return the rows of the table, and what its numbers mean."""
    rows, meaning = [], ""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "params.yaml").write_text(json.dumps(_parameters()), encoding="utf-8")
        common = [f"seeds={json.dumps(list(seeds))}", "tracking.enabled=false", *overrides]
        for stage in (["generate", "digits"], ["prepare"], ["measure"]):
            _run(root, stage, common)
        for count in epochs:
            print(f"training_length: {count} epochs ...", file=sys.stderr, flush=True)
            changed = [*common, *of_length(count)]
            for stage in (["schedule"], ["train"], ["compare"]):
                _run(root, stage, changed)
            found = json.loads((root / "outputs" / "report" / "comparison.json").read_text(encoding="utf-8"))
            rows += [[str(count), name, *markdown_row(found["schedulers"][name])] for name in SCHEDULERS]
            meaning = legend(found)
    return rows, meaning


def _parameters() -> dict[str, Any]:
    """Return those of the project, with the schedulers that are compared."""
    tree = read_yaml(BUILTIN)
    schedulers = tree["schedule"]["schedulers"]
    tree["schedule"]["schedulers"] = {name: schedulers[name] for name in SCHEDULERS}
    tree |= {"strategies": {"none": {"kind": "none"}}, "combinations": None}
    return tree


def of_length(epochs: int) -> list[str]:
    """Return the parameters of trials of so many epochs, in the proportions of params.yaml."""
    every: dict[str, Any] = {
        f"schedule.schedulers.{name}.pacing.grow_epochs": max(1, epochs // 3) for name in CURRICULA
    }
    every |= {"train.epochs": epochs, "train.decay.at": [max(1, 2 * epochs // 3)]}
    return [f"{key}={value}" for key, value in every.items()]


def _run(folder: Path, stage: list[str], overrides: Sequence[str]) -> None:
    run_python(BSS, [*stage, *(part for text in overrides for part in ("--set", text))], folder)


if __name__ == "__main__":
    main()
