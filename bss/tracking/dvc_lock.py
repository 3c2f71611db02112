"""DVC's record of the data that a run used."""

from pathlib import Path

from bss.config.load import parse_yaml
from bss.errors import BssError

MAX_BYTES = 16 << 20
"""Largest dvc.lock."""


def dvc_digest(lock: Path, root: str) -> str | None:
    """Return the digest of the data at `root` in dvc.lock, or None.

    It is only a note about the data and must not stop a trial: also None if the file is unreadable.
    """
    try:
        if not lock.is_file() or lock.stat().st_size > MAX_BYTES:
            return None
        found = parse_yaml(lock.read_text(encoding="utf-8"), str(lock))
        for dependency in found["stages"]["prepare"]["deps"]:
            if dependency.get("path") == root and isinstance(dependency.get("md5"), str):
                return str(dependency["md5"])
    except (BssError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return None
