"""Short Ogg Vorbis files: as many samples as were encoded, and those of the reference decoder."""

import io

import numpy as np
import pytest
import soundfile

from bss.config.modalities import AudioKind
from bss.data.decode import BadSampleError, make_decoder
from bss.data.decode.ogg_pages import count_streams
from bss.data.decode.spans import WHOLE


def vorbis(samples, rate):
    buffer = io.BytesIO()
    soundfile.write(buffer, 0.5 * np.sin(np.arange(samples) / 9), rate, format="OGG", subtype="VORBIS")
    return buffer.getvalue()


def decode(path, rate, seconds=60.0, long="start"):
    kind = AudioKind("audio", sample_rate=rate, seconds=seconds, long=long)
    return make_decoder(kind, path.parent, "m")(path.name, WHOLE).array


@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("samples", [500, 3000, 20_000, 44_100, 300_000])
def test_a_vorbis_file_has_as_many_samples_as_were_encoded(samples, rate, tmp_path):
    (tmp_path / "x.ogg").write_bytes(vorbis(samples, rate))
    expected, _ = soundfile.read(tmp_path / "x.ogg", dtype="float32")
    stored = decode(tmp_path / "x.ogg", rate)
    assert len(stored) == len(expected) == samples
    np.testing.assert_allclose(stored, expected, atol=1e-6, rtol=0)
    length = samples // 3
    start = (samples - length) // 2
    middle = decode(tmp_path / "x.ogg", rate, length / rate, "centre")
    np.testing.assert_allclose(middle, expected[start : start + length], atol=1e-6, rtol=0)


def test_streams_and_those_of_one_page_are_counted(tmp_path):
    short, long = vorbis(5000, 44_100), vorbis(300_000, 44_100)
    path = tmp_path / "x.ogg"
    for data, expected in (
        (short, (1, 1)),
        (long, (1, 0)),
        (long + short, (2, 1)),
        (short + short, (2, 2)),
        (long + long, (2, 0)),
        (short[: len(short) - 1], (1, 1)),
        (b"OggS", (0, 0)),
        (b"", (0, 0)),
    ):
        path.write_bytes(data)
        assert count_streams(path) == expected


def test_opus_in_one_page_is_none_of_them(tmp_path):
    soundfile.write(tmp_path / "x.opus", np.sin(np.arange(3000) / 9), 48_000, format="OGG", subtype="OPUS")
    assert count_streams(tmp_path / "x.opus") == (1, 0)
    assert len(decode(tmp_path / "x.opus", 48_000)) == 3000


def test_a_joined_file_with_a_stream_of_one_page_is_refused(tmp_path):
    short, long = vorbis(5000, 8000), vorbis(300_000, 8000)
    for data in (short + short, short + long, long + short):
        (tmp_path / "x.ogg").write_bytes(data)
        with pytest.raises(BadSampleError, match=r"joined from 2 Ogg streams.*convert each to WAV"):
            decode(tmp_path / "x.ogg", 8000)


def test_a_vorbis_file_of_one_page_that_is_cut_off_is_refused(tmp_path):
    data = vorbis(5000, 44_100)
    for size in (len(data) - 1, len(data) - 200, len(data) - 447):
        (tmp_path / "x.ogg").write_bytes(data[:size])
        with pytest.raises(BadSampleError):
            decode(tmp_path / "x.ogg", 44_100)
