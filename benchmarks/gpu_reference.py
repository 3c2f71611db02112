"""Part of `make gpu`: an epoch against the authors' loop, both on the GPU."""

import os
from collections.abc import Iterator
from unittest.mock import patch

from benchmarks import reference_loop
from benchmarks.comparison import Line
from benchmarks.crema import Shape
from benchmarks.gpu_setting import Setting

GOALS = {"bf16": 10.0, "fp32": None}
TINY = Shape(seconds=0.6, height=40, width=48, crop=36, channels=2)


def run(setting: Setting) -> Iterator[Line]:
    """Yield the lines of the benchmark `reference_loop`, at sizes for a GPU."""
    if not setting.small:
        workers = max(1, min(16, len(os.sched_getaffinity(0)) - 1))
        sizes = {"train": 512, "test": 64, "epochs": 3, "repetitions": 1, "batch_size": 64, "workers": workers}
        curves = {"curve_samples": 96, "curve_epochs": 6, "curve_seeds": 6}
        yield from reference_loop.run(**sizes, threads=1, **curves, device=setting.device, goals=GOALS)
        return
    sizes = {"train": 12, "test": 6, "epochs": 1, "repetitions": 1, "batch_size": 6, "workers": 0}
    curves = {"curve_samples": 18, "curve_epochs": 1, "curve_seeds": 2}
    with patch.multiple(reference_loop, FULL=TINY, SMALL=TINY):
        yield from reference_loop.run(**sizes, threads=1, **curves, device=setting.device, goals=GOALS)
