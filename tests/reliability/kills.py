"""SIGKILL at chosen and random moments: what is started again ends with the bytes of a run that was never disturbed.

Processes are forked from one that has imported everything, so that a kill costs no second of its own.
"""

import multiprocessing
import os
import random
import shutil
import signal
import threading
import time
from collections import Counter
from functools import wraps
from pathlib import Path

from bss.config import Config, config_from_tree
from bss.files import digest_file, digest_folder, read_json

RESULT = ("metrics.json", "history.csv", "sequences.parquet", "predictions.parquet", "model.pt", "provenance.json")
"""What a trial leaves that is the same every time; measurements.parquet too where there is one."""
SCHEDULERS = ("uniform", "bss-h", "bss-l", "bss-l-online", "official-l")
MOMENTS = {
    "a training step": ("bss.training.resume.state", "TrainingState.after_step", 5),
    "a checkpoint": ("bss.training.resume.checkpoints", "Checkpoints.save", 3),
    "the evaluation at an epoch's end": ("bss.training.trial", "evaluate_and_read", 4),
    "measuring by a pass": ("bss.training.begin_epoch", "measure", 1),
    "writing the result": ("bss.training.trial_files", "write_json", 2),
    "the warm-up of measuring": ("bss.training.uniform", "train_epoch", 1),
    "measuring the scores": ("bss.stages.measure", "measure_split", 2),
}
"""When a process is killed: a function that it has just entered, and for which time at the latest."""
MEASURING = "bss-l"
"""The scheduler that measures by a pass."""
OF_MEASURE = ("the warm-up of measuring", "measuring the scores")
DELAY_SECONDS = 0.03
"""The kill comes up to so long after the function was entered."""
PER_RUN = 5
"""Kills of one run; then it may end."""


def reliable_tree(tree: dict) -> dict:
    """Return the parameters `tree` with the five schedulers, one seed and a checkpoint after every second step."""
    schedulers = {name: tree["schedule"]["schedulers"][name] for name in SCHEDULERS}
    return tree | {
        "seeds": [0],
        "schedule": {"schedulers": schedulers},
        "compare": {"resamples": 1000},
        "resources": {"device": "cpu", "jobs": 1, "checkpoints": {"minutes": None, "steps": 2}},
    }


def forking():
    """Return a context whose processes are forked from one that has imported the stages."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", "bss.stages.measure", "bss.stages.train", "bss.tracking.sender"])
    return context


def kill_campaign(tree: dict, store: Path, folder: Path, kills: int, seed: int = 0) -> Counter[str]:
    """Kill measuring and trials until `kills` have been killed; return how many at which moment.

    Every run resumes until it ends, and is compared with an undisturbed one. Raises `AssertionError` if
    a byte differs or something is left behind.
    """
    config = config_from_tree(reliable_tree(tree), "params.yaml")
    context, random_of = forking(), random.Random(seed)
    right = folder / "undisturbed"
    for work in (run_measure, run_schedule, run_train):
        assert run_killed(context, work, (config, store, right, None), None) == 0
    done: Counter[str] = Counter()
    for number in range(10 * kills):
        if sum(done.values()) >= kills:
            break
        place = folder / f"run-{number}"
        if number % 4 == 3:
            done += _disturb(context, random_of, run_measure, OF_MEASURE, (config, store, place, None))
            assert same_scores(place, right)
        else:
            shutil.copytree(right / "plans", place / "plans")
            shutil.copytree(right / "scores", place / "scores")
            name = SCHEDULERS[(number - number // 4) % len(SCHEDULERS)]
            moments = [moment for moment in MOMENTS if moment not in OF_MEASURE]
            if name != MEASURING:
                moments.remove("measuring by a pass")
            done += _disturb(context, random_of, run_train, moments, (config, store, place, name))
            assert_same_training(place / "runs" / name / "seed=0", right / "runs" / name / "seed=0")
            assert not list((place / "runs").glob("*/.seed=*"))
        shutil.rmtree(place)
    assert sum(done.values()) >= kills
    return done


def _disturb(context, random_of, work, moments, arguments) -> Counter[str]:
    done: Counter[str] = Counter()
    for _ in range(PER_RUN):
        moment = random_of.choice(list(moments))
        call, delay = random_of.randrange(MOMENTS[moment][2]), random_of.uniform(0, DELAY_SECONDS)
        status = run_killed(context, work, arguments, (moment, call, delay))
        if status == -signal.SIGKILL:
            done[moment] += 1
        else:
            assert status == 0
            return done
    assert run_killed(context, work, arguments, None) == 0
    return done


def run_killed(context, work, arguments, kill) -> int:
    """Call `work` in a process of its own that is killed as `kill` says; return its exit status."""
    process = context.Process(target=_run, args=(work, arguments, kill))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def _run(work, arguments, kill) -> None:
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 1)
    if kill is not None:
        _arm(*kill)
    work(*arguments)


def _arm(moment: str, call: int, delay: float) -> None:
    """Have this process killed `delay` seconds after it enters the function of `moment` for the `call`-th time."""
    import importlib

    module, path, _ = MOMENTS[moment]
    *owners, name = path.split(".")
    owner = importlib.import_module(module)
    for part in owners:
        owner = getattr(owner, part)
    original, calls = getattr(owner, name), iter(range(10**9))

    @wraps(original)
    def armed(*args, **kwargs):
        if next(calls) == call:
            threading.Thread(target=_kill, args=(delay,), daemon=True).start()
        return original(*args, **kwargs)

    setattr(owner, name, armed)


def _kill(delay: float) -> None:
    time.sleep(delay)
    os.kill(os.getpid(), signal.SIGKILL)


def run_measure(config: Config, store: Path, folder: Path, name: str | None) -> None:
    from bss.stages.measure import measure

    measure(config, store, folder / "scores")


def run_schedule(config: Config, store: Path, folder: Path, name: str | None) -> None:
    from bss.stages.schedule import schedule

    schedule(config, store, folder / "scores", folder / "plans")


def run_train(config: Config, store: Path, folder: Path, name: str | None) -> None:
    from bss.stages.train import train

    trials = None if name is None else [(name, 0)]
    train(config, store, folder / "scores", folder / "plans", folder / "runs", trials)


def same_scores(place: Path, right: Path) -> bool:
    return digest_folder(place / "scores") == digest_folder(right / "scores")


def assert_same_training(found: Path, right: Path) -> None:
    names = [*RESULT, *(["measurements.parquet"] if (right / "measurements.parquet").exists() else [])]
    for name in names:
        assert digest_file(found / name) == digest_file(right / name), found / name
    assert read_json(found / "timing.json", "train")["seconds"] > 0
