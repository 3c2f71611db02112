"""What BSS-H and BSS-L cost against uniform shuffling, at equal steps."""

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.comparison import Line
from benchmarks.crema import Shape, make_config, plan_of, prepare_quietly, write_folder
from benchmarks.record import Benchmark, main
from bss.config import Config
from bss.data.store import Store
from bss.training.cell import train_cell

SCHEDULERS: dict[str, Any] = {
    "uniform": {"kind": "uniform"},
    "bss-h": {"kind": "heuristic", "pacing": {"start": 1.0}},  # all is open from the first epoch on: equal steps
    "bss-l-online": {"kind": "learned", "measuring": "online"},
    "bss-l-full": {"kind": "learned", "measuring": "full"},
    "bss-l-full-every-3": {"kind": "learned", "measuring": "full", "every": 3},
}
SHAPE = Shape(seconds=2.5, height=90, width=120, crop=64)
SMALL_STEPS = "steps are small here; what is observed costs the same in large ones"
GOALS = {
    "bss-h": ("BSS-H, drawing and records", 1.01, SMALL_STEPS),
    "bss-l-online": ("BSS-L, scores from the training pass", 1.02, SMALL_STEPS),
    "bss-l-full": (
        "BSS-L, a pass of its own every epoch",
        1.15,
        "a pass forward takes about a third of a pass of training; `every` makes it rarer",
    ),
    "bss-l-full-every-3": ("BSS-L, a pass of its own every third epoch", None, ""),
}
"""What is compared, its goal, and why it may be missed."""


def run(samples: int, epochs: int, repetitions: int, batch_size: int, channels: int) -> list[Line]:
    """Train with every scheduler in turns; an epoch holds training, measuring, records and evaluation."""
    shape = replace(SHAPE, channels=channels)
    seconds: dict[str, list[float]] = {name: [] for name in SCHEDULERS}
    with tempfile.TemporaryDirectory() as folder:
        root = write_folder(Path(folder) / "data", samples, max(12, samples // 10), shape)
        config = make_config(root, shape, epochs + 1, batch_size, SCHEDULERS)
        store = prepare_quietly(config, root)
        for repetition in range(repetitions):
            names = list(SCHEDULERS)
            for name in names if repetition % 2 == 0 else reversed(names):
                seconds[name].append(_seconds_per_epoch(config, store, name, repetition))
    return [
        Line(
            f"epoch of {what} / of uniform shuffling",
            seconds[name],
            seconds["uniform"],
            at_most=goal,
            if_missed=reason,
        )
        for name, (what, goal, reason) in GOALS.items()
    ]


def _seconds_per_epoch(config: Config, store: Store, name: str, seed: int) -> float:
    """Return the mean over the epochs after the first, which has what comes before a training too."""
    ends: list[float] = []
    plan = plan_of(config, name, len(store.rows("train")))
    train_cell(config, store, plan, name, seed, None, lambda row: ends.append(time.perf_counter()))
    return (ends[-1] - ends[0]) / (len(ends) - 1)


BENCHMARK = Benchmark(
    "balance_cost",
    "What balance-aware sampling costs",
    "Two ResNet-18 (stem of `channels` channels) on sounds of 2.5 s (257 x 157) and images of 64 x 64, one thread. "
    "The schedulers take the same number of steps; an epoch holds training, measuring, records and evaluation.",
    {"samples": 256, "epochs": 3, "repetitions": 3, "batch_size": 32, "channels": 16},
    run,
)

if __name__ == "__main__":
    main(BENCHMARK)
