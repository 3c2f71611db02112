"""What a step tells the person who reads its log."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from bss.disk import system_error
from bss.errors import BssError


@contextmanager
def plain_errors() -> Iterator[None]:
    """End the process with status 1 and the message of a `BssError`, without a traceback."""
    try:
        yield
    except (BssError, OSError) as error:
        if isinstance(error, OSError):
            told = system_error(error)
            if told is None:
                raise
            error = told
        print(f"bss: {error}", file=sys.stderr, flush=True)
        raise SystemExit(1) from error
