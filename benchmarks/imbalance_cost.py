"""What the measurements of imbalance cost of a training on the built-in data."""

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.comparison import Line
from benchmarks.crema import plan_of
from benchmarks.digits_tree import digits_config, prepare_digits
from benchmarks.record import Benchmark, main
from bss.data.store import Store
from bss.training import final_metrics, trial

MEASURING = {"imbalance_row": trial, "final_imbalance": final_metrics}
"""Where what measures is called."""


def run(repetitions: int, every: int, folder: str) -> list[Line]:
    """Train in full; count what the measurements take, and what all else does."""
    if not folder:
        with tempfile.TemporaryDirectory() as temporary:
            return _measure(repetitions, every, Path(temporary))
    return _measure(repetitions, every, Path(folder))


def _measure(repetitions: int, every: int, folder: Path) -> list[Line]:
    config = digits_config(folder, "cpu", f"evaluation.imbalance_every={every}")
    store = Store.open(prepare_digits(config, folder))
    plan = plan_of(config, "uniform", len(store.rows("train")))
    counted = {name: Counted(getattr(module, name)) for name, module in MEASURING.items()}
    in_epochs, at_end, rest = [], [], []
    with ExitStack() as patches:
        for name, call in counted.items():
            patches.enter_context(patch.object(MEASURING[name], name, call))
        for seed in range(repetitions):
            before = {name: call.seconds for name, call in counted.items()}
            started = time.process_time()
            trial.train_trial(config, store, plan, "uniform", seed, None, lambda row: None)
            whole = time.process_time() - started
            in_epochs.append(counted["imbalance_row"].seconds - before["imbalance_row"])
            at_end.append(counted["final_imbalance"].seconds - before["final_imbalance"])
            rest.append(whole - in_epochs[-1] - at_end[-1])
    both = [a + b for a, b in zip(in_epochs, at_end, strict=True)]
    return [
        Line("measurements of imbalance / the rest of the training", both, rest, at_most=0.03),
        Line("those after epochs / the rest", in_epochs, rest),
        Line("those of the trained network / the rest", at_end, rest),
    ]


class Counted:
    """A call, and the seconds of processor time that it has taken."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self.call, self.seconds = call, 0.0

    def __call__(self, *arguments: Any) -> Any:
        """Return what the call does."""
        started = time.process_time()
        found = self.call(*arguments)
        self.seconds += time.process_time() - started
        return found


BENCHMARK = Benchmark(
    "imbalance_cost",
    "What measuring imbalance costs",
    "The measurements of `evaluation.imbalance_every` in whole trials on the built-in data (24 epochs, uniform "
    "shuffling), in seconds of processor time with one thread: after epochs, and at the end, where probes are fitted. "
    "They use what the evaluation of val and test reads anyway. The first repetition includes the import of "
    "scikit-learn. `--folder` keeps the data.",
    {"repetitions": 5, "every": 5, "folder": ""},
    run,
)

if __name__ == "__main__":
    main(BENCHMARK)
