"""Which code, parameters and inputs made an artifact."""

import functools
import hashlib
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bss import __version__
from bss.files import write_json

PACKAGE = Path(__file__).parent


@functools.cache
def code_version() -> dict[str, Any]:
    """Return version, commit, whether tracked files differ from it, and the digest of the package's files.

    A container has no repository: there BSS_COMMIT in the environment gives the commit, with the suffix
    "-modified" if the image was built from changed files. "unknown" if both are missing.
    """
    built_from = os.environ.get("BSS_COMMIT", "")
    commit = built_from.removesuffix("-modified") or _git("rev-parse", "HEAD") or "unknown"
    modified = built_from.endswith("-modified") or bool(
        not built_from and _git("status", "--porcelain", "--untracked-files=no", "--", ".")
    )
    return {"version": __version__, "commit": commit, "modified": modified, "digest": digest_package(PACKAGE)}


def digest_package(package: Path) -> str:
    """Return the sha256 over names and contents of the package's Python and HTML files."""
    digest = hashlib.sha256()
    for path in sorted(p for p in package.rglob("*") if p.suffix in (".py", ".html")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(package).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def write_provenance(
    folder: Path, stage: str, inputs: dict[str, str], parameters: dict[str, Any], more: dict[str, Any] | None = None
) -> None:
    """Write provenance.json into `folder`: digests of the inputs, parameters, code, libraries, and `more`.

    It holds no times and no paths, so the same code, inputs and parameters give the same bytes.
    """
    write_json(folder / "provenance.json", provenance(stage, inputs, parameters, more))


def provenance(
    stage: str, inputs: dict[str, str], parameters: dict[str, Any], more: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return the content of the file that `write_provenance` writes."""
    environment = {"python": platform.python_version(), "machine": platform.machine(), **_libraries()}
    return {
        "schema_version": 1,
        "stage": stage,
        "inputs": inputs,
        "parameters": parameters,
        "code": code_version(),
        "environment": environment,
        **(more or {}),
    }


@functools.cache
def _libraries() -> dict[str, str]:
    """Return the versions of the libraries that compute."""
    return {name: version(name) for name in ("numpy", "torch")}


def _git(*arguments: str) -> str:
    """Return git's output in the package's folder, or nothing without git or a repository."""
    try:
        done = subprocess.run(["git", *arguments], cwd=PACKAGE, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
