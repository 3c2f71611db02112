"""What the machine does during a trial: CPU, memory, disk, network and GPUs, by MLflow's own monitors.

MLflow's `SystemMetricsMonitor` sends each sample to a server itself and ends when that does not answer
(mlflow/system_metrics/system_metrics_monitor.py, `monitor`), so only its collectors are used, and samples go to the
journal. The names are the same, which makes MLflow show them in the tab "System metrics" of the run.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import Any

from bss.errors import BssError

SECONDS = 10.0
"""Between two samples, as in MLflow."""
PREFIX = "system/"


def require_monitors(gpu: bool, say: Callable[[str], None]) -> None:
    """Raise `BssError` if psutil is missing; say so if what reads the GPU is missing, and `gpu` trains."""
    if find_spec("psutil") is None:
        fix = "Run `pip install psutil`, or set it to false."
        raise BssError(f"tracking.system_metrics: psutil is not installed. {fix}")
    if gpu and find_spec("pynvml") is None and find_spec("pyrsmi") is None:
        say("tracking.system_metrics: cannot log GPUs without nvidia-ml-py. Run `pip install nvidia-ml-py`.")


@contextmanager
def sampling(log: Callable[[dict[str, float]], None], seconds: float = SECONDS) -> Iterator[None]:
    """Give `log` the means over the last `seconds`, again and again during the block, and at its end if never before.

    A thread does so. It ends quietly if `log` raises `BssError`: the trial writes to the same disk and reports it.
    """
    done = threading.Event()
    thread = threading.Thread(target=_sample, args=(log, seconds, done), daemon=True, name="system-metrics")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _sample(log: Callable[[dict[str, float]], None], seconds: float, done: threading.Event) -> None:
    monitors = _monitors()
    _collect(monitors)  # the use of the CPU is measured since the last time
    ended, logged = False, False
    with suppress(BssError):
        while not ended:
            ended = done.wait(seconds)
            if not ended or not logged:
                log(_collect(monitors))
                logged = True


def _monitors() -> list[Any]:
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor
    from mlflow.system_metrics.metrics.rocm_monitor import ROCMMonitor

    found = []
    for kind in (CPUMonitor, DiskMonitor, NetworkMonitor, GPUMonitor, ROCMMonitor):
        with suppress(Exception):  # nothing to measure here: no network in the container, no GPU, or not its library
            found.append(kind())
    return found


def _collect(monitors: list[Any]) -> dict[str, float]:
    values: dict[str, float] = {}
    for monitor in monitors:
        monitor.collect_metrics()
        values |= {f"{PREFIX}{name}": float(value) for name, value in monitor.aggregate_metrics().items()}
        monitor.clear_metrics()
    return values
