"""What is accepted is compared: no test may read a file without a second reading of its values."""

import pytest
from tally import counts


def _number(outcome: str) -> dict[str, int]:
    return {kind: number for (kind, found), number in counts.items() if found == outcome and number}


@pytest.fixture(autouse=True)
def what_is_accepted_is_compared():
    """Fail the test if it accepted more, or fewer, inputs of a kind than it compared with a second reading."""
    yield
    assert _number("compared") == _number("read")
