"""What every test of hostile input has: a watchdog, and the tally at the end."""

import faulthandler
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import tally

WATCHDOG_SECONDS = 600
"""No input may keep a test this long: then the process ends with the stack that shows where it hangs."""


@pytest.fixture(autouse=True)
def watchdog():
    faulthandler.dump_traceback_later(WATCHDOG_SECONDS * int(os.environ.get("BSS_HOSTILE", "1")), exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


def pytest_sessionfinish(session):
    if os.environ.get("BSS_TALLY") and tally.counts:
        tally.add_to(Path(os.environ["BSS_TALLY"]))
