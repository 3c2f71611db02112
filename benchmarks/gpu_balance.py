"""Part of `make gpu`: what BSS-L and BSS-H cost against uniform shuffling."""

from collections.abc import Iterator
from unittest.mock import patch

from benchmarks import balance_cost
from benchmarks.comparison import Line
from benchmarks.crema import Shape
from benchmarks.gpu_setting import Setting

SHAPE = Shape(seconds=5.0, height=150, width=200, crop=128)
"""Between that of the CPU's benchmark and CREMA-D's: the GPU is at work, and an epoch takes under a second."""
TINY = Shape(seconds=0.6, height=40, width=48, crop=36)


def run(setting: Setting) -> Iterator[Line]:
    """Yield the lines of the benchmark `balance_cost`, at sizes for a GPU."""
    sizes = {"samples": 512, "epochs": 3, "repetitions": 3, "batch_size": 64, "channels": 64}
    if setting.small:
        sizes = {"samples": 24, "epochs": 1, "repetitions": 1, "batch_size": 8, "channels": 2}
    with patch.object(balance_cost, "SHAPE", TINY if setting.small else SHAPE):
        yield from balance_cost.run(**sizes, device=setting.device)
