"""How the cost of a sample grows with their number, and how much memory the stages take."""

import csv
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.comparison import Line
from benchmarks.process import BSS, Ran, run_python
from benchmarks.record import Benchmark, main

STAGES = ("prepare", "measure", "schedule")
FILES = 200
"""Of each modality; the samples take turns."""
CLASSES = 10
SMALL = 16
"""Numbers in each vector of a small sample."""

PLAN = """
import json, sys, time
from pathlib import Path
import numpy as np
from bss.balance import Heuristic, Learned
from bss.data.tables import read_table, write_table

n, path = int(sys.argv[1]), Path("plan.parquet")
seconds = {}

def timed(name, call):
    started = time.perf_counter()
    result = call()
    seconds[name] = time.perf_counter() - started
    return result

scores = np.random.default_rng(0).uniform(-1, 1, n)
timed("permutation", lambda: Learned().sequence(scores, 0, 0))
ranking = timed("ranking", lambda: Heuristic().rank(scores, 0))
index = np.arange(n)
columns = {"index": index, **Heuristic().plan_columns(ranking, scores, n, 30, 64)}
del ranking
timed("plan written", lambda: write_table(path, columns))
del columns
timed("plan read", lambda: read_table(path, "schedule", ("index", "score"))["score"].to_numpy())
print(json.dumps(seconds))
"""


def run(sizes: tuple[int, ...], large: tuple[int, ...], wide: int) -> list[Line]:
    """Run the stages for each of `sizes`, then sequences and plans alone for each of `large`.

    Last, see what memory the middle one of `sizes` takes where a sample is two vectors of `wide` numbers.
    """
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        ran = {n: _stages(root / str(n), n, SMALL) for n in sizes}
        for stage in STAGES:
            lines += _of_sizes(stage, {n: (of[stage].seconds, of[stage].peak_bytes) for n, of in ran.items()})
        planned = {n: _plan(root, n) for n in large}
        for what in planned[large[0]][0]:
            lines += _of_sizes(what, {n: (seconds[what], peak) for n, (seconds, peak) in planned.items()})
        middle = sorted(sizes)[len(sizes) // 2]
        lines += _of_widths(middle, wide, ran[middle], _stages(root / "wide", middle, wide))
    return lines


def _of_sizes(what: str, found: dict[int, tuple[float, float]]) -> list[Line]:
    """Return a line per number of samples; `found` has the seconds and the peak memory of each."""
    least = min(found)
    smallest = [1e6 * found[least][0] / least]
    lines = []
    for n, (seconds, peak) in found.items():
        name = f"{what}, {n:,} samples" + (f" / {least:,}" if n > least else "")
        note = f"peak memory of the process {peak / 1e9:.2f} GB"
        if n > least:
            note += f", {(peak - found[least][1]) / (n - least):,.0f} bytes per additional sample"
        other = smallest if n > least else None
        lines.append(Line(name, [1e6 * seconds / n], other, "us/sample", note=note))
    return lines


def _of_widths(n: int, wide: int, of_small: dict[str, Ran], of_wide: dict[str, Ran]) -> list[Line]:
    """Return a line per stage that reads samples: its peak memory, of large samples and of small ones."""
    bytes_of = {width: 2 * 4 * width for width in (wide, SMALL)}
    name = f"{n:,} samples of {bytes_of[wide] / 1000:,.0f} kB / of {bytes_of[SMALL]} bytes"
    note = f"{n * bytes_of[wide] / 1e9:.1f} GB of samples"
    lines = []
    for stage in ("prepare", "measure"):
        large, small = ([of[stage].peak_bytes / 1e9] for of in (of_wide, of_small))
        lines.append(Line(f"peak memory of {stage}, {name}", large, small, "GB", note=note))
    return lines


def _stages(folder: Path, n: int, width: int) -> dict[str, Ran]:
    _write_data(folder / "data", n, width)
    (folder / "params.yaml").write_text(json.dumps(_parameters()), encoding="utf-8")
    return {stage: run_python(BSS, [stage], folder) for stage in STAGES}


def _plan(folder: Path, n: int) -> tuple[dict[str, float], float]:
    ran = run_python(PLAN, [n], folder)
    seconds: dict[str, float] = json.loads(ran.output.splitlines()[-1])
    return seconds, ran.peak_bytes


def _write_data(root: Path, n: int, width: int) -> None:
    random = np.random.default_rng(0)
    for name in ("left", "right"):
        (root / name).mkdir(parents=True)
        for i in range(FILES):
            vector = random.standard_normal(width).astype(np.float32)
            vector[i % CLASSES] += 3
            np.save(root / name / f"{i}.npy", vector)
    with (root / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "label", "split", "left", "right"])
        for i in range(n + 2 * CLASSES):
            split = "train" if i < n else "val" if i < n + CLASSES else "test"
            paths = [f"{name}/{i % FILES}.npy" for name in ("left", "right")]
            writer.writerow([f"sample-{i}", f"class-{i % CLASSES}", split, *paths])


def _parameters() -> dict[str, Any]:
    encoder = {"kind": "mlp", "hidden": [16], "features": 16}
    return {
        "seeds": [0],
        "prepare": {"root": "data", "modalities": {"left": {"kind": "features"}, "right": {"kind": "features"}}},
        "network": {"encoders": {"left": encoder, "right": encoder}},
        "measure": {"warmup_epochs": 1},
        "schedule": {
            "schedulers": {
                "uniform": {"kind": "uniform"},
                "bss-h": {"kind": "heuristic", "stratified": True},
                "bss-l": {"kind": "learned"},
            }
        },
        "train": {"epochs": 30, "batch_size": 64, "optimiser": {"kind": "sgd", "learning_rate": 0.05}},
        "tracking": {"enabled": False},
    }


BENCHMARK = Benchmark(
    "growth",
    "Growth",
    "The whole command of each stage (with the start of its process) on small samples, two vectors of 16 numbers, with "
    "a warm-up of one epoch; then only sequences and plans, of more samples. Cost per sample relative to the smallest "
    "number of samples. Last, samples of two vectors of `wide` numbers, beyond the 2 GiB that may be cached in memory.",
    {"sizes": (10**3, 10**4, 10**5), "large": (10**6, 10**7, 10**8), "wide": 32768},
    run,
)

if __name__ == "__main__":
    main(BENCHMARK)
