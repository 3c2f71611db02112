"""Part of `make gpu`: the built-in comparison on the GPU and on the CPU."""

import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path

from benchmarks.comparison import Line
from benchmarks.digits_tree import digits_config, plan_digits, prepare_digits
from benchmarks.gpu_setting import Setting
from bss.config import Config
from bss.data.store import Store
from bss.launch.workers import jobs_at_a_time
from bss.metrics.inputs import Task
from bss.report.results import read_results
from bss.report.statistics import paired_differences, t_interval
from bss.stages.compare import compare
from bss.stages.train import train

SMALL = (
    *("prepare.val_share=0.5", "train.epochs=1", "train.decay.at=[]", "measure.warmup_epochs=0"),
    *("seeds=[0, 1]", "resources.jobs=1"),
)
SEEDS = ("seeds=[0, 1, 2, 3, 4, 5]",)
FEW = ("uniform", "random-ranking")
"""Schedulers of a small run."""


@dataclass(frozen=True)
class Ran:
    """One run of the pipeline."""

    accuracies: dict[str, list[float]]
    """On test, by scheduler, in the order of the seeds."""
    seconds: float
    """From the prepared data to the report."""
    jobs: int


def run(setting: Setting) -> Iterator[Line]:
    """Compare the accuracies by scheduler, their mean, and the time."""
    more = SMALL if setting.small else SEEDS
    config = digits_config(setting.shared, setting.device, *more)
    store = prepare_digits(config, setting.shared)
    ours = _pipeline(_few(config, setting), store, setting.folder / setting.device)
    cpu = digits_config(setting.shared, "cpu", *more)
    theirs = _pipeline(_few(cpu, setting), store, setting.folder / "other")
    label = "on the GPU" if setting.device == "cuda" else "on the CPU again"
    for name, accuracies in ours.accuracies.items():
        found = _difference(accuracies, theirs.accuracies[name])
        yield Line(f"accuracy of {name} {label} / on the CPU", accuracies, theirs.accuracies[name], "", note=found)
    mean, other = ([sum(of) / len(of) for of in zip(*ran.accuracies.values(), strict=True)] for ran in (ours, theirs))
    low, high = t_interval(paired_differences(mean, other))
    outside = float(not low <= 0 <= high)
    yield Line(f"mean accuracy of all schedulers {label} / on the CPU", mean, other, "", note=_difference(mean, other))
    yield Line("mean accuracies outside of what seeds explain (95 % interval)", [outside], unit="", at_most=0)
    jobs = f"{ours.jobs} and {theirs.jobs} trials at a time"
    yield Line(f"measure to report {label} / on the CPU", [ours.seconds], [theirs.seconds], note=jobs)


def _few(config: Config, setting: Setting) -> Config:
    if not setting.small:
        return config
    known = config.schedule.schedulers
    return replace(config, schedule=replace(config.schedule, schedulers={name: known[name] for name in FEW}))


def _pipeline(config: Config, store: Path, folder: Path) -> Ran:
    folder.mkdir()
    started = time.perf_counter()
    scores, plans = plan_digits(config, store, folder)
    with redirect_stdout(StringIO()):
        train(config, store, scores, plans, folder / "runs")
        compare(config, store, scores, folder / "runs", folder / "report")
    seconds = time.perf_counter() - started
    data = Store.open(store)
    results = read_results(config, folder / "runs", Task(len(data.classes), tuple(data.modalities)))
    accuracies = {name: [trial.metrics["test/acc"] for trial in trials] for name, trials in results.items()}
    return Ran(accuracies, seconds, jobs_at_a_time(config, 1))


def _difference(values: list[float], others: list[float]) -> str:
    found = paired_differences(values, others)
    low, high = t_interval(found)
    return f"{found.mean():+.4f} [{low:+.4f}, {high:+.4f}] over {len(values)} seeds"
