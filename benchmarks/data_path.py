"""The store's batches against decoding from files and against copying memory; steps with and without loading."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from benchmarks import reference
from benchmarks.comparison import Line, interleave
from benchmarks.crema import N_FFT, Shape, make_config, prepare_quietly, write_folder
from benchmarks.record import Benchmark, main
from benchmarks.resident import Resident
from bss.config import Config
from bss.data.store import Store
from bss.models.inputs.augmentation import Augmentation
from bss.models.network import MultiModalNetwork, build_network, describe_network
from bss.training.reproducible import make_reproducible
from bss.training.samples.split_data import SplitData
from bss.training.sequences import split_into_batches
from bss.training.steps import make_optimiser, train_epoch

SHAPE = Shape()


def run(samples: int, batch_size: int, steps: int, workers: int, repetitions: int) -> list[Line]:
    """Read all samples each way, then train a few steps both ways."""
    make_reproducible()
    with tempfile.TemporaryDirectory() as folder:
        root = write_folder(Path(folder) / "data", samples, 12, SHAPE)
        config = make_config(root, SHAPE, 1, batch_size, {"uniform": {"kind": "uniform"}})
        store = prepare_quietly(config, root)
        network = build_network(describe_network(config.network, store), 0)
        data = SplitData(store, "train", network, torch.device("cpu"))
        order = np.random.default_rng(0).permutation(samples)
        batches = split_into_batches(order, batch_size)
        files = reference.Folder(root, "train", SHAPE, True)
        files[0]  # librosa compiles what it needs in its first call
        sides = _readers(store, data, batches, DataLoader(files, batch_size, num_workers=workers))
        speed = {name: [samples / s for s in taken] for name, taken in interleave(sides, repetitions).items()}
        frames = torch.ones(next(data.batches(batches))[0]["audio"].shape[-1], N_FFT)
        made = _core_milliseconds(sides["inputs"]) / samples
        transformed = median(_core_milliseconds(lambda: torch.fft.rfft(frames)) for _ in range(samples))
        step_seconds = steps_both_ways(config, network, data, batches[:1] * steps, repetitions)
    unit = "samples/s"
    share = batch_size / median(speed["inputs"]) / median(step_seconds[1])
    return [
        Line(
            "inputs from the store / decoding the files, with workers",
            speed["inputs"],
            speed["files"],
            unit=unit,
            at_least=10,
            if_missed=f"a core makes the inputs of a sample in {made:.2f} ms, {transformed:.2f} of them its Fourier "
            f"transform; from the files it is {1000 / median(speed['files']):.1f} ms with {workers} workers",
        ),
        Line("stored samples read / decoding the files, with workers", speed["store"], speed["files"], unit=unit),
        Line(
            "stored samples read into memory / as many bytes copied in memory",
            speed["store"],
            speed["copy"],
            unit=unit,
            at_least=0.5,
            if_missed="the system copies page by page from its cache of files; from mapped pages it would be 0.8, but "
            "a file that is cut short would end the process",
        ),
        Line(
            "step with data from the store / with data on the device",
            *step_seconds,
            at_most=1.05,
            if_missed=f"making the inputs takes {share:.1%} of a step, in threads beside the one that trains",
        ),
    ]


def _readers(
    store: Store, data: SplitData, batches: list[np.ndarray], loader: DataLoader[Any]
) -> dict[str, Callable[[], Any]]:
    rows = [data.rows[index] for index in batches]
    sizes = {name: max(store.bytes_of(name, index) for index in rows) for name in store.modalities}
    memory = {name: np.empty(size, dtype=np.uint8) for name, size in sizes.items()}
    # As many bytes as the store has of the split, so that they do not lie in the processor's caches either.
    held = {name: np.ones((len(data), store.bytes_of(name, data.rows[:1])), dtype=np.uint8) for name in memory}

    def copy() -> None:
        for index in batches:
            for name, room in memory.items():
                samples = room[: len(index) * held[name].shape[1]].reshape(len(index), -1)
                for sample, place in zip(samples, index, strict=True):
                    np.copyto(sample, held[name][place])

    augmentation = Augmentation(0, "training", 0)
    return {
        "inputs": lambda: list(map(len, data.batches(batches, augmentation))),
        "files": lambda: list(map(len, loader)),
        "store": lambda: [store.read(name, index, memory[name]) for index in rows for name in memory],
        "copy": copy,
    }


def _core_milliseconds(work: Callable[[], Any]) -> float:
    """Return what `work` takes of one core, whatever the number of its threads."""
    started = time.process_time()
    work()
    return 1000 * (time.process_time() - started)


def steps_both_ways(
    config: Config, network: MultiModalNetwork, data: SplitData, batches: list[np.ndarray], repetitions: int
) -> tuple[list[float], list[float]]:
    """Return the seconds of steps with data from the store and with a batch that is on the device already."""
    optimiser = make_optimiser(network, config.train.optimiser)
    resident: Any = Resident(*next(data.batches(batches[:1])))
    seconds: dict[str, list[float]] = {"store": [], "device": []}
    for repetition in range(repetitions):
        sides = [("store", data), ("device", resident)]
        for name, source in sides if repetition % 2 == 0 else reversed(sides):
            started = time.perf_counter()
            train_epoch(network, optimiser, source, batches, seed=0, epoch=repetition)
            seconds[name].append((time.perf_counter() - started) / len(batches))
    return seconds["store"], seconds["device"]


BENCHMARK = Benchmark(
    "data_path",
    "The path of the data",
    "Samples of CREMA-D's shape (sounds of 2.5 s tiled to 20 s, images of 480 x 360, random resized crop of 224), "
    "warm. Inputs are spectrograms and crops, ready for the network. The files are decoded as in the authors' loop, by "
    "`workers` processes; in bss two threads prefetch and compute the inputs. The reference for reading copies as many "
    "bytes, sample by sample in the same order, within memory as large as the store. Steps are those of two ResNet-18.",
    {"samples": 256, "batch_size": 8, "steps": 2, "workers": 2, "repetitions": 3},
    run,
)

if __name__ == "__main__":
    main(BENCHMARK)
