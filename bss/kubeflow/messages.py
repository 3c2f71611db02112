"""What a step tells the person who reads its log."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from bss.errors import BssError


@contextmanager
def plain_errors() -> Iterator[None]:
    """End the process with status 1 and the message of a `BssError`, without a traceback."""
    try:
        yield
    except BssError as error:
        print(f"bss: {error}", file=sys.stderr, flush=True)
        raise SystemExit(1) from error
