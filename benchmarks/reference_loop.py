"""An epoch of bss against an epoch of a loop shaped as the authors' script for CREMA-D."""

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks import reference
from benchmarks.comparison import Line
from benchmarks.crema import SMALL, Shape, make_config, plan_of, prepare_quietly, write_folder
from benchmarks.record import Benchmark, main
from bss.models.network import build_network, describe_network
from bss.report.statistics import paired_differences, sign_flip_p, t_interval
from bss.training.trial import train_trial

SCHEDULER = {"bss-l": {"kind": "learned", "measuring": "online"}}
"""Measures every sample again in every epoch, as the script does."""
FULL = Shape()
PRECISIONS = {"bf16": 3, "fp32": None}
"""Of bss, with the goal of each."""
CURVE_BATCH = 16
DECODED = 16
"""Samples that are decoded to know what decoding costs."""
RESAMPLES = 10_000
"""Sign vectors of the test of a difference with more than 16 seeds."""


def run(
    train: int,
    test: int,
    epochs: int,
    repetitions: int,
    batch_size: int,
    workers: int,
    threads: int,
    curve_samples: int,
    curve_epochs: int,
    curve_seeds: int,
    device: str = "cpu",
    goals: Mapping[str, float | None] = PRECISIONS,
) -> list[Line]:
    """Measure epochs at full size, then compare whole learning curves of small networks."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        full = Setup(Path(folder) / "full", FULL, train, test, epochs, batch_size, device)
        seconds: dict[str, list[float]] = {"reference": [], **{precision: [] for precision in PRECISIONS}}
        for repetition in range(repetitions):
            sides = list(seconds)
            for side in sides if repetition % 2 == 0 else reversed(sides):
                curve = full.reference(repetition, workers) if side == "reference" else full.bss(repetition, side)
                seconds[side] += [epoch.seconds for epoch in curve]
        small = Setup(
            Path(folder) / "small", SMALL, curve_samples, curve_samples // 2, curve_epochs, CURVE_BATCH, device
        )
        curves = {side: [small.bss(seed, side) for seed in range(curve_seeds)] for side in PRECISIONS}
        curves["reference"] = [small.reference(seed, 0) for seed in range(curve_seeds)]
    theirs = seconds["reference"]
    lines = []
    for precision, goal in goals.items():
        what = f"epoch in {precision} / of the reference in fp32"
        why = full.explain(theirs)
        lines.append(Line(what, seconds[precision], theirs, ratio="other / ours", at_least=goal, if_missed=why))
    lines.append(Line("prepare, once / an epoch of the reference", [full.prepare_seconds], [median(theirs)]))
    for precision in PRECISIONS:
        for name, what in (("loss", "training loss"), ("accuracy", "accuracy")):
            title = f"{what} after {curve_epochs} epochs of small networks in {precision} / of the reference"
            lines.append(_curve_line(title, curves[precision], curves["reference"], name))
    return lines


def _curve_line(what: str, ours: list[Any], theirs: list[Any], name: str) -> Line:
    last, their_last = ([getattr(curve[-1], name) for curve in curves] for curves in (ours, theirs))
    found = paired_differences(last, their_last)
    note = f"{found.mean():+.3f} in the mean of {len(last)} seeds"
    if len(found) > 1:
        low, high = t_interval(found)
        note += f" [{low:+.3f}, {high:+.3f}], p {sign_flip_p(found[None], RESAMPLES)[0]:.3f}"
    return Line(what, last, their_last, "", note=note)


class Setup:
    """A folder, its store, and both ways to train on it."""

    def __init__(
        self, root: Path, shape: Shape, train: int, test: int, epochs: int, batch_size: int, device: str = "cpu"
    ) -> None:
        self.root = write_folder(root, train, test, shape)
        self.shape, self.epochs, self.batch_size, self.device = shape, epochs, batch_size, device
        self.config = make_config(root, shape, epochs, batch_size, SCHEDULER)
        started = time.perf_counter()
        self.store = prepare_quietly(self.config, root)
        self.prepare_seconds = time.perf_counter() - started
        data = reference.Folder(self.root, "train", shape, True)
        data[0]  # librosa compiles what it needs in its first call; workers inherit it
        started = time.perf_counter()
        for index in range(DECODED):
            data[index % train]
        self.loading_seconds = (time.perf_counter() - started) / DECODED * (2 * train + test)

    def bss(self, seed: int, precision: str) -> list[reference.Epoch]:
        """Train through the store; the first epoch has what comes before it."""
        config = make_config(self.root, self.shape, self.epochs, self.batch_size, SCHEDULER, precision, self.device)
        epochs: list[reference.Epoch] = []
        last = [time.perf_counter()]

        def on_epoch(row: dict[str, Any]) -> None:
            now = time.perf_counter()
            epochs.append(reference.Epoch(now - last[0], row["train/loss"], row["val/acc"]))
            last[0] = now

        plan = plan_of(config, "bss-l", len(self.store.rows("train")))
        train_trial(config, self.store, plan, "bss-l", seed, None, on_epoch)
        return epochs

    def reference(self, seed: int, workers: int) -> list[reference.Epoch]:
        """Train the same network, initialised the same, in the reference's loop."""
        network = build_network(describe_network(self.config.network, self.store), seed, torch.device(self.device))
        return reference.train(self.root, network, self.shape, self.epochs, self.batch_size, workers, seed)

    def explain(self, seconds: list[float]) -> str:
        """Return what of the reference's epoch is loading, if one process did it."""
        share = self.loading_seconds / median(seconds)
        return f"decoding is {share:.0%} of the reference's epoch for one process; the rest is computing, as ours is"


BENCHMARK = Benchmark(
    "reference_loop",
    "The authors' loop",
    "BSS-L with scores from the training pass, through the store, against a loop built after the authors' script "
    "for CREMA-D: files decoded by librosa and Pillow in every pass, three passes per epoch (measuring, training, "
    "testing), each with new workers, single precision. Both train the same two ResNet-18 on a generated folder: "
    "sounds of 2.5 s tiled to 20 s (257 x 1250), images of 480 x 360 (random resized crop of 224, flip). Both "
    "compute with `threads` threads; the reference's workers come on top.",
    {
        "train": 32,
        "test": 8,
        "epochs": 2,
        "repetitions": 2,
        "batch_size": 32,
        "workers": 2,
        "threads": 1,
        "curve_samples": 96,
        "curve_epochs": 8,
        "curve_seeds": 10,
    },
    run,
)

if __name__ == "__main__":
    main(BENCHMARK)
