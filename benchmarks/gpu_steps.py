"""Part of `make gpu`: a training step of every encoder and every fusion."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from benchmarks.comparison import Line
from benchmarks.gpu_setting import Setting
from benchmarks.resident import Resident, network_of, random_batch
from bss.config.training import SgdConfig
from bss.models.network import MultiModalNetwork
from bss.training.initial_network import compiled
from bss.training.reproducible import make_reproducible
from bss.training.step_graph import CudaRecorder, StepGraph
from bss.training.steps import make_optimiser, train_epoch

TRANSFORMER = {"hidden": 32, "layers": 2, "heads": 2, "intermediate": 64}
SPECTROGRAM = {"n_fft": 128, "hop": 64}
AUDIO = {"kind": "audio", "shape": [4000], "dtype": "float32", "sample_rate": 4000, "short": "tile"}
IMAGE = {"kind": "image", "shape": [3, 32, 32], "dtype": "uint8"}
CLIP = {"kind": "clip", "shape": [8, 3, 32, 32], "dtype": "uint8"}
FEATURES = {"kind": "features", "shape": [16], "dtype": "float32"}
TEXT = {"kind": "text", "shape": [12], "dtype": "int32", "largest": 99}
CNN = {"kind": "cnn", "channels": [16, 32], "features": 32}
MLP = {"kind": "mlp", "hidden": [32], "features": 32}
RESNET = {"kind": "resnet", "width": 8}

ENCODERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "cnn": (IMAGE, CNN),
    "cnn on sounds": (AUDIO, CNN | {"spectrogram": SPECTROGRAM | {"bands": 16}}),
    "mlp": (FEATURES, MLP),
    "resnet": (IMAGE, RESNET),
    "resnet on sounds": (AUDIO, RESNET | {"spectrogram": SPECTROGRAM}),
    "resnet on clips": (CLIP, RESNET),
    "i3d": (CLIP, {"kind": "i3d", "features": 32}),
    "bert": (TEXT, {"kind": "bert", "vocabulary": 100, "positions": 12, **TRANSFORMER}),
    "vit": (IMAGE, {"kind": "vit", "patch": 8, **TRANSFORMER}),
    "clip-image": (IMAGE, {"kind": "clip-image", "patch": 8, "features": 32, **TRANSFORMER}),
    "clip-text": (TEXT, {"kind": "clip-text", "vocabulary": 100, "positions": 12, "features": 32, **TRANSFORMER}),
}
"""Name to the modality and its encoder; beside it is a small mlp on features."""
FUSIONS = (
    "concatenation",
    "sum",
    "weighted-sum",
    "film",
    "gated",
    "ml-lstm",
    "cross-attention",
    "channel-exchange",
    "cosine",
)
RATE = SgdConfig("sgd", learning_rate=0.001)
COMPILED_SMALL = ("mlp",)
"""What a small run compiles: compilers take long."""


def networks() -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Return what is trained: name to the section `network` of params.yaml and the modalities."""
    found: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
    for name, (modality, encoder) in ENCODERS.items():
        encoders: dict[str, Any] = {"first": encoder, "second": MLP}
        found[name] = ({"encoders": encoders}, {"first": modality, "second": FEATURES})
    for kind in FUSIONS:
        encoder, modality = (RESNET, IMAGE) if kind == "channel-exchange" else (CNN, IMAGE)
        tree = {"encoders": {"first": encoder, "second": encoder}, "fusion": {"kind": kind}}
        found[f"fusion {kind}"] = (tree, {"first": modality, "second": modality})
    return found


def run(setting: Setting) -> Iterator[Line]:
    """Take steps of each network; RuntimeError in the end if some could not be taken."""
    make_reproducible()
    device = torch.device(setting.device)
    samples, steps, repetitions = (8, 1, 1) if setting.small else (32, 20, 3)
    built = {name: (of[0], of[1], network_of(of[0], of[1], device)) for name, of in networks().items()}
    failed: list[str] = []

    def measured(title: str, **sides: Callable[[], Callable[[], float]]) -> Iterator[Line]:
        try:
            first, second = (make() for make in sides.values())
            pairs = [(first(), second()) for _ in range(repetitions)]
        except Exception as error:
            failed.append(f"{title}: {str(error).strip().splitlines()[0]}")
            return
        yield Line(title, [pair[0] for pair in pairs], [pair[1] for pair in pairs])

    for name, (tree, modalities, network) in built.items():
        data = random_batch(network, modalities, samples)

        def timed(network: MultiModalNetwork, data: Resident = data, **changes: Any) -> Callable[[], float]:
            return _timed(network, data, samples, steps, **changes)

        def fresh(of: Any = (tree, modalities), precision: Any = "fp32") -> MultiModalNetwork:
            made = network_of(of[0], of[1], device)
            made.precision = precision
            return made

        yield from measured(
            f"step of {name}, bf16 / fp32",
            bf16=lambda: timed(fresh(precision="bf16")),
            fp32=lambda: timed(fresh()),
        )
        if device.type == "cuda":
            graph = StepGraph(samples, CudaRecorder(device))
            yield from measured(
                f"step of {name}, CUDA graph / plain",
                graph=lambda: timed(fresh(), graph=graph),  # noqa: B023
                plain=lambda: timed(fresh()),
            )
            if graph.failed:
                failed.append(f"{name}: a step could not be recorded")
    for name, (tree, modalities, _) in built.items():  # last, for compilers take most of the time
        if setting.small and name not in COMPILED_SMALL:
            continue
        data = random_batch(built[name][2], modalities, samples)

        def code(of: Any = (tree, modalities), data: Resident = data) -> Callable[[], float]:
            network = network_of(of[0], of[1], device)
            return _timed(network, data, samples, steps, wrapped=compiled(network, device))

        def plain(of: Any = (tree, modalities), data: Resident = data) -> Callable[[], float]:
            return _timed(network_of(of[0], of[1], device), data, samples, steps)

        yield from measured(f"step of {name}, compiled / plain", compiled=code, plain=plain)
    if failed:
        raise RuntimeError(f"{len(failed)} kinds of steps failed. " + "; ".join(failed))


def _timed(network: MultiModalNetwork, data: Resident, samples: int, steps: int, **changes: Any) -> Callable[[], float]:
    """Take the first steps, and return a function that takes others and returns the seconds of one."""
    optimiser = make_optimiser(network, RATE)
    source: Any = data

    def take(count: int) -> float:
        started = time.perf_counter()
        batches = [np.arange(samples)] * count
        loss = train_epoch(network, optimiser, source, batches, seed=0, epoch=0, **changes)  # which waits for the GPU
        if not np.isfinite(loss):
            raise RuntimeError(f"the loss is {loss}")
        return (time.perf_counter() - started) / count

    take(5 if "graph" in changes else 2)
    return lambda: take(steps)
