"""Making bad inputs out of good ones, and judging what becomes of them.

BSS_HOSTILE=<factor> makes the campaign larger: that many times the examples, other ones each time.
"""

import faulthandler
import os
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from tally import tried

from bss.data.decode import BadSampleError, make_decoder
from bss.data.decode.spans import WHOLE
from bss.errors import BssError

FACTOR = int(os.environ.get("BSS_HOSTILE", "1"))

NUMBERS = [
    b"\xff" * 4,
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\xff" * 8,
    b"\x00" * 8,
    b"\x80\x00\x00\x00",
    b"\x00\x00\x01\x00",
]
"""The largest, the smallest and other sizes that a header may declare."""


def examples(number: int) -> settings:
    """Settings for `number` examples, the same ones every time unless a campaign asks for more."""
    return settings(
        max_examples=number * FACTOR,
        deadline=None,
        derandomize=FACTOR == 1,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    )


PLACES = st.integers(0, 64) | st.integers(0, 600) | st.integers(0, 1 << 20)
CHANGES = st.one_of(
    st.tuples(st.just("set"), PLACES, st.integers(0, 255)),
    st.tuples(st.just("bit"), PLACES, st.integers(0, 7)),
    st.tuples(st.just("number"), PLACES, st.sampled_from(NUMBERS)),
    st.tuples(st.just("remove"), PLACES, st.integers(1, 40)),
    st.tuples(st.just("repeat"), PLACES, st.integers(1, 40)),
    st.tuples(st.just("cut"), PLACES, st.just(0)),
)
damages = st.lists(CHANGES, min_size=1, max_size=4)


def damage(data: bytes, changes) -> bytes:
    """Return `data` with each change done at its place (taken around the length)."""
    for change, place, value in changes:
        if not data:
            break
        at = place % len(data)
        if change == "set":
            data = data[:at] + bytes([value]) + data[at + 1 :]
        elif change == "bit":
            data = data[:at] + bytes([data[at] ^ 1 << value]) + data[at + 1 :]
        elif change == "number":
            data = data[:at] + value + data[at + len(value) :]
        elif change == "remove":
            data = data[:at] + data[at + value :]
        elif change == "repeat":
            data = data[: at + value] + data[at:]
        else:
            data = data[:at]
    return data


def every_damage(data: bytes, header: int = 96, cuts: int = 64):
    """Yield `data` cut at many places, with each of its first bytes changed, and with numbers that are too large."""
    yield b""
    yield b"\x00" * len(data)
    yield data[::-1]
    for cut in sorted({round(i * len(data) / cuts) for i in range(cuts)} | set(range(min(header, len(data))))):
        yield data[:cut]
    for place in range(min(header, len(data))):
        yield data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]
    for place in range(0, min(header, len(data)), 2):
        for number in NUMBERS[:3]:
            yield data[:place] + number + data[place + len(number) :]


@contextmanager
def within_a_minute():
    """End the process with the stack that shows where it hangs, if an input keeps it that long."""
    faulthandler.dump_traceback_later(60, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def decode(path, kind, span=WHOLE):
    return make_decoder(kind, path.parent, "m")(path.name, span).array


def judge(kind_of_input: str, path, kind, check, second=None):
    """Decode the file at `path`: it must be refused in a line that can be printed, or give what `check` accepts.

    Return what is decoded, None if it is refused. `second` compares it with a second reading of the file; without it
    the test does so itself, and counts what it has compared.
    """
    try:
        with within_a_minute():
            decoded = decode(path, kind)
    except BadSampleError as error:
        text = str(error)
        assert text
        assert text.isprintable()
        assert len(text) < 400
        assert str(path.parent) not in text
        tried(kind_of_input, "refused")
        return None
    check(decoded)
    tried(kind_of_input, "read")
    if second is not None:
        second(decoded)
        tried(kind_of_input, "compared")
    return decoded


def refused(kind_of_input: str, call, *words: str) -> str:
    """Call `call`: it must raise a `BssError` with a message that holds `words`; return the message."""
    with within_a_minute(), pytest.raises(BssError) as caught:
        call()
    text = str(caught.value)
    for word in words:
        assert word in text, text
    assert len(text) < 20_000
    tried(kind_of_input, "refused")
    return text


def refused_or(kind_of_input: str, call, second=None):
    """Call `call`: return what it gives, or None if it raises a `BssError`; anything else is a failure.

    `second` compares what it gives with a second reading of the input.
    """
    try:
        with within_a_minute():
            value = call()
    except BssError:
        tried(kind_of_input, "refused")
        return None
    tried(kind_of_input, "read")
    if second is not None:
        second(value)
        tried(kind_of_input, "compared")
    return value
