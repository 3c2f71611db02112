"""The message of a refusal, for tests that look for several parts of it."""

from collections.abc import Callable
from typing import Any

import pytest

from bss.errors import BssError


def refused(call: Callable[..., Any], *arguments: Any, **more: Any) -> str:
    """Return the message of the `BssError` that the call raises."""
    with pytest.raises(BssError) as caught:
        call(*arguments, **more)
    return str(caught.value)
