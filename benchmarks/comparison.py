"""Two things compared in one run: interleaved repetitions, medians, spread, and whether a goal is reached."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

Ratio = Literal["ours / other", "other / ours"]


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    what: str
    """What is compared, ours first."""
    ours: list[float]
    """One value per repetition."""
    other: list[float] | None = None
    """The values of the same repetitions for what it is compared with; None: nothing."""
    unit: str = "s"
    ratio: Ratio = "ours / other"
    """Which of them is the ratio that counts."""
    at_most: float | None = None
    """The goal: for the ratio, or where `other` is None for the value itself."""
    at_least: float | None = None
    note: str = ""
    """What else belongs to the numbers."""
    if_missed: str = ""
    """The reason, in case the goal is missed."""

    @property
    def found(self) -> list[float]:
        """The ratio of each repetition, or the values themselves."""
        if self.other is None:
            return self.ours
        pairs = zip(self.ours, self.other, strict=True)
        return [a / b if self.ratio == "ours / other" else b / a for a, b in pairs]

    @property
    def reached(self) -> bool | None:
        """Whether the median reaches the goal; None if there is none."""
        middle = median(self.found)
        if self.at_most is not None:
            return middle <= self.at_most
        return None if self.at_least is None else middle >= self.at_least

    def cells(self) -> dict[str, str]:
        """Return the line as texts by column."""
        goal = "" if self.at_most is None else f"at most {self.at_most:g}"
        goal += "" if self.at_least is None else f"at least {self.at_least:g}"
        verdict = {True: "yes", False: f"no: {self.if_missed}" if self.if_missed else "no", None: ""}[self.reached]
        return {
            "what": self.what,
            "ours": spread(self.ours, self.unit),
            "other": "" if self.other is None else spread(self.other, self.unit),
            "ratio": "" if self.other is None else spread(self.found),
            "goal": goal if self.other is None or not goal else f"{goal} ({self.ratio})",
            "reached": "; ".join(filter(None, [verdict, self.note])),
        }


def spread(values: list[float], unit: str = "") -> str:
    """Return ``median [least, greatest]`` of `values` with `unit`."""
    middle = f"{number(median(values))} {unit}".strip()
    return middle if len(values) == 1 else f"{middle} [{number(min(values))}, {number(max(values))}]"


def number(value: float) -> str:
    """Return `value` with four digits that mean something, and commas in a large one."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def interleave(sides: Mapping[str, Callable[[], Any]], repetitions: int) -> dict[str, list[float]]:
    """Run each of `sides` once per repetition and return its seconds; every other repetition runs backwards."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for repetition in range(repetitions):
        names = list(sides)
        for name in names if repetition % 2 == 0 else reversed(names):
            started = time.perf_counter()
            sides[name]()
            seconds[name].append(time.perf_counter() - started)
    return seconds
