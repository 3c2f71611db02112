"""Finding metrics: the files of this folder that hold a `METRIC`."""

import functools
import re
from collections.abc import Mapping
from typing import Any, TypeVar

import bss.metrics
from bss.discover import discover
from bss.errors import BssError
from bss.metrics.base import MODALITY, Input, Metric, Number
from bss.metrics.inputs import Task

Kind = TypeVar("Kind", bound=Metric[Any])

HEAD = ("scheduler", "protocol", "split", "epoch", "digest")
"""Names that columns of history.csv and curves.csv have already."""


@functools.cache
def all_metrics() -> tuple[Metric[Any], ...]:
    """Return every metric, by its `order`, then its name."""
    found = {f"bss/metrics/{name}.py": metric for name, metric in discover(bss.metrics, "METRIC").items()}
    check_names(found)
    return tuple(sorted(found.values(), key=lambda metric: (metric.order, metric.name)))


def metrics_of(kind: type[Kind], task: Task | None = None) -> list[Kind]:
    """Return the metrics of a `kind`, in order; with `task`, those that apply to it."""
    return [m for m in all_metrics() if isinstance(m, kind) and (task is None or m.applies(task))]


def values_of(kind: type[Metric[Input]], given: Input, task: Task, split: str = "") -> dict[str, Number | None]:
    """Return the metrics of a `kind` that apply to `task`, computed from `given`, by their columns (of `split`)."""
    values: dict[str, Number | None] = {}
    for metric in metrics_of(kind, task):
        values |= metric.values(given, task.modalities, split)
    return values


def check_names(found: Mapping[str, Metric[Any]]) -> None:
    """Raise `BssError` if two metrics of `found` (by file) could be taken for each other in a file's columns."""
    for file, metric in found.items():
        if metric.name in HEAD:
            raise BssError(f"{file}: {metric.name} is already the name of a non-metric column. Rename it.")
        for other, known in found.items():
            names = ((metric.name, known.name), (metric.column("val"), known.column("val")))
            if other != file and any(_covers(pattern, name) for name, pattern in names):
                raise BssError(f"{file}: {metric.name} can be read as {known.name} of {other}. Rename it.")


def _covers(pattern: str, name: str) -> bool:
    """Return whether `pattern`, with some modality in it, can be `name`."""
    parts = (re.escape(part) for part in pattern.split(MODALITY))
    return re.fullmatch(".+".join(parts), name) is not None
