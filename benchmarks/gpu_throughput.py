"""Part of `make gpu`: steps from the store against data on the device, FLOPs against the card's peak, memory."""

import resource
import time
from collections.abc import Iterator
from statistics import median
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.comparison import Line
from benchmarks.crema import Shape, make_config, prepare_quietly, write_folder
from benchmarks.data_path import steps_both_ways
from benchmarks.gpu_setting import Setting
from bss.models.network import MultiModalNetwork
from bss.training.initial_network import initial_network
from bss.training.keep_freed_memory import keep_freed_memory
from bss.training.reproducible import make_reproducible
from bss.training.samples.split_data import SplitData
from bss.training.sequences import split_into_batches
from bss.training.steps import make_optimiser, train_epoch

PEAKS = {
    "H200": 989.4,
    "H100 PCIe": 756.0,
    "H100 NVL": 835.5,
    "H100": 989.4,
    "A100": 312.0,
    "L40S": 362.05,
    "L4": 121.0,
}
"""Dense bf16 TFLOPS of the tensor cores by a part of the device's name, from NVIDIA's data sheets of each card; where
a sheet has the figure "with sparsity" alone, half of it. The first that fits counts."""
TINY = Shape(seconds=0.6, height=40, width=48, crop=36, channels=2)


def peak_of(name: str) -> float | None:
    """Return the dense bf16 peak of the GPU `name` in FLOPS, or None if the table has none."""
    found = next((peak for known, peak in PEAKS.items() if known in name), None)
    return None if found is None else 1e12 * found


def run(setting: Setting) -> Iterator[Line]:
    """Yield the lines: steps, FLOPs, memory."""
    make_reproducible()
    keep_freed_memory()
    shape = TINY if setting.small else Shape()
    samples, batch_size, repetitions = (12, 6, 1) if setting.small else (256, 64, 3)
    root = write_folder(setting.folder / "data", samples, 12, shape)
    uniform = {"uniform": {"kind": "uniform"}}
    config = make_config(root, shape, 1, batch_size, uniform, "bf16", setting.device)
    store, device = prepare_quietly(config, root), torch.device(setting.device)
    network = initial_network(config, store, 0, device)
    data = SplitData(store, "train", network, device)
    batches = split_into_batches(np.arange(samples), batch_size) * (1 if setting.small else 5)
    steps_both_ways(config, network, data, batches[:2], 1)  # which chooses kernels and fills caches
    from_store, resident = steps_both_ways(config, network, data, batches, repetitions)
    yield Line("step with data from the store / with data on the device", from_store, resident, at_most=1.05)

    inputs, labels = next(data.batches(batches[:1]))
    inputs = {name: torch.randn_like(x) for name, x in inputs.items()}
    optimiser = make_optimiser(network, config.train.optimiser)

    def bare() -> None:
        optimiser.zero_grad(set_to_none=True)
        network.loss(network(inputs), labels).mean().backward()
        optimiser.step()

    with FlopCounterMode(display=False) as counter:
        bare()
    flops = float(counter.get_total_flops())
    alone = [_seconds(bare, len(batches), device) for _ in range(repetitions)]
    rates, bare_rates = [flops / s / 1e12 for s in from_store], [flops / s / 1e12 for s in alone]
    note = f"{flops / 1e9:.4g} GFLOP per step of {batch_size} samples"
    yield Line(
        "model FLOPs of steps from the store / of the same networks on random tensors",
        rates,
        bare_rates,
        unit="TFLOP/s",
        at_least=0.95,
        note=note,
    )
    name = torch.cuda.get_device_name() if device.type == "cuda" else "the CPU"
    peak = peak_of(name)
    if peak is None:
        yield Line("model FLOPs per second", rates, unit="TFLOP/s", note=f"the bf16 peak of {name} is not known")
    else:
        shares = [100e12 * rate / peak for rate in rates]
        note = f"of {peak / 1e12:g} TFLOP/s; {100e12 * median(bare_rates) / peak:.3g} % on random tensors"
        yield Line(f"model FLOPs as a share of the bf16 peak of {name}", shares, unit="%", note=note)
    for precision, accumulate in (("fp32", 1), ("bf16", 1), ("bf16", 4)):
        if batch_size >= 2 * accumulate:
            yield _memory(network, data, config, batches[:2], precision, accumulate)


def _seconds(step: Any, count: int, device: torch.device) -> float:
    """Return the seconds of one of `count` steps."""
    _wait(device)
    started = time.perf_counter()
    for _ in range(count):
        step()
    _wait(device)
    return (time.perf_counter() - started) / count


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _memory(
    network: MultiModalNetwork, data: SplitData, config: Any, batches: list[np.ndarray], precision: Any, parts: int
) -> Line:
    """Return the most memory that training steps take: of the GPU's, or of the process so far."""
    network.precision = precision
    if data.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    optimiser = make_optimiser(network, config.train.optimiser)
    train_epoch(network, optimiser, data, batches, seed=0, epoch=0, accumulate=parts)
    if data.device.type == "cuda":
        peak, of = torch.cuda.max_memory_allocated(), "allocated on the GPU"
    else:
        peak, of = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, "of the process so far"
    title = f"peak memory of steps in {precision}" + (f", in {parts} parts" if parts > 1 else "")
    return Line(title, [peak / 2**30], unit="GiB", note=of)
