import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bss.launch import workers
from bss.launch.workers import emit, jobs_at_a_time, run_jobs
from bss.signals import interrupted_by_sigterm, interruptions_wait


def square(value):
    emit("started", value)
    return value * value


def fail_on_two(value, folder):
    if value == 2:
        raise ValueError("two is not allowed")
    (folder / str(value)).touch()
    return value


@pytest.mark.process
def test_results_and_events_reach_the_parent():
    events, results = [], {}
    run_jobs(square, [(i,) for i in range(5)], 2, events.append, lambda job, result: results.update({job[0]: result}))
    assert results == {i: i * i for i in range(5)}
    assert sorted(events) == [("started", i) for i in range(5)]


def test_the_first_error_is_raised_and_finished_work_is_kept(tmp_path):
    done = []
    with pytest.raises(ValueError, match="two is not allowed"):
        run_jobs(fail_on_two, [(i, tmp_path) for i in (1, 2, 3, 4, 5, 6)], 1, print, lambda job, _: done.append(job[0]))
    assert done[:1] == [1]
    assert {path.name for path in tmp_path.iterdir()} >= {"1"}


SLEEPERS = """
import os, signal, sys, time
from pathlib import Path
from bss.launch.workers import run_jobs
def sleep(folder):
    Path(folder, str(os.getpid())).touch()
    time.sleep(60)
if __name__ == "__main__":
    # A shell starts background jobs deaf to SIGINT, and these tests may run in one.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    run_jobs(sleep, [(sys.argv[1],)] * 2, 2, print, print)
"""


@pytest.mark.process
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_killed_parent_leaves_no_worker_behind(how, tmp_path):
    script = tmp_path / "sleepers.py"
    script.write_text(SLEEPERS)
    (tmp_path / "pids").mkdir()
    parent = subprocess.Popen([sys.executable, script, tmp_path / "pids"], stderr=subprocess.DEVNULL)
    try:
        workers = wait_for(lambda: sorted(p.name for p in (tmp_path / "pids").iterdir()), lambda found: len(found) == 2)
        parent.send_signal(how)
        parent.wait(30)
        wait_for(lambda: [pid for pid in workers if is_running(int(pid))], lambda left: not left)
    finally:
        parent.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interruption_waits_for_what_must_not_be_half_done(number):
    done = []

    def work():
        with interrupted_by_sigterm():
            with interruptions_wait():
                os.kill(os.getpid(), number)
                done.append("the whole block")
            done.append("nothing after it")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            work()
    finally:
        signal.signal(signal.SIGINT, before)
    assert done == ["the whole block"]


def wait_for(look, enough):
    for _ in range(600):
        found = look()
        if enough(found):
            return found
        time.sleep(0.1)
    raise AssertionError(f"still {found}")


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text(encoding="utf-8").split(")")[1].split()[0] != "Z"


GIB = 1 << 30


@pytest.mark.parametrize(
    ("memory", "processors", "processes", "changes", "jobs"),
    [
        (80 * GIB, 16, 1, {}, 8),
        (80 * GIB, 4, 1, {}, 4),
        (16 * GIB, 16, 1, {}, 2),
        (4 * GIB, 16, 1, {}, 1),
        (80 * GIB, 16, 2, {}, 1),
        (80 * GIB, 16, 1, {"image": {"kind": "resnet"}}, 1),
    ],
)
def test_small_networks_share_a_gpu_by_default(
    memory, processors, processes, changes, jobs, tree, make_config, monkeypatch
):
    monkeypatch.setattr(workers, "device_type", lambda config: "cuda")
    monkeypatch.setattr(workers, "gpu_memory", lambda: memory)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(processors)))
    tree["resources"]["jobs"] = None
    tree["network"]["encoders"] |= changes
    assert jobs_at_a_time(make_config(tree), processes) == jobs
    tree["resources"]["jobs"] = 3
    assert jobs_at_a_time(make_config(tree), processes) == 3


def test_on_a_cpu_there_are_as_many_jobs_as_processors_for_their_processes(tree, make_config, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(6)))
    tree["resources"]["jobs"] = None
    assert [jobs_at_a_time(make_config(tree), processes) for processes in (1, 2, 4, 8)] == [6, 3, 1, 1]
