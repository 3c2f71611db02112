"""What the steps get that run once per seed or training.

Kubeflow compares values and the names of artifacts, never their contents, and a long value may not fit into its
database. So such a step gets short values, among them the digest of all that decides it, and a file that tells it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bss.errors import BssError
from bss.files import digest_json, read_json, write_json

Part = dict[str, Any]


def write_parts(path: Path, parts: Mapping[str, Part]) -> dict[str, str]:
    """Write what decides each step to `path`; return the digest of each."""
    write_json(path, dict(parts))
    return {key: digest_json(part) for key, part in parts.items()}


def read_part(path: Path, key: str, digest: str, made_by: str) -> Part:
    """Return what decides the step `key`; `BssError` where `path` holds another one than that of `digest`, or none."""
    parts = read_json(path, made_by)
    part: Part | None = parts.get(key)
    if part is None:
        raise BssError(f"{path}: has no {key}, but {', '.join(parts)}.")
    if digest_json(part) != digest:
        raise BssError(
            f"{path}: {key} is {digest_json(part)[:12]} there, expected {digest[:12]}: this file is of another run. "
            "Run the pipeline without its cache."
        )
    return part
