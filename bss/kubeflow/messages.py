"""Messages of a step in its log."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from bss.errors import BssError
from bss.full_disk import system_error
from bss.signals import STOPPED, interrupted_by_sigterm, stop_signal_as_sigterm


@contextmanager
def plain_errors() -> Iterator[None]:
    """Exit with status 1 and the message of a `BssError`, without a traceback; with 143 if stopped."""
    stop_signal_as_sigterm()
    try:
        with interrupted_by_sigterm():
            yield
    except KeyboardInterrupt:
        print("bss: stopped by a signal", file=sys.stderr, flush=True)
        raise SystemExit(STOPPED) from None
    except (BssError, OSError) as error:
        if isinstance(error, OSError):
            known = system_error(error)
            if known is None:
                raise
            error = known
        print(f"bss: {error}", file=sys.stderr, flush=True)
        raise SystemExit(1) from error
