"""A comparison before and after decisions about samples: what was decided, and what it changed."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bss.config import Config, config_to_tree, flatten
from bss.config.combinations import combinations_of
from bss.data.decisions import FILE, dataset_of
from bss.data.store import Store
from bss.deciding import DECIDING, code_digest, pick
from bss.errors import BssError
from bss.files import digest_json, read_json
from bss.report.comparison import Comparison, Results, values
from bss.report.families import decide_family
from bss.report.statistics import paired_differences
from bss.report.wording import interval, mark, named

MADE_BY = "basis"
"""Key of comparison.json with what a later comparison needs of this one."""
PARAMETERS = (
    *(key for key in DECIDING["train"].parameters if key not in ("combinations", "protocol", "seeds", "tracking")),
    *("prepare.modalities", "measure", "schedule"),
)
"""Parameters that make two comparisons differ in more than their decisions."""


def basis_of(config: Config, store: Store, results: Results) -> dict[str, Any]:
    """Return digests of data, decisions, test samples and code, the parameters, and the test accuracy of each seed."""
    test = store.rows("test")
    ignored = store.ignored(test)
    samples = [store.ids[test].tolist(), store.labels[test].tolist(), None if ignored is None else ignored.tolist()]
    inputs = read_json(store.path / "provenance.json", "prepare", {"inputs": dict})["inputs"]
    parameters = flatten(pick(config_to_tree(config), PARAMETERS))
    return {
        "dataset": dataset_of(store.path),
        "decisions": inputs.get("decisions"),
        "test": digest_json([store.classes, *samples]),
        "code": code_digest("train"),
        "parameters": json.loads(json.dumps(parameters)),
        "test_acc": {name: values(trials, "test/acc").tolist() for name, trials in results.items()},
    }


def read_before(path: Path, config: Config, store: Store) -> Comparison:
    """Return the comparison.json at `path`, or in the folder `path`, of the same dataset and protocol.

    Raises `BssError` if it is not that, or has no scheduler or no seed of this one.
    """
    found = read_comparable(path, config)
    if found[MADE_BY].get("dataset") != dataset_of(store.path):
        raise BssError(f"{path}: is a comparison on another dataset (the digests of the manifests differ).")
    return found


def read_comparable(path: Path, config: Config) -> Comparison:
    """Return the same of whatever dataset: what can be checked before the data are prepared."""
    path = path / "comparison.json" if path.is_dir() else path
    if not path.is_file():
        raise BssError(f"{path}: no such file. --before takes the comparison.json of an earlier comparison.")
    found: Comparison = read_json(path, "compare", {"seed_numbers": list, "protocol": str})
    basis = found.get(MADE_BY)
    if not isinstance(basis, dict) or not isinstance(basis.get("test_acc"), dict):
        raise BssError(f"{path}: has no per-seed accuracies. Rerun `bss compare` in the project that produced it.")
    if found["protocol"] != config.protocol:
        raise BssError(f"{path}: has the protocol {found['protocol']}, but params.yaml {config.protocol}.")
    seeds = found["seed_numbers"]
    if not set(seeds) & set(config.seeds):
        raise BssError(f"{path}: has the seeds {seeds}, none of {list(config.seeds)}: nothing can be paired.")
    if not set(basis["test_acc"]) & {row.name for row in combinations_of(config)}:
        raise BssError(f"{path}: has none of the schedulers of params.yaml: {', '.join(basis['test_acc'])[:200]}.")
    for name, numbers in basis["test_acc"].items():
        if len(numbers) != len(seeds) or not all(isinstance(number, int | float) for number in numbers):
            raise BssError(f"{path}: damaged (the accuracies of {name} are not one per seed).")
    return found


def before_after(config: Config, before: Comparison, basis: dict[str, Any]) -> dict[str, Any]:
    """Return the effect of the decisions between `before` and the comparison with `basis`, in points of test accuracy.

    Per scheduler that both have: the means over the seeds that both have, and their differences paired by seed,
    decided as a family.
    """
    old = before[MADE_BY]
    seeds = [seed for seed in config.seeds if seed in before["seed_numbers"]]
    names = [name for name in basis["test_acc"] if name in old["test_acc"]]

    def accuracies(of: dict[str, list[float]], numbers: list[int]) -> Any:
        return 100 * np.array([[of[name][numbers.index(seed)] for seed in seeds] for name in names], dtype=np.float64)

    first, last = accuracies(old["test_acc"], before["seed_numbers"]), accuracies(basis["test_acc"], list(config.seeds))
    settings = config.compare
    found = decide_family(paired_differences(last, first), settings.correction, settings.margin, settings.resamples)
    one, other = old.get("parameters", {}), basis["parameters"]
    changed = sorted(key for key in {*one, *other} if one.get(key) != other.get(key))
    return {
        "decided": {"before": before.get("decisions", {}), "digest": old.get("decisions")},
        "test_changed": old.get("test") != basis["test"],
        "same_decisions": old.get("decisions") == basis["decisions"],
        "differ": [*changed, *(["the code of bss"] if old.get("code") != basis["code"] else [])],
        "seeds": seeds,
        "schedulers": {
            name: {"before": float(a.mean()), "after": float(b.mean()), **asdict(difference)}
            for name, a, b, difference in zip(names, first, last, found, strict=True)
        },
    }


def decided_lines(comparison: Comparison) -> list[str]:
    """Return the decisions about the samples of each split, and the file they come from."""
    counts: dict[str, dict[str, int]] = comparison.get("decisions", {})
    digest = comparison.get(MADE_BY, {}).get("decisions")
    if digest is None and not counts:
        return []
    parts = [f"{split} {', '.join(f'{n} {kind}' for kind, n in of.items())}" for split, of in counts.items()]
    by = "" if digest is None else f" (sha256 {digest[:12]})"
    return [f"Decisions of {FILE}{by}: {'; '.join(parts) or 'nothing was changed'}."]


def before_cautions(comparison: Comparison) -> list[str]:
    """Return why before and after are not comparable, if they are not."""
    found = comparison.get("before")
    if found is None:
        return []
    lines = []
    if found["test_changed"]:
        lines.append(
            "Before and after have different test samples or labels: their difference is not due to training alone."
        )
    if found["differ"]:
        lines.append(f"Before and after differ in more than decisions: {named(found['differ'], 6)}.")
    if found["same_decisions"]:
        lines.append("Before and after have the same decisions.")
    return lines


def before_table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Return titles and rows of texts: accuracy before and after, and the difference."""
    corrected = ["corrected"] if comparison["correction"] == "max-t" else []
    titles = ["scheduler", "before", "after", "after - before", "p", *corrected, "verdict"]
    rows = []
    for name, entry in comparison["before"]["schedulers"].items():
        ps = [entry["p"], *([entry["p_corrected"]] if corrected else [])]
        rows.append(
            [
                *(name, f"{entry['before']:.2f}", f"{entry['after']:.2f}", interval(entry) + mark(entry)),
                *("-" if p is None else f"{p:.4f}" for p in ps),
                entry["verdict"].replace("-", " the "),
            ]
        )
    return titles, rows
