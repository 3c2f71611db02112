"""Sequences of many samples against torch.multinomial, torch.sort and the memory's bandwidth."""

import numpy as np
import torch

from benchmarks.comparison import Line, interleave
from benchmarks.process import run_python
from benchmarks.record import Benchmark, main
from bss.balance import Heuristic, Learned
from bss.balance.sorting import stable_argsort

MOST_CATEGORIES = 2**24
"""Of torch.multinomial."""
LEAST = 1_000_000
"""Samples from which on the goal counts."""
FULL_REPETITIONS = 20_000_000
"""Larger sizes are measured once."""
SORTING = "nine tenths of it are one radix sort, by a single thread; how that compares differs between processors"

PEAK = """
import sys
import numpy as np
import torch
from bss.balance import Heuristic, Learned
from bss.balance.sorting import stable_argsort
n = int(sys.argv[2])
scores = np.random.default_rng(0).random(n)
if sys.argv[1] == "permutation":
    Learned().sequence(scores, 0, 0)
elif sys.argv[1] == "stable order":
    stable_argsort(scores)
elif sys.argv[1] == "stable order by torch.sort":
    torch.sort(torch.from_numpy(scores), stable=True)
else:
    Heuristic().rank(scores, 0)
"""


def run(sizes: tuple[int, ...], repetitions: int, threads: int) -> list[Line]:
    """Measure each size; memory is the peak of a process of its own, for the largest."""
    torch.set_num_threads(threads or torch.get_num_threads())
    lines = []
    for n in sizes:
        lines += _of_size(n, repetitions if n <= FULL_REPETITIONS else 1)
    for what in ("permutation", "ranking", "stable order", "stable order by torch.sort"):
        peak = run_python(PEAK, [what, max(sizes)]).peak_bytes / 1e9
        name = f"memory of a process with {max(sizes):,} scores and their {what}"
        lines.append(Line(name, [peak], unit="GB", at_most=8))
    return lines


def _of_size(n: int, repetitions: int) -> list[Line]:
    scores = np.random.default_rng(0).uniform(-1, 1, n)
    weights = torch.from_numpy(Learned().probabilities(scores))
    single, keys, target = weights.float(), torch.from_numpy(scores), np.empty_like(scores)
    sides = {
        "permutation": lambda: Learned().sequence(scores, 0, 0),
        "ranking": lambda: Heuristic().rank(scores, 0),
        "torch.sort": lambda: torch.sort(keys),
        "stable order": lambda: stable_argsort(scores),
        "stable torch.sort": lambda: torch.sort(keys, stable=True),
        "copy": lambda: np.copyto(target, scores),
    }
    if n < MOST_CATEGORIES:
        sides["torch.multinomial, float64"] = lambda: torch.multinomial(weights, n)
        sides["torch.multinomial, float32"] = lambda: torch.multinomial(single, n)
    seconds = interleave(sides, repetitions)
    what, permutation = f"weighted permutation of {n:,}", seconds["permutation"]
    goal = 2 if n >= LEAST else None
    lines = [
        Line(f"{what} / {name}", permutation, seconds[name], ratio="other / ours", at_least=goal, if_missed=SORTING)
        for name in sides
        if name.startswith("torch.multinomial")
    ]
    if not lines:
        reason = f"torch.multinomial stops at {MOST_CATEGORIES:,}"
        lines = [Line(what, permutation, note=reason)]
    return [
        *lines,
        Line(f"{what} / torch.sort", permutation, seconds["torch.sort"], ratio="other / ours"),
        Line(
            f"ranking of {n:,} / torch.sort of float64", seconds["ranking"], seconds["torch.sort"], ratio="other / ours"
        ),
        Line(
            f"stable order of {n:,} / torch.sort(stable=True)",
            seconds["stable order"],
            seconds["stable torch.sort"],
            ratio="other / ours",
        ),
        Line(f"{what} / copying its 8 bytes a sample", permutation, seconds["copy"]),
    ]


BENCHMARK = Benchmark(
    "sequences",
    "Sequences",
    "BSS-L's weighted permutation (exact, in double precision), BSS-H's ranking (ties at random) and the stable order "
    "that both sort by, of n scores; "
    "torch.sort sorts n numbers of double precision. The last line of each size compares them with the memory "
    "bandwidth.",
    {"sizes": (10**6, 10**7, 16 * 10**6, 10**8), "repetitions": 5, "threads": 0},
    run,
)

if __name__ == "__main__":
    main(BENCHMARK)
