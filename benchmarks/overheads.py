"""What is not training: the start of commands, and MLflow."""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.comparison import Line, interleave
from benchmarks.crema import Shape, make_config, plan_of, prepare_quietly, write_folder
from benchmarks.process import BSS, run_python
from benchmarks.record import Benchmark, main
from bss.config import Config, config_to_tree
from bss.data.store import Store
from bss.tracking.execution import open_execution
from bss.tracking.journal import spool_folder
from bss.tracking.sender import sending
from bss.tracking.trial_run import TrialRun
from bss.training.trial import train_trial

SHAPE = Shape(seconds=2.5, height=90, width=120, crop=64, channels=8)

SHORT_EPOCHS = "its calls take as long in the long epochs of a real training"

FIRST_STEP = """
import sys, time
from torch.optim.optimizer import register_optimizer_step_post_hook
from bss.cli import main

def stop(*_):
    print(f"first step {time.time():.3f}", flush=True)
    sys.exit()

register_optimizer_step_post_hook(stop)
main(sys.argv[1:])
"""
"""A command that ends after its first training step; without worker processes it trains in its own."""


def run(repetitions: int, samples: int, epochs: int) -> list[Line]:
    """Start commands as processes, then train with and without MLflow."""
    starts = interleave(
        {
            "help": lambda: run_python(BSS, ["--help"]),
            "python": lambda: run_python("pass"),
            "torch": lambda: run_python("import torch"),
            "config": lambda: run_python("import bss.stages.schedule"),
        },
        repetitions,
    )
    with tempfile.TemporaryDirectory() as folder:
        root = write_folder(Path(folder) / "data", samples, 12, SHAPE)
        config = make_config(root, SHAPE, epochs, 32, {"uniform": {"kind": "uniform"}})
        store = prepare_quietly(config, root)
        first_steps = [_seconds_to_first_step(config, store, Path(folder)) for _ in range(repetitions)]
        logging, epochs_seconds = _epochs(config, store, Path(folder), repetitions)
    python = median(starts["python"])
    return [
        Line("bss --help / python -c pass", starts["help"], starts["python"]),
        Line("bss --help", starts["help"], at_most=0.3, if_missed=f"Python itself takes {python:.2g} s"),
        Line("what `bss schedule` imports / import torch", starts["config"], starts["torch"]),
        Line("bss measure to its first step / import torch", first_steps, starts["torch"]),
        Line("MLflow in an epoch / the epoch", logging, epochs_seconds, at_most=0.01, if_missed=SHORT_EPOCHS),
    ]


def _seconds_to_first_step(config: Config, store: Store, folder: Path) -> float:
    (folder / "params.yaml").write_text(json.dumps(config_to_tree(config)), encoding="utf-8")
    started = time.time()
    arguments = ["measure", "--store", str(store.path), "--scores", str(folder / "scores")]
    ran = run_python(FIRST_STEP, arguments, folder)
    return float(ran.output.split("first step")[1]) - started


def _epochs(config: Config, store: Store, folder: Path, repetitions: int) -> tuple[list[float], list[float]]:
    """Return the seconds that MLflow takes of an epoch, with a database on disk, and those of the epoch."""
    runs, uri = folder / "runs", f"sqlite:///{folder / 'mlflow.db'}"
    spool = spool_folder(runs)
    execution, journal = open_execution(spool, config, store.name, uri, {})
    plan = plan_of(config, "uniform", len(store.rows("train")))
    logging, whole = [], []
    with sending(runs, uri, False, print):
        for repetition in range(repetitions):
            run_ = TrialRun.start(spool, execution, f"repetition {repetition}", config_to_tree(config), {})
            stopwatch = Stopwatch()
            started = time.perf_counter()
            train_trial(config, store, plan, "uniform", 0, None, stopwatch.timed(run_.log_epoch))
            stopwatch.timed(run_.fail)("FINISHED")
            whole.append((time.perf_counter() - started) / config.train.epochs)
            logging.append(stopwatch.seconds / config.train.epochs)
        journal.append("end", status="FINISHED")
    return logging, whole


class Stopwatch:
    """The sum of the seconds that some calls take."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def timed(self, call: Callable[[Any], None]) -> Callable[[Any], None]:
        """Return `call`, counted."""

        def counted(argument: Any) -> None:
            started = time.perf_counter()
            call(argument)
            self.seconds += time.perf_counter() - started

        return counted


BENCHMARK = Benchmark(
    "overheads",
    "Overheads",
    "Start of commands as processes, including imports; and MLflow's share of the epochs of a small training (two "
    "ResNet-18, stem of 8 channels): writing the records to this disk, from which a background thread uploads them to "
    "a database. Opening a run and storing its files at the end happen once per training and are not included.",
    {"repetitions": 5, "samples": 192, "epochs": 10},
    run,
)

if __name__ == "__main__":
    main(BENCHMARK)
