"""`make gpu`: everything that only a GPU can show, part by part, in ten minutes.

Each part runs in a process of its own, within a budget, and each of its lines is saved as soon as it is measured. A
part that fails, crashes or exceeds its budget is recorded with its message, and the others still run.
"""

import argparse
import importlib
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.comparison import Line
from benchmarks.gpu_setting import Setting
from benchmarks.record import GPU, PAGE, PROJECT, RESULTS, table, write_page

OUT = PROJECT / "outputs" / "gpu"
"""For results that do not belong on the page."""
MINUTES = 10.0
CUT_OFF = "it was cut off before its end."


@dataclass(frozen=True)
class Part:
    """One part of the benchmark."""

    title: str
    text: str
    """What is measured, for the page."""
    module: str
    """Of this package; its function `run` takes a `Setting` and yields lines."""
    seconds: float
    """That it may take."""


PARTS = {
    "steps": Part(
        "GPU: every encoder and every fusion",
        "A training step of each encoder (with concatenation) and each fusion, at small sizes, while PyTorch refuses "
        "every operation without a deterministic implementation. Compiled steps and CUDA graphs against plain ones.",
        "gpu_steps",
        130,
    ),
    "bits": Part(
        "GPU: the same bits, and no waiting",
        "Small trials on one GPU: one that was stopped in mid-epoch against one that was not; CUDA graphs against "
        "plain steps; several at once against one after the other. Counted are tensors or files that differ.",
        "gpu_bits",
        70,
    ),
    "ranks": Part(
        "GPU: two ranks",
        "One training over two ranks, with nccl where it takes them (a GPU each), else with gloo.",
        "gpu_ranks",
        50,
    ),
    "comparison": Part(
        "GPU: the built-in comparison",
        "All stages on the built-in data, on the GPU and on the processors of the same machine. Accuracies on the test "
        "split, paired by seed; seconds of all stages.",
        "gpu_comparison",
        130,
    ),
    "reference": Part(
        "GPU: the authors' loop",
        "BSS-L with scores from the training pass, through the store, against a loop built after the authors' script "
        "for CREMA-D, both on the GPU: two ResNet-18 on sounds tiled to 20 s (257 x 1250) and images of 224 x 224.",
        "gpu_reference",
        100,
    ),
    "balance": Part(
        "GPU: what balance-aware sampling costs",
        "Epochs of two ResNet-18 with equal numbers of steps, against uniform shuffling.",
        "gpu_balance",
        70,
    ),
    "throughput": Part(
        "GPU: throughput and memory",
        "Steps of two ResNet-18 of full width at CREMA-D's shape, in bf16. Model FLOPs are those of the forward and "
        "backward passes, counted by torch.utils.flop_counter.",
        "gpu_throughput",
        70,
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts; return 1 if any failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--small", action="store_true", help="sizes that a CPU measures in seconds")
    parser.add_argument("--out", type=Path, help="folder of the results; default: the project's own, for a whole run")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument(
        "--minutes", type=float, default=MINUTES, help="that all parts together may take; each in proportion"
    )
    options = parser.parse_args(arguments)
    stretch = options.minutes / MINUTES
    whole = options.device == "cuda" and not options.small and options.out is None
    results, page = (RESULTS, PAGE) if whole else ((options.out or OUT), (options.out or OUT) / "benchmarks.md")
    results.mkdir(parents=True, exist_ok=True)
    ends = time.monotonic() + 60 * options.minutes
    failed = []
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.gpu_steps", "benchmarks.gpu_comparison"])  # what all parts import
    with tempfile.TemporaryDirectory() as folder:
        for name in options.parts:
            setting = Setting(options.device, options.small, Path(folder) / name, Path(folder))
            setting.folder.mkdir()
            path = results / f"{GPU}{name}.json"
            path.unlink(missing_ok=True)
            budget = min(stretch * PARTS[name].seconds, ends - time.monotonic())
            message = _run_within(context, name, setting, path, budget)
            print(f"\n{PARTS[name].title}: {'done' if message is None else f'FAILED: {message}'}", flush=True)
            if path.exists():
                print(table([Line(**line) for line in json.loads(path.read_text())["lines"]]), flush=True)
                write_page(results, page)
            failed += [name] if message is not None else []
    print(f"\nresults: {results}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


def _run_within(context: Any, name: str, setting: Setting, path: Path, seconds: float) -> str | None:
    """Run a part in a process of its own; return why it failed, or None. Its processes are ended with it."""
    if seconds <= 0:
        return "there was no time left for it."
    process = context.Process(target=_run_part, args=(name, setting, path))
    process.start()
    process.join(seconds)
    late = process.is_alive()
    for number in (signal.SIGTERM, signal.SIGKILL):
        if _signal_group(process.pid, number):
            process.join(5)
    process.kill()
    process.join()
    if not path.exists():
        return f"its process ended with {process.exitcode} before it began."
    result = json.loads(path.read_text(encoding="utf-8"))
    if late:
        result["failed"] = f"it took longer than {seconds:.0f} s."
    elif process.exitcode != 0 and result["failed"] == CUT_OFF:
        result["failed"] = f"its process ended with {process.exitcode}."
    _write(path, result)
    failed: str | None = result["failed"]
    return failed


def _signal_group(group: int, number: int) -> bool:
    """Signal all processes that a part has started; return whether there were any."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


def _run_part(name: str, setting: Setting, path: Path) -> None:
    """Run a part in this process and write what it yields to `path`, line by line."""
    os.setsid()
    from benchmarks.machine import describe_machine

    if setting.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    part, started = PARTS[name], time.monotonic()
    small = " --small" if setting.small else ""
    result: dict[str, Any] = {
        "title": part.title,
        "text": part.text,
        "command": f"python -m benchmarks.gpu --device {setting.device}{small} --parts {name}",
        "machine": describe_machine(),
        "lines": [],
        "failed": CUT_OFF,
    }
    _write(path, result)
    try:
        if setting.device == "cuda" and result["machine"]["gpu"] is None:
            raise RuntimeError("there is no GPU that torch can use; `make gpu DEVICE=cpu SMALL=1` tries the parts.")
        run: Callable[[Setting], Iterator[Line]] = importlib.import_module(f"benchmarks.{part.module}").run
        for line in run(setting):
            result["lines"].append(asdict(line))
            _write(path, result)
        result["failed"] = None
    except Exception as error:
        result["failed"] = f"{type(error).__name__}: {error}"
        raise
    finally:
        result["seconds"] = round(time.monotonic() - started, 1)
        _write(path, result)


def _write(path: Path, result: dict[str, Any]) -> None:
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(path)


if __name__ == "__main__":
    sys.exit(main())
