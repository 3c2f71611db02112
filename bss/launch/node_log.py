"""What a node tells whoever started it: lines of JSON with a marker, amid all else in its log."""

import json
import re
import signal
import sys
from collections.abc import Iterator
from typing import Any

MARKER = "@bss-node "


def tell(**content: Any) -> None:
    """Write `content` as one line to standard output, at once."""
    # In one piece, so that lines of other processes do not come between.
    sys.stdout.write(f"{MARKER}{json.dumps(content)}\n")
    sys.stdout.flush()


def read_told(log: str) -> Iterator[dict[str, Any]]:
    """Yield what was told in `log`, in order; a line that is cut or damaged is left out."""
    for line in log.splitlines():
        _, marker, rest = line.partition(MARKER)
        if marker:
            try:
                yield json.JSONDecoder().raw_decode(rest)[0]
            except json.JSONDecodeError:
                continue


def killed_by(log: str) -> int | None:
    """Return the number of the signal that ended a rank, as torchrun's `log` has it, or None.

    A rank that torchrun itself ended, because another had failed, does not count.
    """
    numbers = map(int, re.findall(r"Signal (\d+) \(\w+\) received by PID", log))
    return next((number for number in numbers if number != signal.SIGTERM), None)


def describe_signal(number: int) -> str:
    """Return the name of a signal, with what it hints at."""
    hint = ", as the system does when memory runs out" if number == signal.SIGKILL else ""
    return signal.Signals(number).name + hint
