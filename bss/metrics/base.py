"""Metric: one entry from which history.csv, metrics.json, the report and MLflow follow; a kind per input.

A kind is what a metric is computed from (`bss.metrics.inputs`): the predictions on a split, the training of an epoch,
the balance of the modalities after it, or how they differ at some epochs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from operator import attrgetter
from typing import Any, ClassVar, Generic, Literal, TypeVar

import numpy as np

from bss.balance.checks import require
from bss.errors import BssError
from bss.metrics.inputs import Balance, Imbalance, Predictions, Task, Trained

MODALITY = "{modality}"
"""Stands for each modality in the name and the label of a metric that has a value per modality."""
NAME = r"[a-z][a-z0-9_]*(\{modality\})?"
RESERVED = ("val", "test", "last", "final")
"""What a column of an epoch cannot begin with: these are splits, and prefixes of final values."""

Number = int | float
Input = TypeVar("Input")


@dataclass(frozen=True)
class Series:
    """One value per epoch or trial: a metric, or a metric of one modality."""

    column: str
    """Name in history.csv and MLflow, and in metrics.json for a metric of a split."""
    name: str
    """Name in curves.csv; in comparison.json and comparison.csv behind ``test_``, ``val_`` and ``last_test_``."""
    label: str


@dataclass(frozen=True)
class Reading:
    """How the report's part on imbalance presents a metric."""

    title: str
    """Title of the plot and of the table columns, which also name the modalities."""
    text: str
    """What high and low values mean, in plain words."""


def always(task: Task) -> bool:
    """Apply to every task."""
    return True


@dataclass(frozen=True, kw_only=True)
class Metric(Generic[Input]):
    """One entry. A name with ``{modality}`` at its end has a value per modality."""

    name: str
    """Lower-case letters, digits and _; unique."""
    label: str
    """Name in tables and plots."""
    compute: Callable[[Input], Number | Mapping[str, Number | None] | None]
    """A finite number, or modality to number if the name is with ``{modality}``."""
    better: Literal["higher", "lower"] | None = None
    """None: neither. Tables and plots mark `lower`; no mark means higher, or neither."""
    unit: str = "%"
    """Behind the label, "" for none. Values in % are shares in [0, 1], shown times 100."""
    order: int = 1000
    """A lower one comes first, in files and tables, and wherever only some metrics fit: the most useful ones first."""
    dvc: bool = True
    """Whether it is a column of curves.csv and, if it is of a split, of what `dvc metrics` shows."""
    plotted: bool = True
    """Whether the report plots it."""
    mlflow: bool = True
    """Whether it is a metric of the trials in MLflow, where each is a column of the table of runs."""
    applies: Callable[[Task], bool] = always
    """Whether a task has it."""
    reading: Reading | None = None
    """How the report's section on imbalance presents it; None leaves it out."""

    def __post_init__(self) -> None:
        """Check the name."""
        require(bool(re.fullmatch(NAME, self.name)), "name", self.name, "lower-case letters, digits, _ and {modality}")
        same = (MODALITY in self.label) == self.per_modality
        require(same, "label", self.label, "with {modality} if, and only if, the name is")

    @property
    def per_modality(self) -> bool:
        """Whether there is a value per modality."""
        return MODALITY in self.name

    @property
    def factor(self) -> int:
        """What values are shown times."""
        return 100 if self.unit == "%" else 1

    @property
    def in_every_epoch(self) -> bool:
        """Whether every row of history.csv has a number of it."""
        raise NotImplementedError

    def column(self, split: str) -> str:
        """Return the metric's column in history.csv; `split` counts for the metrics of a split alone."""
        raise NotImplementedError

    def series(self, modalities: tuple[str, ...], split: str) -> list[Series]:
        """Return the names of the metric's values: its own, or one per modality."""
        texts = (self.column(split), self.name, self.label)
        names = modalities if self.per_modality else ("",)
        return [Series(*(text.replace(MODALITY, name) for text in texts)) for name in names]

    def values(self, given: Input, modalities: tuple[str, ...], split: str) -> dict[str, Number | None]:
        """Compute the metric; return column to value. Raises `BssError` for what is no finite number."""
        found = self.compute(given)
        if not self.per_modality:
            numbers = [found]
        elif isinstance(found, Mapping) and set(found) == set(modalities):
            numbers = [found[name] for name in modalities]
        else:
            raise BssError(
                f"metric {self.name}: must have a value for each of {', '.join(modalities)}, but has {found!r}"
            )
        series = self.series(modalities, split)
        return {one.column: self._checked(number, one) for one, number in zip(series, numbers, strict=True)}

    def _checked(self, value: Any, series: Series) -> Number | None:
        plain = value.item() if isinstance(value, np.generic) else value
        if isinstance(plain, int | float) and not isinstance(plain, bool) and isfinite(plain):
            return plain
        raise BssError(f"metric {self.name}: must be a finite number, but {series.column} is {value!r}")


@dataclass(frozen=True, kw_only=True)
class SplitMetric(Metric[Predictions]):
    """Metric of a network's predictions on a split: in metrics.json, and after every epoch in history.csv."""

    better: Literal["higher", "lower"] | None = "higher"
    per_epoch: bool = True
    """False: of the trained network alone, in metrics.json; the report plots bars."""
    table: bool = True
    """Whether the tables in the terminal and in the report list it, on test."""
    digits: int = 1
    """Digits after the point there."""

    @property
    def in_every_epoch(self) -> bool:
        """Whether it is computed after every epoch."""
        return self.per_epoch

    def column(self, split: str) -> str:
        """Return ``<split>/<name>``."""
        return f"{split}/{self.name}"


@dataclass(frozen=True, kw_only=True)
class EpochMetric(Metric[Input]):
    """Metric of a whole epoch, in history.csv."""

    group: ClassVar[str] = ""
    """Group of its column, if all metrics of a kind have one."""
    history: str = ""
    """Column in history.csv, such as ``train/loss``; "" means ``<group>/<name>``."""
    optional: bool = False
    """Whether `compute` may return None, for an epoch that has no value."""

    def __post_init__(self) -> None:
        """Check the column."""
        super().__post_init__()
        if not self.history and self.group:
            object.__setattr__(self, "history", f"{self.group}/{self.name}")
        group = self.history.rpartition("/")[0]
        fits = bool(re.fullmatch(rf"([a-z]+/)?{NAME}", self.history)) and group not in RESERVED
        fits &= (MODALITY in self.history) == self.per_modality
        require(fits, "history", self.history, "group/name, with {modality} if the name is; not of a split's group")

    @property
    def in_every_epoch(self) -> bool:
        """Whether every epoch has it."""
        return not self.optional

    def column(self, split: str) -> str:
        """Return `history`."""
        return self.history

    def _checked(self, value: Any, series: Series) -> Number | None:
        return None if value is None and self.optional else super()._checked(value, series)


@dataclass(frozen=True, kw_only=True)
class TrainingMetric(EpochMetric[Trained]):
    """Metric of what training recorded in an epoch; the first columns of history.csv."""

    unit: str = ""
    plotted: bool = False

    @classmethod
    def recorded(cls, name: str, **more: Any) -> TrainingMetric:
        """Return the metric that is the field `name` of `Trained`; `more` are its other fields."""
        return cls(name=name, compute=attrgetter(name), **more)


class BalanceMetric(EpochMetric[Balance]):
    """Metric of the balance of the modalities after an epoch; the last columns of history.csv."""

    group = "balance"


@dataclass(frozen=True, kw_only=True)
class ImbalanceMetric(EpochMetric[Imbalance]):
    """Metric of how the modalities differ; in history.csv at the epochs of evaluation.imbalance_every."""

    group = "imbalance"

    optional: bool = True
    dvc: bool = False
    plotted: bool = False

    @property
    def in_every_epoch(self) -> bool:
        """Whether every epoch has it: most do not."""
        return False
