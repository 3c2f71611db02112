"""What repairing faulty pairs is worth: accuracies on test by the honest protocol, with equal steps; no timings.

The data are the built-in ones, or a folder with a manifest and the same modalities. If it is interrupted, it resumes:
finished trials are kept, and more seeds train only those.
"""

import argparse
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.planted_faults import FAULTS, Fault, plant
from benchmarks.record import PROJECT
from bss.config import Config, config_from_tree
from bss.config.load import apply_override, read_yaml
from bss.data.store import Store
from bss.errors import BssError
from bss.files import read_json
from bss.report.markdown import markdown_table
from bss.report.statistics import paired_differences, sign_flip_p, t_interval
from bss.stages.apply_audit import apply_audit
from bss.stages.audit import audit
from bss.stages.generate import generate
from bss.stages.measure import measure
from bss.stages.prepare import prepare
from bss.stages.schedule import schedule
from bss.stages.train import train
from bss.training.sequences import count_steps
from bss.training.trial_spec import TrialId

MODALITIES = ("audio", "image")
STRATEGIES = {
    "label-smoothing": {"kind": "weights", "label_smoothing": 0.1},
    "repair": {"kind": "repair"},
    "repair-replace": {"kind": "repair", "how": "replace"},
}
ABOVE = 0.9
"""Probability above which `bss audit --apply` decides."""
APPLY = "audit --apply 0.9"
HEAD = ["fault", "row", "test accuracy, %", "vs uniform", "p", "to the ceiling", "last epoch, %", "steps"]


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    scheduler: str = "uniform"
    strategy: str = "none"
    decided: bool = False
    """Whether the decisions of an audit are applied first."""


ROWS = {
    "uniform": Row(),
    "bss-h": Row("bss-h"),
    "bss-h-trimmed": Row("bss-h-trimmed"),
    "label smoothing": Row(strategy="label-smoothing"),
    "repair": Row(strategy="repair"),
    "repair, how: replace": Row(strategy="repair-replace"),
    APPLY: Row(decided=True),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is missing and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.repair_worth", description=__doc__)
    parser.add_argument("folder", type=Path, help="where data and trials are kept")
    parser.add_argument("--root", type=Path, help="data to plant faults in; default: the built-in data, clean")
    parser.add_argument("--without-groups", action="store_true", help="leave out the manifest's column group")
    parser.add_argument("--seeds", type=int, default=20, help="default: 20")
    parser.add_argument("--faults", nargs="+", choices=[f.name for f in FAULTS], default=[f.name for f in FAULTS])
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--set", action="append", default=[], dest="overrides", help="as for bss")
    options = parser.parse_args(arguments)
    root = options.root or built_in(options.folder / "built-in")
    wanted = [fault for fault in FAULTS if fault.name in options.faults]
    found: dict[str, dict[str, list[dict[str, Any]]]] = {fault.name: {} for fault in wanted}
    for seed in range(options.seeds):  # so that an interruption leaves whole seeds
        for fault in wanted:
            folder, groups = options.folder / fault.name, not options.without_groups
            setting = Setting(root, fault, folder, tuple(options.overrides), seed, groups)
            for name in options.rows:
                found[fault.name].setdefault(name, []).append(setting.trained(ROWS[name]))
                print(f"repair_worth: {fault.name}, {name}, seed {seed}", flush=True)
    print(markdown_table(HEAD, table(found)))


def built_in(folder: Path) -> Path:
    """Return the built-in data without faults, generated if it is not in `folder`."""
    if not folder.is_dir():
        tree = read_yaml(PROJECT / "params.yaml")
        apply_override(tree, "generate.digits.contradicting=0.0")
        with redirect_stdout(StringIO()):
            generate(config_from_tree(tree, "params.yaml"), "digits", folder)
    return folder


@dataclass(frozen=True)
class Setting:
    """One fault, and all that is trained with it."""

    root: Path
    fault: Fault
    folder: Path
    overrides: tuple[str, ...]
    seed: int
    groups: bool

    def config(self, row: Row = ROWS["uniform"], epochs: int | None = None, decisions: str | None = None) -> Config:
        """Return the parameters for a row; other `epochs` stretch the curriculum and the decay in proportion."""
        tree: dict[str, Any] = read_yaml(PROJECT / "params.yaml")
        schedulers = tree["schedule"]["schedulers"]
        tree["schedule"]["schedulers"] = {name: schedulers[name] for name in ("uniform", row.scheduler)}
        tree |= {"strategies": tree["strategies"] | STRATEGIES, "combinations": None}
        tree["compare"] |= {"control": None}
        tree["generate"] = {}
        tree["prepare"] |= {"root": str(self.data), "links": "follow", "decisions": decisions}
        own = (f"seeds=[{self.seed}]", "tracking.enabled=false", "resources.jobs=1")
        for text in (*own, *self.overrides):
            apply_override(tree, text)
        if epochs is not None:
            tree["train"] |= {"epochs": epochs, "decay": {**tree["train"]["decay"], "at": [max(1, 2 * epochs // 3)]}}
            tree["schedule"]["schedulers"][row.scheduler]["pacing"]["grow_epochs"] = max(1, epochs // 3)
        return config_from_tree(tree, "params.yaml")

    @property
    def data(self) -> Path:
        """The folder with the manifest that has the fault."""
        return self.folder / "data"

    def trained(self, row: Row) -> dict[str, Any]:
        """Return the metrics of one training, which is made if it is missing."""
        with redirect_stdout(StringIO()):
            if not self.data.is_dir():
                plant(self.root, self.fault, MODALITIES, self.data, self.groups)
            config = self.config(row)
            store = self._store("store", config)
            if row.decided:
                config, store = self._decided(store)
            elif row.scheduler != "uniform":
                config = self.config(row, self._epochs(row, Store.open(store)))
            own = self.folder / "runs" / ("decided" if row.decided else row.scheduler)
            planned = own / f"seed={self.seed}"
            scores, plans = self.folder / "scores" / f"seed={self.seed}", planned / "plans"
            if row.scheduler != "uniform" and not scores.is_dir():  # the uniform plan needs none
                measure(config, store, scores)
            if not plans.is_dir():
                schedule(config, store, scores, plans)
            trial = TrialId(row.scheduler, self.seed, row.strategy)
            train(config, store, scores, plans, own / "trials", [trial])
        return read_json(own / "trials" / trial.path / "metrics.json", "train", {"steps": int})

    def _store(self, name: str, config: Config) -> Path:
        path = self.folder / name
        if not path.is_dir():
            prepare(config, self.data, path)
        return path

    def _decided(self, store: Path) -> tuple[Config, Path]:
        """Return parameters and store with the decisions of an audit, those without if it decides nothing."""
        config, file = self.config(), self.data / "decisions.csv"
        if not file.exists():
            audit(config, store, self.folder / "audit")
            apply_audit(config, store, self.folder / "audit", ABOVE)
        decided = self.config(decisions=file.name)
        try:
            return decided, self._store("store-decided", decided)
        except BssError as error:
            raise BssError(f"{self.fault.name}: {error}") from error

    def _epochs(self, row: Row, store: Store) -> int:
        """Return the number of epochs whose steps come closest to those of uniform shuffling."""
        config = self.config(row)
        n, size = len(store.rows("train")), config.train.batch_size
        wanted = config.train.epochs * count_steps(n, size)

        def steps(epochs: int) -> int:
            entry = self.config(row, epochs).schedule.schedulers[row.scheduler]
            admitted = entry.admitted(n)
            return sum(count_steps(entry.count(admitted, epoch, size), size) for epoch in range(epochs))

        return min(range(config.train.epochs, 3 * config.train.epochs), key=lambda epochs: abs(steps(epochs) - wanted))


def table(found: dict[str, dict[str, list[dict[str, Any]]]]) -> list[list[str]]:
    """Return the rows of the table; the ceiling is uniform shuffling on the clean data."""
    ceiling = _accuracies(found.get("clean", {}).get("uniform"))
    rows = []
    for fault, by_row in found.items():
        uniform = _accuracies(by_row.get("uniform"))
        for name, trials in by_row.items():
            own = _accuracies(trials)
            assert own is not None
            steps = np.mean([trial["steps"] for trial in trials])
            last = 100 * np.mean([trial["last/test_acc"] for trial in trials])
            cells = [fault, name, f"{own.mean():.2f}", *_against(own, uniform, name), "", f"{last:.2f}", f"{steps:.0f}"]
            if ceiling is not None and uniform is not None and fault != "clean" and name != "uniform":
                gap = ceiling.mean() - uniform.mean()
                cells[5] = f"{100 * (own - uniform).mean() / gap:.0f} % of {gap:.2f}" if gap > 0 else ""
            rows.append(cells)
    return rows


def _accuracies(trials: list[dict[str, Any]] | None) -> Any:
    return None if trials is None else np.array([100 * trial["test/acc"] for trial in trials])


def _against(own: Any, uniform: Any, name: str) -> tuple[str, str]:
    """Return the mean difference, with its 95 % interval, and the p-value of the sign-flip test."""
    if uniform is None or name == "uniform":
        return "", ""
    differences = paired_differences(own, uniform)
    if len(differences) < 2:
        return f"{differences.mean():+.2f}", ""
    low, high = t_interval(differences)
    p = float(sign_flip_p(differences[None], 10_000)[0])
    return f"{differences.mean():+.2f} [{low:.2f}, {high:.2f}]", "< 0.001" if p < 0.001 else f"{p:.3f}"


if __name__ == "__main__":
    main()
