"""A copy of the project, and fresh virtual environments with one extra each, all outside the checkout."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "requirements-dev.lock")


class FailedError(Exception):
    """A command did not do what it should; the message has its output."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment, a copy of the project and a folder to work in."""

    extra: str
    """Empty: bss without any extra."""
    folder: Path
    project: Path

    @property
    def bin(self) -> Path:
        return self.folder / "venv" / "bin"

    @property
    def work(self) -> Path:
        return self.folder / "work"

    def run(self, *command: str | Path, code: int = 0, where: Path | None = None, **variables: str) -> str:
        """Run a program of the environment; return what it printed. Raises `FailedError` unless it exits with `code`.

        Nothing of the caller's Python, MLflow or object store reaches it.
        """
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MLFLOW", "AWS_"))}
        kept |= {"PATH": f"{self.bin}{os.pathsep}{kept['PATH']}", "GIT_CONFIG_GLOBAL": os.devnull, **variables}
        program, *arguments = map(str, command)
        given = [str(self.bin / program) if (self.bin / program).exists() else program, *arguments]
        done = subprocess.run(given, cwd=where or self.work, env=kept, capture_output=True, text=True, check=False)
        output = done.stdout + done.stderr
        if done.returncode != code:
            raise FailedError(f"{' '.join([program, *arguments])} exited with {done.returncode}, not {code}:\n{output}")
        return output


def require(output: str, *parts: str) -> None:
    """Raise `FailedError` if one of `parts` is not in `output`."""
    for part in parts:
        if part not in output:
            raise FailedError(f"expected `{part}` in:\n{output}")


def copy_project(folder: Path) -> Path:
    """Copy the files that git tracks, as they are now, and those that it does not ignore; return the copy."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    for name in listed:
        if name and (PROJECT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / name, folder / name)
    return folder


def write_constraints(path: Path) -> Path:
    """Write the exact versions of both locks as constraints for pip; return `path`."""
    lines = [line for lock in LOCKS for line in (PROJECT / lock).read_text(encoding="utf-8").splitlines()]
    path.write_text("\n".join(line for line in lines if not line.startswith("--")) + "\n", encoding="utf-8")
    return path


def create(
    extra: str, folder: Path, project: Path, constraints: Path, python: Path = Path(sys.executable)
) -> Environment:
    """Create a virtual environment of `python` in the new `folder` and install the project with `extra` into it."""
    environment = Environment(extra, folder, project)
    environment.work.mkdir(parents=True)
    subprocess.run([python, "-m", "venv", folder / "venv"], check=True)
    wanted = f"{project}[{extra}]" if extra else str(project)
    options = ["--quiet", "--disable-pip-version-check", "--no-compile"]  # most modules are never imported
    environment.run("pip", "install", *options, "-c", constraints, wanted)
    return environment
