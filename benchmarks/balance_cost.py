"""What BSS-H and BSS-L cost against uniform shuffling, at equal steps."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

from benchmarks.comparison import Line, number
from benchmarks.crema import Shape, make_config, plan_of, prepare_quietly, write_folder
from benchmarks.record import Benchmark, main
from bss.balance.sampler import SequenceSampler
from bss.config import Config
from bss.config.training import Precision
from bss.data.store import Store
from bss.training.trial import train_trial

SCHEDULERS: dict[str, Any] = {
    "uniform": {"kind": "uniform"},
    "bss-h": {"kind": "heuristic", "pacing": {"start": 1.0}},  # all is open from the first epoch on: equal steps
    "bss-l-online": {"kind": "learned", "measuring": "online"},
    "bss-l-full": {"kind": "learned", "measuring": "full"},
    "bss-l-full-every-3": {"kind": "learned", "measuring": "full", "every": 3},
}
SHAPE = Shape(seconds=2.5, height=90, width=120, crop=64)
Training = tuple[str, Precision, Precision]
"""A scheduler, the precision of training, and that of the passes that measure."""
CHANCE = "by chance, but for the sampler's work"
PASS = "a forward pass in bf16 takes about a sixth of a training pass in fp32; `every` makes it rarer"
LINES: dict[Training, tuple[str, float | None, str]] = {
    ("bss-h", "fp32", "fp32"): ("BSS-H, drawing and records", 1.01, CHANCE),
    ("bss-l-online", "fp32", "fp32"): ("BSS-L, scores from the training pass", 1.02, CHANCE),
    ("bss-l-full", "fp32", "bf16"): ("BSS-L, a separate pass in bf16 every epoch", 1.15, PASS),
    ("bss-l-full", "fp32", "fp32"): ("BSS-L, a separate pass in fp32 every epoch", None, ""),
    ("bss-l-full-every-3", "fp32", "fp32"): ("BSS-L, a separate pass in fp32 every third epoch", None, ""),
    ("bss-l-full", "bf16", "bf16"): ("BSS-L in bf16, a separate pass every epoch", None, ""),
}
"""What is compared with uniform shuffling in the same precision, its goal, and why it may be missed."""


def run(samples: int, epochs: int, repetitions: int, batch_size: int, channels: int, device: str = "cpu") -> list[Line]:
    """Train with every scheduler in turns; an epoch holds training, measuring, records and evaluation."""
    shape = replace(SHAPE, channels=channels)
    trainings: list[Training] = [("uniform", "fp32", "fp32"), *LINES, ("uniform", "bf16", "bf16")]
    seconds: dict[Training, list[float]] = {training: [] for training in trainings}
    own: dict[Training, list[float]] = {training: [] for training in trainings}
    with tempfile.TemporaryDirectory() as folder:
        root = write_folder(Path(folder) / "data", samples, max(12, samples // 10), shape)
        config = make_config(root, shape, epochs + 1, batch_size, SCHEDULERS, device=device)
        store = prepare_quietly(config, root)
        for repetition in range(repetitions):
            for training in trainings if repetition % 2 == 0 else reversed(trainings):
                with sampler_seconds() as spent:
                    seconds[training].append(_seconds_per_epoch(config, store, training, repetition))
                own[training].append(sum(spent) / (epochs + 1))
    work = {training: median(own[training]) for training in LINES}
    return [
        Line(
            f"epoch of {what} / of uniform shuffling",
            seconds[training],
            seconds["uniform", training[1], training[1]],
            at_most=goal,
            note=f"the sampler's work: {number(1000 * work[training])} ms per epoch, "
            f"{number(100 * work[training] / median(seconds[training]))} % of it",
            if_missed=reason,
        )
        for training, (what, goal, reason) in LINES.items()
    ]


@contextmanager
def sampler_seconds() -> Iterator[list[float]]:
    """Collect the seconds of each call with which samplers observe, take in what was measured, and draw sequences."""
    spent: list[float] = []

    def timed(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            started = time.perf_counter()
            result = method(*arguments, **keywords)
            spent.append(time.perf_counter() - started)
            return result

        return call

    observe, set_epoch = timed(SequenceSampler.observe), timed(SequenceSampler.set_epoch)
    with patch.multiple(SequenceSampler, observe=observe, set_epoch=set_epoch):
        yield spent


def _seconds_per_epoch(config: Config, store: Store, training: Training, seed: int) -> float:
    """Return the mean over the epochs after the first, which has what comes before a training too."""
    name, precision, measuring = training
    changed = replace(
        config,
        train=replace(config.train, precision=precision),
        measure=replace(config.measure, precision=measuring),
    )
    ends: list[float] = []
    plan = plan_of(config, name, len(store.rows("train")))
    train_trial(changed, store, plan, name, seed, None, lambda row: ends.append(time.perf_counter()))
    return (ends[-1] - ends[0]) / (len(ends) - 1)


BENCHMARK = Benchmark(
    "balance_cost",
    "What balance-aware sampling costs",
    "Two ResNet-18 (stem of `channels` channels) on sounds of 2.5 s (257 x 157) and images of 64 x 64, one thread. "
    "The schedulers take the same number of steps; an epoch includes training, measuring, records and evaluation. "
    "The sampler's work is observing, scoring and drawing: everything that BSS-H and online scores add to an epoch, "
    "timed in the same trials.",
    {"samples": 256, "epochs": 3, "repetitions": 9, "batch_size": 32, "channels": 16},
    run,
)

if __name__ == "__main__":
    main(BENCHMARK)
