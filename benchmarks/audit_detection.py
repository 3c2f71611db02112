"""How well `bss audit` finds planted faults, against the loss, the similarity, the balance score and cleanlab.

All judge the same predictions out of fold. The data are the built-in ones, or a folder with a manifest, WAV and PNG
files and the same modalities. Finished cells are kept as JSON, and predictions of networks as by `bss audit`: if it is
interrupted, it loses one network at most, and other code of the verdicts needs no new networks.
"""

import argparse
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.detection_scores import (
    BINS,
    best_of,
    calibration,
    share_right,
    suspicions_of_cleanlab,
    suspicions_of_training,
    worth,
)
from benchmarks.planted_faults import Fault, plant
from benchmarks.record import PROJECT
from benchmarks.reliability_plot import Bin, draw, pooled
from benchmarks.repair_worth import MODALITIES, built_in
from bss.audit.predictions import PREDICTION, Part, average
from bss.audit.results import TABLE, read_summary
from bss.config import Config, config_from_tree
from bss.config.load import apply_override, read_yaml
from bss.data.store import Store
from bss.data.tables import read_table
from bss.data.truth import read_truth
from bss.deciding import code_digest
from bss.errors import BssError
from bss.files import digest_file, digest_json, read_json, whole_file, write_json
from bss.report.markdown import markdown_table
from bss.stages.audit import audit, duplicates_of, networks_of
from bss.stages.prepare import prepare

KINDS = {
    "contradicting": "contradiction",
    "label": "label",
    "silenced": "empty",
    "noise": "empty",
    "duplicate": "duplicate",
}
"""The faults, and the kind that the audit should say."""
OURS, COPIES, CLEANLAB = "audit", "copies", "cleanlab"
COLUMNS = (OURS, COPIES, "loss", "similarity", "balance score", CLEANLAB)
"""`audit` is the order of audit.csv; `copies`, for duplicates alone, the similarity to the nearest one."""
VERDICTS = ["fault", "found", "kind", "blame", "Brier", "true share", "estimated", "clean above 0.5", "CPU seconds"]


@dataclass(frozen=True)
class Cell:
    """One fault in one dataset."""

    root: Path
    fault: Fault
    folder: Path
    seeds: tuple[int, ...]
    overrides: tuple[str, ...]
    groups: bool

    @property
    def config(self) -> Config:
        """The parameters of the audit."""
        tree: dict[str, Any] = read_yaml(PROJECT / "params.yaml")
        tree["generate"] = {}
        tree["prepare"] |= {"root": str(self.folder / "data"), "links": "follow"}
        tree["network"] |= {"prediction": "fused"}  # what is kept beside the heads; the audit asks those alone
        own = (f"audit.seeds={list(self.seeds)}", "audit.page=none", "tracking.enabled=false", "resources.jobs=1")
        for text in (*own, *self.overrides):
            apply_override(tree, text)
        return config_from_tree(tree, "params.yaml")

    def measured(self) -> dict[str, Any]:
        """Return what was measured, which is done now unless it is in the folder, by the same code and parameters."""
        kept, of_data = self.folder / "cell.json", self._key_of_data()
        key = digest_json([of_data, self.seeds, code_digest("audit"), *map(digest_file, sorted(_judging()))])
        if _key_in(kept) == key:
            return read_json(kept, "audit_detection")
        with redirect_stdout(StringIO()):
            store, planted = self.folder / "store", self.folder / "planted.json"
            if _key_in(planted) != of_data:
                shutil.rmtree(self.folder / "data", ignore_errors=True)
                plant(self.root, self.fault, MODALITIES, self.folder / "data", self.groups)
                prepare(self.config, self.folder / "data", store)
                with whole_file(planted) as file:
                    write_json(file, {"key": of_data})
            data, folder = Store.open(store), self.folder / "audit"
            parts = networks_of(self.config, data, duplicates_of(self.config, data), folder)
            afresh = not any(part.finished for part in parts)
            before = _processor_seconds()
            audit(self.config, store, folder)
            seconds = _processor_seconds() - before if afresh else _kept_seconds(kept)
            found = {"key": key, "seconds": seconds, **self._scores(data, parts)}
        with whole_file(kept) as file:
            write_json(file, found)
        return found

    def _key_of_data(self) -> str:
        planting = [PROJECT / "benchmarks" / f"{name}.py" for name in ("altered_files", "planted_faults")]
        decides = [self.fault, self.overrides, self.groups, code_digest("prepare"), *map(digest_file, planting)]
        return digest_json([digest_file(self.root / "manifest.csv"), *decides])

    def _scores(self, data: Store, parts: list[Part]) -> dict[str, Any]:
        summary = read_summary(self.folder / "audit", data)
        said = read_table(self.folder / "audit" / TABLE, "audit").to_pydict()
        position = {name: row for row, name in enumerate(data.ids)}
        rows = np.array([position[name] for name in said["id"]])  # the most suspicious first
        truth = read_truth(self.folder / "data" / "truth.csv", said["id"])
        logits = average(parts, [*data.modalities, PREDICTION], rows, len(data.classes))
        fused, labels = logits.pop(PREDICTION), data.labels[rows]
        faulty = np.array([kind != "clean" for kind in truth["kind"]])
        probability = numbers(said["probability"], said["id"])
        copied = np.array([name is not None for name in said["duplicate_of"]])
        copies = self.fault.kind == "duplicate"
        called = copied if copies else probability > 0.5
        found: dict[str, Any] = {
            "samples": len(rows),
            "faulty": int(faulty.sum()),
            "clean_above": float(called[~faulty].mean()),
            "agreement": summary["agreement_with_label"],
        }
        if not self.fault.share:
            return found
        suspicion = {OURS: -np.arange(len(rows), dtype=np.float64)}
        suspicion[COPIES] = np.array([-1.0 if s is None else s for s in said["similarity"]])
        suspicion |= suspicions_of_training(logits, fused, labels)
        found["cleanlab"], suspicion[CLEANLAB] = best_of(suspicions_of_cleanlab(logits, fused, labels), faulty)
        kind, hits = KINDS[self.fault.kind], faulty & called
        blamed = np.array([bool(name) for name in truth["modality"]])
        brier, bins = calibration(probability, faulty)
        return found | {
            "columns": {name: worth(own, faulty) for name, own in suspicion.items() if copies or name != COPIES},
            "found": float(called[faulty].mean()),
            "kind": share_right(said["kind"], [kind] * len(rows), hits),
            "blame": share_right(said["blame"], truth["modality"], hits & blamed),
            "brier": None if copies else brier,
            "bins": None if copies else bins,
            "estimated": summary["kinds"][kind]["share"],
        }


def numbers(probability: Sequence[float | None], ids: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return the probabilities as float64 [n]; raise `BssError` if one is None or NaN, of which nothing can be said."""
    found = np.array(probability, dtype=np.float64)
    missing = np.flatnonzero(np.isnan(found))
    if len(missing):
        raise BssError(
            f"{len(missing)} of {len(found)} samples have no probability, such as {ids[missing[0]]}: the fit of the "
            "audit has failed, or their class is in one fold alone. Nothing was measured."
        )
    return found


def _judging() -> list[Path]:
    """Return the files that decide the verdicts on given predictions, and what they are worth."""
    ours = [*(PROJECT / "bss" / "audit").glob("*.py"), *(PROJECT / "bss" / "balance").glob("audit*.py")]
    return [*ours, PROJECT / "benchmarks" / "detection_scores.py"]


def _key_in(path: Path) -> str | None:
    try:
        return str(read_json(path, "audit_detection", {"key": str})["key"])
    except BssError:
        return None


def _kept_seconds(path: Path) -> float | None:
    """Return what the audit took when it trained all its networks; None if it never did in one go."""
    try:
        seconds = read_json(path, "audit_detection")["seconds"]
    except (BssError, KeyError):
        return None
    return None if seconds is None else float(seconds)


def _processor_seconds() -> float:
    """Return what this process and its finished children have used: on a busy machine wall time says nothing."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.audit_detection", description=__doc__)
    parser.add_argument("folder", type=Path, help="where cells are kept, each in a folder")
    parser.add_argument("--root", type=Path, help="data to plant faults in; default: the built-in data, clean")
    parser.add_argument(
        "--shares", type=int, nargs="+", default=[10, 2, 40], metavar="PERCENT", help="default: 10 2 40"
    )
    parser.add_argument("--kinds", nargs="+", choices=["clean", *KINDS], default=["clean", *KINDS])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="audit.seeds; default: 0 1")
    parser.add_argument("--without-groups", action="store_true", help="leave out the manifest's column group")
    parser.add_argument("--set", action="append", default=[], dest="overrides", help="as for bss")
    options = parser.parse_args(arguments)
    if find_spec("cleanlab") is None:
        parser.error("cleanlab is not installed: `pip install cleanlab`, or `pip install -e .[dev]` for all tools.")
    root = options.root or built_in(options.folder / "built-in")
    faults = [Fault("clean", 0.0)] if "clean" in options.kinds else []
    faults += [Fault(kind, share / 100) for share in options.shares for kind in options.kinds if kind != "clean"]
    shared = (tuple(options.seeds), tuple(options.overrides), not options.without_groups)
    cells = {}
    for fault in faults:
        try:
            cells[fault] = Cell(root, fault, options.folder / fault.name, *shared).measured()
        except BssError as error:
            parser.exit(1, f"audit_detection: {fault.name}: {error}\n")
        print(f"audit_detection: {fault.name}", flush=True)
    planted = {fault: cell for fault, cell in cells.items() if fault.share}
    if planted:
        print(markdown_table(*ranks(planted)))
        print(markdown_table(VERDICTS, [verdict(fault, cell) for fault, cell in planted.items()]))
        bins = pooled([cell["bins"] for cell in planted.values() if cell["bins"] is not None])
        print(markdown_table(["probability", "samples", "mean", "faulty"], reliability(bins)))
        if bins:
            draw(bins, options.folder / "reliability.svg")
    if len(planted) < len(cells):
        clean = cells[faults[0]]
        print(f"clean: {100 * clean['clean_above']:.2f} % of {clean['samples']} samples above 0.5")


def ranks(cells: Mapping[Fault, dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of a table: average precision and, after a slash, precision at the planted share."""
    shown = [name for name in COLUMNS if any(name in cell["columns"] for cell in cells.values())]
    rows = []
    for fault, cell in cells.items():
        found = cell["columns"]
        each = [f"{found[c]['ap']:.3f} / {found[c]['precision']:.2f}" if c in found else "" for c in shown]
        rows.append([fault.name, *each, cell["cleanlab"]])
    return ["fault", *shown, "which of cleanlab's"], rows


def verdict(fault: Fault, cell: dict[str, Any]) -> list[str]:
    """Return the row of one fault in the table of `VERDICTS`."""

    def number(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    right = [number(cell[name], ".1%") for name in ("found", "kind", "blame")]
    shares = [number(value, ".1%") for value in (cell["faulty"] / cell["samples"], cell["estimated"])]
    last = [number(cell["clean_above"], ".2%"), number(cell["seconds"], ".0f")]
    return [fault.name, *right, number(cell["brier"], ".4f"), *shares, *last]


def reliability(bins: Sequence[Bin]) -> list[list[str]]:
    """Return the rows of the reliability table."""
    return [
        [f"{b.number / BINS:.1f} to {(b.number + 1) / BINS:.1f}", str(b.samples), f"{b.mean:.3f}", f"{b.faulty:.3f}"]
        for b in bins
    ]


if __name__ == "__main__":
    main()
