"""Try each extra of the package in a fresh environment: `python tests/extras/run.py [EXTRA ...]`, or `make extras`.

A folder of the system's temporary files holds the environments, one at a time; it is removed in the end.
"""

import shutil
import sys
import tempfile
import time
from pathlib import Path

from environments import FailedError, copy_project, create, write_constraints
from needs import NEEDS

ABSENT = Path(__file__).with_name("absent.py")
NONE = "none"
"""On the command line: bss without an extra."""


def main(extras: list[str]) -> int:
    """Return 0 if everything that was tried works."""
    names = {extra or NONE: extra for extra in NEEDS}
    unknown = [name for name in extras if name not in names]
    if unknown:
        print(f"extras: no extra {unknown[0]}; there are: {', '.join(names)}")
        return 1
    with tempfile.TemporaryDirectory(prefix="bss-extras-") as name:
        place = Path(name)
        constraints = write_constraints(place / "constraints.txt")
        failed = [name for name in extras or names if not _try(names[name], place, constraints)]
    return 1 if failed else 0


def _try(extra: str, place: Path, constraints: Path) -> bool:
    started = time.monotonic()
    title = f"extras: {extra or NONE:9}"
    folder = place / (extra or NONE)
    try:
        at = create(extra, folder, copy_project(folder / "project"), constraints)
        at.run("python", ABSENT, extra)
        size = sum(path.stat().st_size for path in (folder / "venv").rglob("*") if path.is_file()) / 2**20
        installed = time.monotonic()
        NEEDS[extra](at)
    except (FailedError, AssertionError) as error:
        print(f"{title} FAILED\n{error}", flush=True)
        return False
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    seconds = (installed - started, time.monotonic() - installed)
    print(f"{title} ok: {size:.0f} MiB, installed in {seconds[0]:.0f} s, tried in {seconds[1]:.0f} s", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
