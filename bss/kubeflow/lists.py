"""Lists over which a pipeline fans out; each item holds everything its step gets from other steps."""

import json
from collections.abc import Sequence
from typing import Any

from bss.errors import BssError

LONGEST = 60_000
"""Longest list in characters: Kubeflow values over 64 kB may not fit into its database."""


def require_short(items: Sequence[dict[str, Any]], what: str, fix: str) -> None:
    """Raise `BssError` if `items`, described by `what`, exceed the size of a Kubeflow value."""
    length = len(json.dumps(items))
    if length > LONGEST:
        raise BssError(f"{what} is {length} characters long; Kubeflow allows {LONGEST}. {fix}")
