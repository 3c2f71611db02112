"""Run tests on each supported Python that is on this machine: `python tests/extras/versions.py [PYTEST ARGUMENT ...]`.

`make python-versions` runs the fast ones. A Python that is missing is skipped, and so is one for which pip offers only
a CUDA build of torch, unless CUDA=1 is set. pyenv's interpreters are found too.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from environments import PROJECT, FailedError, copy_project, create, write_constraints

CLASSIFIER = re.compile(r'"Programming Language :: Python :: (3\.\d+)"')


def main(arguments: list[str]) -> int:
    """Return 0 if the tests pass on every version that is not skipped, and one is not."""
    versions = CLASSIFIER.findall((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    results = [_try(version, arguments) for version in versions]
    return 1 if False in results or True not in results else 0


def find(version: str) -> Path | None:
    """Return an interpreter of this version, such as 3.12, that works; None if there is none."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    on_path = shutil.which(f"python{version}")
    found = [Path(on_path)] if on_path else []
    found += sorted(root.glob(f"versions/{version}.*/bin/python"), reverse=True)
    for python in found:
        done = subprocess.run([python, "-c", "import venv"], capture_output=True, check=False)
        if done.returncode == 0:
            return python
    return None


def cuda_needs(python: Path, constraints: Path) -> list[str]:
    """Return what the build of torch that pip would install requires of CUDA; nothing is installed.

    Raises `FailedError` if there is no build for this interpreter.
    """
    with tempfile.TemporaryDirectory(prefix="bss-python-") as folder:
        report = Path(folder) / "report.json"
        options = ["--dry-run", "--ignore-installed", "--no-deps", "--quiet", "--disable-pip-version-check"]
        pip = [python, "-m", "pip", "install", *options, "--report", report, "-c", constraints, "torch"]
        done = subprocess.run(pip, capture_output=True, text=True, check=False)
        if done.returncode:
            raise FailedError(done.stderr.strip().splitlines()[-1])
        (torch,) = json.loads(report.read_text(encoding="utf-8"))["install"]
    return [line for line in torch["metadata"].get("requires_dist", []) if line.startswith(("cuda", "nvidia"))]


def _try(version: str, arguments: list[str]) -> bool | None:
    """Return whether the tests pass; None if this version is skipped."""
    title = f"Python {version}:"
    python = find(version)
    if python is None:
        print(f"{title} skipped: it is not on this machine", flush=True)
        return None
    with tempfile.TemporaryDirectory(prefix="bss-python-") as folder:
        place = Path(folder)
        try:
            constraints = write_constraints(place / "constraints.txt")
            if os.environ.get("CUDA") != "1" and cuda_needs(python, constraints):
                print(
                    f"{title} skipped: pip would install a CUDA build of torch, gigabytes in size. Point pip at CPU "
                    "builds (PIP_FIND_LINKS, PIP_INDEX_URL), or set CUDA=1",
                    flush=True,
                )
                return None
            at = create("dev", place / "environment", copy_project(place / "project"), constraints, python)
            output = at.run("pytest", *arguments, where=at.project)
        except FailedError as error:
            print(f"{title} FAILED\n{error}", flush=True)
            return False
    print(f"{title} {output.strip().splitlines()[-1]}", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
