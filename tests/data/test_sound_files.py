"""Real sound files, whole, cut off and with false headers: what ffmpeg and sox decode is stored, or nothing is."""

import struct

import numpy as np
import pytest
import soundfile
import soxr
from media import grey_steps, write_video
from sound_files import (
    JOINED,
    LOSSLESS,
    MADE,
    RATE,
    SECONDS,
    by_ffmpeg,
    by_sox,
    needs_ffmpeg,
    needs_sox,
    packet_starts,
    rate_of,
    write_all,
)

from bss.config.modalities import AudioKind
from bss.data.decode import BadSampleError, make_decoder
from bss.data.decode.spans import WHOLE

pytestmark = [needs_ffmpeg, pytest.mark.process]

NAMES = [*MADE, "vbri.mp3"]
UNDECLARED = ("vorbis.ogg", "a.opus", "in-ogg.ogg", "a.mp2", "cbr-without-header.mp3", "vbr-without-header.mp3")
"""Files that do not say how long they are: cut off, they are shorter."""
UNCERTAIN = ("a.aac", "a.voc", "a.wma", "ac3.ts", "mp3.avi", "mp3.flv")
"""Files that need not say it, or are often wrong about it: cut off, they are shorter or refused."""
REFUSED = "cut off|not a readable"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sounds")
    write_all(folder)
    return folder


@pytest.fixture(autouse=True)
def _fresh_memory_is_not_a_number(monkeypatch):
    """Fill new arrays, so that whatever is read of them without having been written is seen."""
    empty = np.empty

    def filled(*arguments, **options):
        array = empty(*arguments, **options)
        if array.dtype.kind in "fiu":
            array.fill(np.nan if array.dtype.kind == "f" else 113)
        return array

    monkeypatch.setattr(np, "empty", filled)


def decode(path, rate, seconds=20.0, long="start"):
    kind = AudioKind("audio", sample_rate=rate, seconds=seconds, long=long)
    return make_decoder(kind, path.parent, "m")(path.name, WHOLE).array


def refused(path, rate):
    """Return whether the file is refused, by a name of the fault; the same in each way of reading it."""
    try:
        decode(path, rate)
    except BadSampleError as error:
        for long in ("start", "centre"):
            with pytest.raises(BadSampleError, match=REFUSED):
                decode(path, rate, 20.0, long)
        return bool(str(error))
    return False


def compare(path, rate, decoder=by_ffmpeg):
    """Decode the file: it is refused, or is what `decoder` decodes, and so is its middle, every time.

    Returns the number of samples, or None.
    """
    if refused(path, rate):
        return None
    stored = decode(path, rate)
    expected = decoder(path)
    assert len(stored) == len(expected)
    np.testing.assert_allclose(stored, np.clip(expected, -1, 1), atol=2e-7, rtol=0)
    np.testing.assert_array_equal(decode(path, rate), stored)
    length = len(stored) // 3
    start = (len(stored) - length) // 2
    middle = decode(path, rate, length / rate, "centre")
    np.testing.assert_array_equal(middle, stored[start : start + length])
    return len(stored)


@pytest.mark.parametrize("name", NAMES)
def test_a_whole_file_is_stored_as_ffmpeg_decodes_it(name, made):
    rate = rate_of(name)
    samples = compare(made / name, rate)
    assert SECONDS * rate - 1200 * (name == "a.wma") <= samples <= SECONDS * rate + 0.1 * rate


@needs_sox
@pytest.mark.parametrize(
    "name", ["pcm16.wav", "mulaw.wav", "adpcm.wav", "a.aiff", "a.au", "a.voc", "a.flac", "vorbis.ogg"]
)
def test_a_whole_file_is_stored_as_sox_decodes_it(name, made):
    expected = by_sox(made / name)
    stored = decode(made / name, RATE)
    assert len(stored) == len(expected)
    np.testing.assert_allclose(stored, expected, atol=1e-4 if name == "vorbis.ogg" else 0, rtol=0)


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_files_hold_their_source(name, made):
    source, _ = soundfile.read(made / "source.wav", dtype="float32")
    np.testing.assert_array_equal(decode(made / name, RATE), source.mean(axis=1))


@pytest.mark.parametrize("name", ["vorbis.ogg", "a.opus", "cbr.mp3", "vbr.mp3", "index-first.m4a", "opus.webm"])
def test_the_delay_of_encoders_is_taken_away(name, made):
    source, _ = soundfile.read(made / "source.wav", dtype="float32")
    source = source.mean(axis=1)
    stored = decode(made / name, RATE)
    shifts = range(-40, 41)
    likeness = [np.dot(source[500:-500], np.roll(stored[: len(source)], shift)[500:-500]) for shift in shifts]
    assert shifts[int(np.argmax(likeness))] == 0


@pytest.mark.parametrize("name", ["cbr.mp3", "vbr.mp3"])
def test_an_mp3_is_stored_as_mpg123_decodes_it(name, made):
    expected, _ = soundfile.read(made / name, dtype="float32")
    stored = decode(made / name, RATE)
    assert len(stored) == len(expected)
    np.testing.assert_allclose(stored, expected.mean(axis=1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["cbr.mp3", "a.flac", "a.wma"])
def test_another_rate_is_resampled_by_soxr(name, made):
    expected = soxr.resample(by_ffmpeg(made / name), RATE, 8000)
    np.testing.assert_allclose(decode(made / name, 8000), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("where", ["anywhere", "between frames"])
def test_a_file_that_is_cut_off_is_refused_or_stored_as_far_as_it_goes(name, where, made, tmp_path):
    data = (made / name).read_bytes()
    # Of so short a Vorbis file half are codebooks.
    at = len(data) * (4 if name == "vorbis.ogg" else 2) // 5
    if where == "between frames":
        at = next(start for start in packet_starts(made / name) if start >= at)
    path = tmp_path / name
    path.write_bytes(data[:at])
    rate = rate_of(name)
    samples = compare(path, rate)
    if name in UNDECLARED:
        assert 0.1 * SECONDS < samples / rate < 0.9 * SECONDS
    elif name not in UNCERTAIN:
        assert samples is None
    # What is kept of the start may be there all the same: then it is that of the whole file.
    try:
        stored = decode(path, rate, 0.2)
    except BadSampleError:
        return
    np.testing.assert_allclose(stored, decode(made / name, rate, 0.2), atol=1e-6)


@pytest.mark.parametrize("name", JOINED)
def test_joined_files_are_stored_whole(name, made):
    rate = rate_of(name)
    one = by_ffmpeg(made / name)
    stored = decode(made / f"joined-{name}", rate)
    # At the joint decoders leave out or put in a frame.
    assert abs(len(stored) - 2 * len(one)) < 0.1 * rate
    np.testing.assert_allclose(stored[: len(one) - 2000], one[:-2000], atol=1e-6)
    # Opus takes a while to forget the first file.
    second = stored[len(one) + len(one) // 2 :]
    shifts = range(len(one) // 2 - 2000, len(one) // 2 + 2000)
    errors = [np.abs(second[:4000] - one[shift : shift + 4000]).max() for shift in shifts]
    rest = one[shifts[int(np.argmin(errors))] :]
    np.testing.assert_allclose(second[: len(rest) - 100], rest[: len(second)][:-100], atol=1e-5)


def test_a_false_length_does_not_cut_an_mp3_without_header(made):
    """The first frames are silent and small: by them the file would be far shorter."""
    path = made / "vbr-without-header.mp3"
    assert soundfile.info(path).frames < 0.9 * SECONDS * RATE
    assert len(decode(path, RATE)) >= SECONDS * RATE


LENGTHS = {
    "pcm16.wav": ("data", 4, "<I"),
    "adpcm.wav": ("fact", 8, "<I"),
    "rf64.wav": ("ds64", 16, "<Q"),
    "a.w64": ("data", 16, "<Q"),
    "a.aiff": ("SSND", 4, ">I"),
    "a.au": (".snd", 8, ">I"),
    "a.caf": ("data", 4, ">Q"),
    "a.flac": ("fLaC", 18, ">Q"),
    "cbr.mp3": ("Info", 8, ">I"),
    "vbr.mp3": ("Xing", 8, ">I"),
    "vbri.mp3": ("VBRI", 14, ">I"),
    "index-first.m4a": ("mdhd", 20, ">I"),
    "flac.mkv": ("D\x89\x88", 3, ">d"),
}
"""Where each file declares its length: behind which mark, how many bytes from its start, and in which form."""


def with_length(name, data, change):
    """Return the file's bytes with `change` done to the length that it declares."""
    mark, offset, form = LENGTHS[name]
    at = data.index(mark.encode("latin-1")) + offset
    old = struct.unpack_from(form, data, at)[0]
    if name == "a.flac":  # the last 36 of 64 bits
        new = old >> 36 << 36 | int(change(old & (1 << 36) - 1))
    else:
        new = change(old) if form == ">d" else int(change(old))
    return data[:at] + struct.pack(form, new) + data[at + struct.calcsize(form) :]


ELSEWHERE = ("adpcm.wav", "rf64.wav", "a.w64", "index-first.m4a")
"""Files that declare their length in other places too."""
BY_SOX = ("a.w64", "a.au")
"""Files whose declared length ffmpeg does not look at, or in which it then finds nothing; sox is asked."""


@needs_sox
@pytest.mark.parametrize("name", LENGTHS)
def test_a_header_that_declares_less_does_not_change_the_values(name, made, tmp_path):
    path = tmp_path / name
    path.write_bytes(with_length(name, (made / name).read_bytes(), lambda length: length / 2))
    whole = decode(made / name, RATE)
    samples = compare(path, RATE, decoder=by_sox if name in BY_SOX else by_ffmpeg)
    if MADE.get(name, ("codec",)) != () or name == "a.flac":  # compressed: the end is not in the header
        assert samples == (None if name == "rf64.wav" else len(whole))


@pytest.mark.parametrize("name", LENGTHS)
def test_a_header_that_declares_more_does_not_change_the_values(name, made, tmp_path):
    path = tmp_path / name
    path.write_bytes(with_length(name, (made / name).read_bytes(), lambda length: length * 2))
    samples = compare(path, RATE)
    assert samples == (len(decode(made / name, RATE)) if name in ELSEWHERE else None)


def test_a_film_whose_table_of_sound_is_short_is_refused(tmp_path):
    """All packets of the picture are there, to the declared end."""
    sound = np.sin(np.arange(3 * 16000) / 10).astype(np.float32)
    write_video(tmp_path / "film.mp4", grey_steps(30), sound=(16000, sound[None]))
    data = (tmp_path / "film.mp4").read_bytes()
    assert len(decode(tmp_path / "film.mp4", 16000)) >= len(sound)
    place = data.index(b"stsz", data.index(b"soun")) + 12  # the number of packets, after version, flags and size
    (packets,) = struct.unpack(">I", data[place : place + 4])
    assert packets == 48  # of 1,024 samples, one ahead of them
    for kept in (1, packets // 2, packets - 1):
        (tmp_path / "film.mp4").write_bytes(data[:place] + struct.pack(">I", kept) + data[place + 4 :])
        with pytest.raises(BadSampleError, match=r"cut off: \d\.\d\d of 3\.0\d seconds of its sound found"):
            decode(tmp_path / "film.mp4", 16000)
