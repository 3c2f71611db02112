"""The reliability plot of `benchmarks.audit_detection`: how far probabilities can be taken at their word."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.detection_scores import BINS
from bss.files import whole_file


class Bin(NamedTuple):
    """The samples whose probability is in one of `BINS` equal bins."""

    number: int
    samples: int
    mean: float
    """Of their probabilities."""
    faulty: float
    """Share of them."""


def pooled(cells: Sequence[list[list[float]]]) -> list[Bin]:
    """Return the bins with a sample of several cells together; each has the rows of `calibration`."""
    every = np.array(cells, dtype=np.float64).reshape(-1, BINS, 3)
    count = every[:, :, 0].sum(axis=0)
    return [
        Bin(n, int(count[n]), *(float(every[:, n, 0] @ every[:, n, column] / count[n]) for column in (1, 2)))
        for n in np.flatnonzero(count).tolist()
    ]


def draw(bins: Sequence[Bin], path: Path) -> None:
    """Write an SVG with the share that is faulty over the mean probability; the areas of points show the samples."""
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": "bss", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9}):
        from matplotlib.figure import Figure

        drawing = Figure(figsize=(4, 4), layout="constrained")
        axes = drawing.subplots()
        axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, gid="ideal")
        areas = [10 + 190 * one.samples / max(b.samples for b in bins) for one in bins]
        axes.scatter([b.mean for b in bins], [b.faulty for b in bins], areas, alpha=0.8, gid="bins")
        axes.set(xlabel="probability, mean of a bin", ylabel="share that is faulty", xlim=(-0.03, 1.03), aspect="equal")
        axes.set_ylim(-0.03, 1.03)
        with whole_file(path) as unfinished:
            drawing.savefig(unfinished, format="svg", metadata={"Date": None, "Creator": None})
