"""Where results go: a JSON file per benchmark, and docs/benchmarks.md made of all of them."""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.comparison import Line
from benchmarks.machine import describe_machine

PROJECT = Path(__file__).parents[1]
RESULTS = PROJECT / "benchmarks" / "results"
PAGE = PROJECT / "docs" / "benchmarks.md"
HEAD = {
    "what": "compared",
    "ours": "ours",
    "other": "against",
    "ratio": "ratio",
    "goal": "goal",
    "reached": "reached",
}
INTRODUCTION = """# Benchmarks

`make bench` and, on a GPU, `make gpu` produce these tables; the command above a table produces only that one.
`python -m benchmarks.record` writes this page from `benchmarks/results/`. Both sides of a line are measured in one run,
interleaved. Each cell is the median, with the minimum and maximum of the repetitions; ratios are taken within each
repetition. Each table names its machine: do not compare numbers between machines.
"""

GPU = "gpu_"
"""The names of the results of `make gpu` begin with it."""
NO_GPU = """## On a GPU

Not measured yet: `make gpu` on a machine with a GPU takes ten minutes and writes its tables here.
Without a network, `make gpu WHEELS=FOLDER PYTHON=python3` uses that Python's own PyTorch and installs the wheels in
FOLDER next to it; MLflow, DVC and kfp are not needed.
"""


@dataclass(frozen=True)
class Benchmark:
    """A benchmark: description, parameters, and the function that measures."""

    name: str
    title: str
    text: str
    """What is compared, for the page."""
    parameters: dict[str, Any]
    """Maps each name to its default; each is a command-line option with the default's type."""
    run: Callable[..., list[Line]]
    """Takes the parameters by name."""


def main(benchmark: Benchmark, arguments: Sequence[str] | None = None) -> list[Line]:
    """Measure, print the table, and with ``--record`` write it down."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{benchmark.name}", description=benchmark.title)
    for name, default in benchmark.parameters.items():
        listed = {"nargs": "+", "type": type(default[0])} if isinstance(default, tuple) else {"type": type(default)}
        shown = f"default: {' '.join(map(str, default)) if isinstance(default, tuple) else default}"
        parser.add_argument(f"--{name.replace('_', '-')}", default=default, help=shown, **listed)
    parser.add_argument("--record", action="store_true", help="write the result into docs/benchmarks.md")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the recorded results")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page that is made of them")
    options = vars(parser.parse_args(arguments))
    record, results, page = (options.pop(name) for name in ("record", "results", "page"))
    lines = benchmark.run(**options)
    result = {
        "title": benchmark.title,
        "text": benchmark.text,
        "command": f"python -m benchmarks.{benchmark.name}" + _changed(benchmark.parameters, options),
        "machine": describe_machine(),
        "lines": [asdict(line) for line in lines],
    }
    print(table(lines))
    if record:
        results.mkdir(parents=True, exist_ok=True)
        (results / f"{benchmark.name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        write_page(results, page)
    return lines


def write_page(results: Path, page: Path) -> None:
    """Write `page` from all of `results`."""
    paths = sorted(results.glob("*.json"))
    parts = [INTRODUCTION]
    parts += [_section(json.loads(path.read_text(encoding="utf-8"))) for path in paths]
    if not any(path.name.startswith(GPU) for path in paths):
        parts.append(NO_GPU)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n".join(parts), encoding="utf-8")


def _section(result: dict[str, Any]) -> str:
    machine = result["machine"]
    gpu = f", {machine['gpu']}" if machine["gpu"] else ""
    text = (
        f"## {result['title']}\n\n{result['text']}\n\n`{result['command']}`, on {machine['processor']}, "
        f"{machine['cores']} cores, {machine['memory_gib']} GiB{gpu}; Python {machine['python']}, torch "
        f"{machine['torch']}, numpy {machine['numpy']}; commit {machine['commit']}.\n\n"
        + table([Line(**line) for line in result["lines"]])
        + "\n"
    )
    return text + f"\nFailed: {result['failed']}\n" if result.get("failed") else text


def table(lines: list[Line]) -> str:
    """Return the lines as a Markdown table."""
    rows = [HEAD, dict.fromkeys(HEAD, "---"), *(line.cells() for line in lines)]
    return "\n".join("| " + " | ".join(row[column] for column in HEAD) + " |" for row in rows)


def _changed(defaults: dict[str, Any], options: dict[str, Any]) -> str:
    changed = ""
    for name, value in options.items():
        several = value if isinstance(value, list | tuple) else [value]
        if tuple(several) != (defaults[name] if isinstance(defaults[name], tuple) else (defaults[name],)):
            changed += f" --{name.replace('_', '-')} {' '.join(map(str, several))}"
    return changed


if __name__ == "__main__":
    write_page(RESULTS, PAGE)
