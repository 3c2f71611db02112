"""Broken and hostile sounds and images: refused, or decoded into what was asked for."""

import io
import shutil
import struct
import zlib

import numpy as np
import pytest
import soundfile
from compared import what_is_accepted_is_compared  # noqa: F401  a fixture
from damage import FACTOR, damage, damages, decode, every_damage, examples, judge
from hypothesis import given
from PIL import Image
from second_decoding import Accepted, compare_sounds
from second_opinion import images_by_others, resized
from tally import tried

from bss.config.modalities import AudioKind, ImageKind
from bss.data.decode import BadSampleError
from bss.data.sounds import to_float

pytestmark = pytest.mark.usefixtures("what_is_accepted_is_compared")

AUDIO = AudioKind("audio", sample_rate=8000, seconds=0.1)
CENTRE = AudioKind("audio", sample_rate=8000, seconds=0.1, long="centre")
GREY = ImageKind("image", height=4, width=5, channels=1)
RGB = ImageKind("image", height=4, width=5, channels=3)

SOUNDS = ("WAV", "FLAC", "OGG", "AIFF", "MP3", "W64", "CAF", "AU")
IMAGES = ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM", "JPEG2000")


def sound_bytes(format):
    buffer = io.BytesIO()
    rate = 44_100 if format == "MP3" else 11_025
    soundfile.write(buffer, 0.5 * np.sin(np.arange(3000) / 9), rate, format=format)
    return buffer.getvalue()


def is_sound(decoded, longest):
    assert decoded.ndim == 1
    assert 1 <= len(decoded) <= longest
    assert decoded.dtype in (np.int16, np.float32)
    assert np.abs(to_float(decoded)).max() <= 1


def is_image(decoded):
    assert decoded.shape == (3, 4, 5)
    assert decoded.dtype == np.uint8


class Sounds:
    """Judges damaged sounds of a format, and compares those that are accepted with another decoder's, all at once."""

    def __init__(self, format, folder):
        programs = {"MP3": ("ffmpeg",), "FLAC": ("ffmpeg",), "OGG": ("sox",)}.get(format, ())
        for program in programs:
            if not shutil.which(program):
                pytest.skip(f"{program} is not installed")
        self.format, self.folder, self.accepted = format, folder, []

    def judge(self, data, *kinds):
        path = self.folder / "x.wav"
        path.write_bytes(data)
        for kind in kinds:
            decoded = judge(self.format.lower(), path, kind, lambda sound, kind=kind: is_sound(sound, kind.samples))
            if decoded is not None:
                self.accepted.append(Accepted(data, kind, decoded))

    def compare(self, most_alone=0):
        """Return for how many no third decoder had to be asked; `most_alone` at most may be refused by all others."""
        by_first, alone = compare_sounds(self.accepted, self.format, self.folder)
        tried(self.format.lower(), "compared", len(self.accepted) - alone)
        tried(self.format.lower(), "read by bss alone", alone)
        assert alone <= most_alone
        return by_first


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("format", SOUNDS)
def test_a_sound_damaged_anywhere_is_refused_or_what_another_decoder_makes_of_it(format, tmp_path):
    sounds = Sounds(format, tmp_path)
    whole = AudioKind("audio", sample_rate=44_100 if format == "MP3" else 11_025, seconds=0.3)
    for number, data in enumerate(every_damage(sound_bytes(format))):
        sounds.judge(data, whole, CENTRE if number % 2 else AUDIO)
    # Ogg has a checksum over each page: few damages are left that can be read at all.
    assert sounds.compare() >= {"OGG": 3, "MP3": 0}.get(format, 60)
    assert len(sounds.accepted) >= {"OGG": 3}.get(format, 60)


@pytest.mark.process
@pytest.mark.parametrize("format", SOUNDS)
def test_a_sound_with_several_faults_is_refused_or_what_another_decoder_makes_of_it(format, tmp_path):
    sounds = Sounds(format, tmp_path)

    @examples(40)
    @given(changes=damages)
    def judge_one(changes):
        sounds.judge(damage(sound_bytes(format), changes), AUDIO)

    judge_one()
    sounds.compare(most_alone=2 * FACTOR)


DEMUXERS = {
    "PNG": "png_pipe",
    "JPEG": "jpeg_pipe",
    "GIF": "gif",
    "TIFF": "tiff_pipe",
    "WEBP": "webp_pipe",
    "BMP": "bmp_pipe",
    "PPM": "ppm_pipe",
    "JPEG2000": "j2k_pipe",
}
"""FFmpeg's names of the formats, which it decodes with its own code."""
LOSSY = ("JPEG", "WEBP")
"""Formats without checksums, whose coefficients out of range are each decoder's own."""
LEAST = {"PNG": 50, "TIFF": 30, "JPEG2000": 60}
"""Accepted files, of every format at least; 100 of those not named here."""


def image_bytes(format):
    buffer = io.BytesIO()
    y, x = np.mgrid[:12, :10]
    Image.fromarray(np.stack([20 * y, 25 * x, 10 * (x + y)], axis=2).astype(np.uint8)).save(buffer, format)
    return buffer.getvalue()


class Images:
    """Judges damaged images of a format, and compares those that are accepted with what FFmpeg or OpenCV decodes."""

    def __init__(self, format, folder):
        self.format, self.path = format, folder / "x.png"
        self.differences, self.alone = [], 0

    def judge(self, data):
        self.path.write_bytes(data)
        name = self.format.lower()
        decoded = judge(name, self.path, RGB, is_image)
        if decoded is None:
            return
        found = [
            int(np.abs(resized(image, 4, 5).astype(int) - decoded).max())
            for image in images_by_others(data, DEMUXERS[self.format])
        ]
        self.alone += not found
        self.differences += [min(found)] if found else []
        tried(name, "compared" if found else "read by bss alone")

    def check(self, least, most_alone):
        assert len(self.differences) + self.alone >= least
        assert self.alone <= most_alone
        if self.format in LOSSY:
            assert np.mean(np.array(self.differences) <= 12) > 0.85
        else:
            assert max(self.differences, default=0) == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore:Image size")
@pytest.mark.parametrize("format", IMAGES)
def test_an_image_damaged_anywhere_is_refused_or_what_other_decoders_make_of_it(format, tmp_path):
    images, whole = Images(format, tmp_path), image_bytes(format)
    images.judge(whole)
    assert images.differences[0] <= (6 if format in LOSSY else 0)
    for data in every_damage(whole):
        images.judge(data)
    images.check(LEAST.get(format, 100), {"PNG": 11, "GIF": 2, "TIFF": 12}.get(format, 0))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore:Image size")
@pytest.mark.parametrize("format", IMAGES)
def test_an_image_with_several_faults_is_refused_or_what_other_decoders_make_of_it(format, tmp_path):
    images, whole = Images(format, tmp_path), image_bytes(format)

    @examples(40)
    @given(changes=damages)
    def judge_one(changes):
        images.judge(damage(whole, changes))

    judge_one()
    images.check(0, {"GIF": 8, "TIFF": 12, "BMP": 1}.get(format, 0) * FACTOR)


def wav_header(channels=1, rate=8000, bits=16, size=1 << 31, data=b"\0" * 64):
    form = struct.pack(
        "<HHIIHH", 1, channels, rate, rate * channels * bits // 8 & 0xFFFFFFFF, channels * bits // 8 & 0xFFFF, bits
    )
    return (
        b"RIFF"
        + struct.pack("<I", size)
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + form
        + b"data"
        + struct.pack("<I", size)
        + data
    )


@pytest.mark.process
@pytest.mark.parametrize(
    "header",
    [
        {"size": 0xFFFFFFFF},
        {"channels": 0xFFFF},
        {"channels": 0},
        {"rate": 0},
        {"rate": 0xFFFFFFFF},
        {"rate": 1, "size": 0xFFFFFFF0},
        {"bits": 0},
        {"bits": 0xFFFF},
        {"channels": 1024, "size": 0xFFFFFFFF, "data": b"\0" * 4096},
    ],
)
def test_a_wav_that_declares_too_much_is_refused_or_still_a_sound(header, tmp_path):
    sounds = Sounds("WAV", tmp_path)
    sounds.judge(wav_header(**header), AUDIO, CENTRE)
    sounds.compare()


@pytest.mark.parametrize("format", ["WAV", "AIFF", "AU", "FLAC"])
def test_a_sound_that_is_cut_off_is_not_filled_with_silence(format, tmp_path):
    whole = sound_bytes(format)
    kind = AudioKind("audio", sample_rate=11_025, seconds=3000 / 11_025)
    for part in (0.5, 0.9):
        (tmp_path / "x.wav").write_bytes(whole[: int(part * len(whole))])
        with pytest.raises(BadSampleError, match=r"cut off|not a readable"):
            decode(tmp_path / "x.wav", kind)
        tried(format.lower(), "refused")


def test_a_wav_whose_writer_did_not_know_its_length_is_read(tmp_path):
    for size in (0xFFFFFFFF, 0x7FFFFFFF):
        (tmp_path / "x.wav").write_bytes(wav_header(size=size, data=b"\x00\x40" * 800))
        assert np.all(to_float(decode(tmp_path / "x.wav", AUDIO)) == 0.5)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_sound_that_is_no_number_is_refused(value, tmp_path):
    sound = np.zeros(100)
    sound[50] = value
    soundfile.write(tmp_path / "x.wav", sound, 8000, subtype="FLOAT")
    with pytest.raises(BadSampleError, match="not finite"):
        decode(tmp_path / "x.wav", AUDIO)
    tried("wav", "refused")


def png(width, height, data=b"", depth=8, colour=0, extra=b""):
    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    )


@pytest.mark.filterwarnings("ignore:Image size")
def test_images_that_declare_enormous_sizes_are_refused_before_room_is_made_for_them(tmp_path):
    huge = [png(60_000, 60_000), png(0x7FFFFFFF, 0x7FFFFFFF), png(10_000, 10_000), png(0, 0)]
    gif = b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0x80, 0, 0) + b"\0" * 6
    gif += b"," + struct.pack("<HHHHB", 0, 0, 65_535, 65_535, 0) + b"\x02\x02\x4c\x01\0;"
    bmp = b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0)
    for data in [*huge, gif, bmp, b"P5\n99999 99999\n255\n", b"P5\n99999999999999999999 1\n255\n", b"P6\n-1 -1\n255\n"]:
        (tmp_path / "x.png").write_bytes(data)
        with pytest.raises(BadSampleError):
            decode(tmp_path / "x.png", RGB)
        tried("image bombs", "refused")


@pytest.mark.slow
def test_a_png_whose_text_unpacks_to_gigabytes_is_refused(tmp_path):
    text = b"Comment\0\0" + zlib.compress(b"a" * (200 << 20), 9)
    extra = struct.pack(">I", len(text)) + b"zTXt" + text + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    (tmp_path / "x.png").write_bytes(png(4, 4, b"\0" * 20, extra=extra))
    judge("image bombs", tmp_path / "x.png", RGB, is_image, lambda pixels: np.testing.assert_array_equal(pixels, 0))


@pytest.mark.filterwarnings("ignore:Image size")
def test_a_progressive_jpeg_of_thousands_of_scans_is_refused(tmp_path):
    buffer = io.BytesIO()
    Image.new("L", (4000, 4000), 90).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    assert (decode(_write(tmp_path / "good.jpg", data), GREY) == 90).all()
    start = data.rindex(b"\xff\xda")
    scans = data[:start] + data[start:-2] * 5000 + data[-2:]
    with pytest.raises(BadSampleError, match="scans"):
        decode(_write(tmp_path / "bad.jpg", scans), GREY)
    tried("image bombs", "refused")


def _write(path, data):
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\n(/etc/passwd) run showpage\n%%EOF\n"),
        (
            "xpm",
            b'/* XPM */\nstatic char *x[] = {\n"4 4 1 1",\n"a c #000000",\n"aaaa",\n"aaaa",\n"aaaa",\n"aaaa"\n};\n',
        ),
        ("xbm", b"#define x_width 8\n#define x_height 1\nstatic char x_bits[] = {\n0x00};\n"),
    ],
)
def test_formats_that_run_programs_or_are_text_are_no_images(name, data, tmp_path):
    with pytest.raises(BadSampleError, match="cannot identify"):
        decode(_write(tmp_path / "x.png", data), RGB)
    tried(name, "refused")


def test_wide_pixels_are_scaled_or_refused_and_never_clipped(tmp_path):
    pixels = (np.arange(20, dtype=np.uint16) * 3000).reshape(4, 5)
    (tmp_path / "x.pgm").write_bytes(b"P5\n5 4\n65535\n" + pixels.astype(">u2").tobytes())
    np.testing.assert_array_equal(decode(tmp_path / "x.pgm", GREY)[0], pixels >> 8)
    for array in (pixels.astype(np.float32) / 60_000, np.full((4, 5), np.nan, np.float32), pixels.astype(np.int32)):
        Image.fromarray(array).save(tmp_path / "x.tif")
        with pytest.raises(BadSampleError, match="has 32-bit pixels"):
            decode(tmp_path / "x.tif", GREY)
        tried("tiff", "refused")


@pytest.mark.parametrize("height", [13, 243, 65_292])
def test_a_tiff_whose_strips_do_not_cover_it_is_refused_and_not_filled_with_black(height, tmp_path):
    data = image_bytes("TIFF")
    at = data.index(struct.pack("<HHI", 257, 4, 1))  # the tag ImageLength
    (tmp_path / "x.tif").write_bytes(data[: at + 8] + struct.pack("<H", height) + data[at + 10 :])
    with pytest.raises(BadSampleError, match="cut off: 120 of"):
        decode(tmp_path / "x.tif", RGB)
    tried("tiff", "refused")
