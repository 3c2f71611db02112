"""The whole campaign: kills, outages, bad inputs and a soak; the numbers go into docs/reliability.md.

``python tests/reliability/record.py`` takes about ten minutes on two idle cores. It ends with 1 where anything was
lost.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "reliability")]

from boundaries import kill_at_every_boundary  # noqa: E402
from conftest import make_rows, small_tree, write_manifest  # noqa: E402
from kills import SCHEDULERS, kill_campaign, reliable_tree  # noqa: E402
from soak import Growth, check, soak  # noqa: E402

from bss.config import config_from_tree, config_to_tree  # noqa: E402
from bss.provenance import code_version  # noqa: E402

KILLS, SEEDS = 60, 40
DOCUMENT = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
OUTAGES = {
    "MLflow refuses, stalls, or cuts connections": "tests/tracking/test_outages.py",
    "the object store refuses, stalls, or cuts connections": "tests/remote/test_broken_stores.py",
    "checkpoints on the object store, and disks that are gone": "tests/training/test_remote_checkpoints.py",
    "full disks": "tests/test_full_disk.py",
    "damaged objects of DVC": "tests/end_to_end/test_data_remote.py",
    "two pipelines at once": "tests/tracking/test_two_at_once.py",
}
HOSTILE = "tests/hostile"


def soak_tree(tree: dict, seeds: int) -> dict:
    """Return parameters for five trials per seed in two processes, with MLflow."""
    return reliable_tree(tree) | {
        "seeds": list(range(seeds)),
        "measure": {"warmup_epochs": 0},
        "tracking": {"models": "none"},
        "resources": {"device": "cpu", "jobs": 2, "checkpoints": {"minutes": None, "steps": 4}},
    }


def main() -> int:
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary, _data(Path(temporary)) as (root, store):
        tree, folder = small_tree(root), Path(temporary)
        _say("kills")
        kills = kill_campaign(tree, store, folder / "kills", KILLS)
        _say("stage boundaries")
        (folder / "boundaries").mkdir()
        boundaries = kill_at_every_boundary(reliable_tree(tree), folder / "boundaries")
        _say("outages")
        outages = {what: _count(path) for what, path in OUTAGES.items()}
        _say("bad inputs")
        bad = _bad_inputs(folder / "tally.json")
        _say("soak")
        growth = _soak(tree, store, folder / "soak")
    lines = [*_kills_table(dict(kills), boundaries), *_outages_table(outages), *_bad_table(bad), *_soak_table(growth)]
    minutes = (time.monotonic() - started) / 60
    machine = f"{os.cpu_count()} processors, {platform.machine()}, Python {platform.python_version()}"
    lines += ["", f"Measured at commit {code_version()['commit'][:12]} in {minutes:.0f} minutes: {machine}."]
    _write(lines)
    return 0


@contextmanager
def _data(folder: Path) -> Iterator[tuple[Path, Path]]:
    from bss.stages.prepare import prepare

    root = folder / "pets"
    root.mkdir()
    write_manifest(root, make_rows(root))
    prepare(config_from_tree(small_tree(root), "params.yaml"), root, folder / "store")
    yield root, folder / "store"


def _soak(tree: dict, store: Path, folder: Path) -> Growth:
    folder.mkdir()
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
    params = folder / "params.json"
    params.write_text(json.dumps(config_to_tree(config_from_tree(soak_tree(tree, SEEDS), "params.yaml"))))
    growth = soak(params, store, folder)
    check(growth)
    return growth


def _count(path: str, environment: dict[str, str] | None = None) -> tuple[int, int]:
    """Run the tests at `path`; return how many failures were injected, which passed, and how many were skipped."""
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider", path]
    found = {**os.environ, **(environment or {})}
    done = subprocess.run(command, cwd=ROOT, env=found, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{path}:\n{done.stdout}{done.stderr}")
    line = done.stdout.strip().splitlines()
    dots = "".join(part.split("[")[0] for part in line if part and set(part.split("[")[0].strip()) <= set(".s"))
    return dots.count("."), dots.count("s")


def _bad_inputs(tally: Path) -> dict[str, dict[str, int]]:
    if not (ROOT / HOSTILE).is_dir():
        return {}
    _count(HOSTILE, {"BSS_TALLY": str(tally)})
    found: dict[str, dict[str, int]] = json.loads(tally.read_text(encoding="utf-8"))
    return found


def _kills_table(kills: dict[str, int], boundaries: int) -> list[str]:
    rows = [f"| {moment} | {number} | 0 |" for moment, number in kills.items()]
    total = sum(kills.values()) + boundaries
    rows += [f"| the start of a stage of `dvc repro` | {boundaries} | 0 |", f"| all | {total} | 0 |"]
    head = ["| killed (SIGKILL) in | times | results that differ |", "| --- | ---: | ---: |"]
    return [f"Schedulers: {', '.join(SCHEDULERS)}.", "", *head, *rows]


def _outages_table(outages: dict[str, tuple[int, int]]) -> list[str]:
    rows = [f"| {what} | {passed} | {skipped} | 0 |" for what, (passed, skipped) in outages.items()]
    return ["", "| failing service | cases | skipped here | data lost |", "| --- | ---: | ---: | ---: |", *rows]


def _bad_table(bad: dict[str, dict[str, int]]) -> list[str]:
    if not bad:
        return []
    outcomes = sorted({outcome for counts in bad.values() for outcome in counts})
    rows = [f"| {kind} | {' | '.join(str(n.get(o, 0)) for o in outcomes)} |" for kind, n in sorted(bad.items())]
    return ["", f"| bad inputs | {' | '.join(outcomes)} |", f"| --- |{' ---: |' * len(outcomes)}", *rows]


def _soak_table(growth: Growth) -> list[str]:
    rows = [
        f"| resident memory, KiB | {growth.last.kib:,} | {growth.kib:+.1f} |",
        f"| file handles | {growth.last.handles} | {growth.handles:+.3f} |",
        f"| threads | {growth.last.threads} | {growth.threads:+.3f} |",
    ]
    head = f"| {growth.trials} trials in one process tree | at the end | growth per trial |"
    return ["", head, "| --- | ---: | ---: |", *rows]


def _write(lines: list[str]) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    DOCUMENT.write_text("\n".join([before + BEGIN, "", *lines, "", END]) + rest.split(END)[1], encoding="utf-8")
    print(f"reliability: {DOCUMENT}")


def _say(what: str) -> None:
    print(f"reliability: {what}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
