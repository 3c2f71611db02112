"""Lists over which a pipeline fans out; each item holds all that its step gets from other steps."""

import json
from collections.abc import Sequence
from typing import Any

from bss.errors import BssError

LONGEST = 60_000
"""Letters of a list: a value of Kubeflow that is longer than 64 kB may not fit into its database."""


def require_short(items: Sequence[dict[str, Any]], what: str, cure: str) -> None:
    """Raise `BssError` if `items` are longer than a value of Kubeflow may be; `what` are they."""
    length = len(json.dumps(items))
    if length > LONGEST:
        raise BssError(f"{what} is {length} letters long, and Kubeflow takes {LONGEST}. {cure}")
