"""What is accepted is compared: no test of the media may read a file without a second reading of its values."""

from collections import Counter

import pytest
from tally import counts


def _number(outcome: str) -> Counter[str]:
    return Counter({kind: number for (kind, found), number in counts.items() if found == outcome})


@pytest.fixture
def what_is_accepted_is_compared():
    """Fail the test if it accepted more, or fewer, inputs of a kind than it compared with a second reading.

    Damaged files that every other decoder refuses count too, as such; the tests bound their number.
    """
    read, compared = _number("read"), _compared()
    yield
    assert _compared() - compared == _number("read") - read


def _compared() -> Counter[str]:
    return _number("compared") + _number("read by bss alone")
