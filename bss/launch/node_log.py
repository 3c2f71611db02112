"""Messages from a node to its starter: JSON lines with a marker, mixed with other log output."""

import json
import re
import signal
import sys
from collections.abc import Iterator
from typing import Any

MARKER = "@bss-node "


def send(**content: Any) -> None:
    """Write `content` as one line to standard output and flush."""
    # In one write, so that lines of other processes cannot interleave.
    sys.stdout.write(f"{MARKER}{json.dumps(content)}\n")
    sys.stdout.flush()


def read_records(log: str) -> Iterator[dict[str, Any]]:
    """Yield the messages in `log`, in order; truncated or damaged lines are skipped."""
    for line in log.splitlines():
        _, marker, rest = line.partition(MARKER)
        if marker:
            try:
                yield json.JSONDecoder().raw_decode(rest)[0]
            except json.JSONDecodeError:
                continue


def killed_by(log: str) -> int | None:
    """Return the number of the signal that ended a rank, as torchrun's `log` has it, or None.

    Ranks that torchrun itself ended because another had failed do not count.
    """
    numbers = map(int, re.findall(r"Signal (\d+) \(\w+\) received by PID", log))
    return next((number for number in numbers if number != signal.SIGTERM), None)


def describe_signal(number: int) -> str:
    """Return the name of a signal, with its likely cause."""
    hint = ", probably because memory ran out" if number == signal.SIGKILL else ""
    return signal.Signals(number).name + hint
