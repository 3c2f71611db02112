import io
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from bss.config.modalities import AudioKind, FeaturesKind, ImageKind
from bss.data.decode import BadSampleError, features, make_decoder
from bss.data.decode.spans import WHOLE
from bss.data.sounds import to_float

AUDIO = AudioKind("audio", sample_rate=8000, seconds=0.5)
GREY = ImageKind("image", height=4, width=5, channels=1)
RGB = ImageKind("image", height=4, width=5, channels=3)


def decode(path, kind, span=WHOLE):
    return make_decoder(kind, path.parent, "m")(path.name, span).array


def write_sound(path, rate=8000, seconds=0.5, channels=1):
    sound = np.random.default_rng(0).uniform(-0.9, 0.9, (round(rate * seconds), channels)).astype(np.float32)
    soundfile.write(path, sound, rate, subtype="FLOAT")
    return sound


def test_sound_of_the_right_rate_and_length_is_taken_as_it_is(tmp_path):
    sound = write_sound(tmp_path / "a.wav")
    decoded = decode(tmp_path / "a.wav", AUDIO)
    assert decoded.dtype == np.float32
    np.testing.assert_array_equal(decoded, sound[:, 0])


def test_channels_are_mixed_and_the_rate_changed_by_soxr(tmp_path):
    sound = write_sound(tmp_path / "a.wav", rate=22050, channels=2)
    expected = np.clip(soxr.resample(sound.mean(axis=1), 22050, 8000), -1, 1)
    np.testing.assert_array_equal(decode(tmp_path / "a.wav", AUDIO), expected[:4000])


@pytest.mark.parametrize("short", ["pad", "tile"])
def test_a_short_sound_is_kept_as_it_is(tmp_path, short):
    sound = write_sound(tmp_path / "a.wav", seconds=0.3)
    kind = AudioKind("audio", sample_rate=8000, seconds=0.5, short=short)
    np.testing.assert_array_equal(decode(tmp_path / "a.wav", kind), sound[:, 0])


def test_sixteen_bits_of_one_channel_and_the_same_rate_are_stored_in_sixteen_bits_without_loss(tmp_path):
    sound = np.random.default_rng(0).integers(-32768, 32768, 4000).astype(np.int16)
    sound[:2] = -32768, 32767
    soundfile.write(tmp_path / "a.wav", sound, 8000, subtype="PCM_16")
    compact = decode(tmp_path / "a.wav", AudioKind("audio", sample_rate=8000, seconds=0.5, stored="int16"))
    assert compact.dtype == np.int16
    np.testing.assert_array_equal(compact, sound)
    np.testing.assert_array_equal(to_float(compact), decode(tmp_path / "a.wav", AUDIO))


def test_other_sounds_are_rounded_to_sixteen_bits(tmp_path):
    sound = np.array([1.0, 0.9999, -1.0, 1e-5, 1.6e-5, -0.25], dtype=np.float32)
    soundfile.write(tmp_path / "a.wav", sound, 8000, subtype="FLOAT")
    compact = decode(tmp_path / "a.wav", AudioKind("audio", sample_rate=8000, seconds=0.5, stored="int16"))
    assert compact.tolist() == [32767, 32765, -32768, 0, 1, -8192]


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_of_a_long_sound_the_start_or_the_middle_is_kept(tmp_path, suffix):
    sound = np.random.default_rng(0).uniform(-0.9, 0.9, 8000 * 9)
    soundfile.write(tmp_path / f"a.{suffix}", sound, 8000, subtype="PCM_16")
    whole = soundfile.read(tmp_path / f"a.{suffix}", dtype="float32")[0]
    for long, start in (("start", 0), ("centre", 34_000)):
        kind = AudioKind("audio", sample_rate=8000, seconds=0.5, long=long)
        np.testing.assert_array_equal(decode(tmp_path / f"a.{suffix}", kind), whole[start : start + 4000])


@pytest.mark.parametrize("rate", [11_025, 48_000])
def test_the_middle_of_a_resampled_sound_is_that_of_the_whole_one(tmp_path, rate):
    samples = len(write_sound(tmp_path / "a.wav", rate=rate, seconds=7.3))
    whole = soxr.resample(soundfile.read(tmp_path / "a.wav", dtype="float32")[0], rate, 8000)
    kind = AudioKind("audio", sample_rate=8000, seconds=2.0, long="centre")
    start = (samples * 8000 // rate - 16_000) // 2
    expected = whole[start : start + 16_000]
    np.testing.assert_allclose(decode(tmp_path / "a.wav", kind), np.clip(expected, -1, 1), atol=2e-6)


@pytest.mark.slow
def test_of_hours_of_sound_only_the_part_that_is_kept_is_read(tmp_path):
    import tracemalloc

    with soundfile.SoundFile(tmp_path / "long.flac", "w", 8000, 2) as file:
        for _ in range(60):
            file.write(np.zeros((8000 * 60, 2)))  # 60 minutes, 230 MB as float32
    kind = AudioKind("audio", sample_rate=16_000, seconds=1.0, long="centre")
    tracemalloc.start()
    decoded = decode(tmp_path / "long.flac", kind)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert decoded.shape == (16_000,)
    assert peak < 5e6


def test_loud_sound_is_clamped(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.full(4000, 1.7), 8000, subtype="FLOAT")
    assert decode(tmp_path / "a.wav", AUDIO).max() == 1


@pytest.mark.parametrize("stored", ["float32", "int16"])
def test_clipped_values_are_counted_as_they_are_stored(tmp_path, stored):
    """Of two channels the mean counts, and of a long sound only the part that is kept."""
    left = np.array([0.5, 1.5, -1.25, 1.0, -1.0, 3.0, 0.0, 4.0])
    right = np.array([0.5, 1.5, -1.25, 1.0, -1.0, -3.0, 2.5, 4.0])
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), 8000, subtype="FLOAT")
    kind = AudioKind("audio", sample_rate=8000, seconds=7 / 8000, stored=stored)
    decoded = make_decoder(kind, tmp_path, "m")("a.wav", WHOLE)
    assert decoded.altered == (("clipped to [-1, 1]", 3, 1.5),)
    np.testing.assert_array_equal(to_float(decoded.array).round(3), [0.5, 1, -1, 1, -1, 0, 1])


@pytest.mark.parametrize(
    ("peak", "message"),
    [
        (13_107, "peak 13107, far outside [-1, 1]: looks like 16-bit integers saved as floats (divide by 32768)"),
        (32_768, "(divide by 32768)"),
        (-32_768, "peak 32768"),
        (40, "peak 40, far outside [-1, 1]: looks like 8-bit integers saved as floats (divide by 128), or percent"),
        (120, "8-bit integers saved as floats (divide by 128)"),
        (5e6, "24-bit integers saved as floats (divide by 8388608)"),
        (2e9, "32-bit integers saved as floats (divide by 2147483648)"),
        (4.01, "peak 4.01"),
    ],
)
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_sound_in_another_unit_is_refused_with_its_peak_and_what_to_do(tmp_path, peak, message, subtype):
    sound = np.full((4000, 2), 0.01)
    sound[100, 1] = peak  # in one channel alone
    soundfile.write(tmp_path / "a.wav", sound, 8000, subtype=subtype)
    with pytest.raises(BadSampleError) as caught:
        decode(tmp_path / "a.wav", AUDIO)
    assert message in str(caught.value)


def test_an_image_of_the_right_size_keeps_its_pixels(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(decode(tmp_path / "a.png", RGB), pixels.transpose(2, 0, 1))


def test_another_size_is_resized_bilinearly_and_another_mode_converted(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 9, 4), dtype=np.uint8)
    image = Image.fromarray(pixels)
    image.save(tmp_path / "a.png")
    opaque = Image.alpha_composite(Image.new("RGBA", (9, 9), "white"), image)
    expected = np.asarray(opaque.convert("L").resize((5, 4), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(decode(tmp_path / "a.png", GREY), expected[None])


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    pixels = (np.arange(20, dtype=np.uint16) * 3000).reshape(4, 5)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(decode(tmp_path / "a.png", GREY)[0], pixels >> 8)


def test_a_photo_lying_on_its_side_is_turned_upright(tmp_path):
    pixels = np.zeros((5, 4), dtype=np.uint8)
    pixels[0] = 200
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    image.save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(decode(tmp_path / "a.png", GREY)[0], np.rot90(pixels, -1))


def test_a_single_number_is_a_feature_of_one_value(tmp_path):
    np.save(tmp_path / "age.npy", np.float64(41.5))  # 0-d, which no encoder takes
    found = decode(tmp_path / "age.npy", FeaturesKind("features"))
    assert found.shape == (1,)
    assert found.tolist() == [41.5]


def test_features_become_float32(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(6).reshape(2, 3))
    decoded = decode(tmp_path / "a.npy", FeaturesKind("features"))
    assert decoded.dtype == np.float32
    np.testing.assert_array_equal(decoded, np.arange(6).reshape(2, 3))


def test_threads_read_one_header_of_an_array_at_a_time(tmp_path, monkeypatch):
    """CPython 3.11 has one count of the depth of literals for all threads, and NumPy's headers are literals."""
    np.save(tmp_path / "a.npy", np.arange(4.0))
    inside, most = [], []

    def watched(file, read=np.lib.format.read_array_header_1_0):
        inside.append(file)
        most.append(len(inside))
        time.sleep(0.001)
        inside.pop()
        return read(file)

    monkeypatch.setitem(features._READERS, (1, 0), watched)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: decode(tmp_path / "a.npy", FeaturesKind("features")), range(40)))
    assert all((array == np.arange(4)).all() for array in found)
    assert most == [1] * 40


def broken(folder):
    """Write one file of each sort of brokenness; return (file, kind, message)."""
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.wav").write_text("no sound")
    soundfile.write(folder / "silent.wav", np.zeros(0), 8000)
    soundfile.write(folder / "nan.wav", np.full(10, np.nan), 8000, subtype="FLOAT")
    (folder / "text.png").write_text("no picture")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)).save(folder / "cut.png")
    (folder / "cut.png").write_bytes((folder / "cut.png").read_bytes()[:900])
    Image.new("1", (20_000, 20_000)).save(folder / "bomb.png")
    Image.new("1", (10_000, 10_000)).save(folder / "half a bomb.png")  # Pillow itself would only warn
    np.save(folder / "pickle.npy", np.array([{"a": 1}]), allow_pickle=True)
    np.save(folder / "words.npy", np.array(["a"]))
    np.save(folder / "inf.npy", np.array([np.inf]))
    (folder / "cut.npy").write_bytes(b"\x93NUMPY")
    (folder / "zip.npy").write_bytes(b"PK\x03\x04 no archive")
    with (folder / "huge.npy").open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (10**13,)}
        np.lib.format.write_array_header_1_0(file, header)
    whole = (folder / "inf.npy").read_bytes()
    (folder / "header.npy").write_bytes(whole.replace(b"}", b" "))
    np.save(folder / "large.npy", np.array([1e300]))
    features = FeaturesKind("features")
    return [
        ("missing.wav", AUDIO, "not found"),
        ("empty.wav", AUDIO, "empty"),
        ("text.wav", AUDIO, "not a readable sound file"),
        ("silent.wav", AUDIO, "holds no sound"),
        ("nan.wav", AUDIO, "not finite"),
        ("text.png", GREY, "not a readable image"),
        ("cut.png", GREY, "not a readable image"),
        ("bomb.png", GREY, "too many pixels"),
        ("half a bomb.png", GREY, "too many pixels"),
        ("pickle.npy", features, "not a .npy file of numbers"),
        ("words.npy", features, "not a .npy array of numbers"),
        ("inf.npy", features, "not finite"),
        ("cut.npy", features, "not a readable .npy"),
        ("zip.npy", features, "not a readable .npy"),
        ("huge.npy", features, "not a readable .npy"),
        ("header.npy", features, "not a readable .npy"),
        ("large.npy", features, "overflow float32"),
        ("n" * 300, features, "not accessible"),
    ]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Image size")
def test_broken_files_are_named_by_what_is_wrong(tmp_path):
    for file, kind, message in broken(tmp_path):
        with pytest.raises(BadSampleError) as caught:
            decode(tmp_path / file, kind)
        assert message in str(caught.value), file
        assert str(tmp_path) not in str(caught.value)


def encoded(format):
    buffer = io.BytesIO()
    if format == "NPY":
        np.save(buffer, np.arange(12.0).reshape(3, 4))
    elif format in ("WAV", "FLAC"):
        soundfile.write(buffer, np.linspace(-0.5, 0.5, 800), 8000, format=format)
    else:
        Image.fromarray(np.arange(60, dtype=np.uint8).reshape(6, 10)).save(buffer, format)
    return buffer.getvalue()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("format", ["NPY", "WAV", "FLAC", "PNG", "JPEG", "TIFF"])
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    damage=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=6),
    cut=st.none() | st.integers(1, 300),
)
def test_damaged_bytes_give_an_array_of_the_right_shape_or_a_bad_sample(tmp_path, format, damage, cut):
    data = bytearray(encoded(format))
    for place, value in damage:
        data[place % len(data)] = value
    (tmp_path / "x").write_bytes(data[:cut])
    kind = {"NPY": FeaturesKind("features"), "WAV": AUDIO, "FLAC": AUDIO}.get(format, GREY)
    try:
        decoded = decode(tmp_path / "x", kind)
    except BadSampleError:
        return
    if kind is AUDIO:
        assert decoded.ndim == 1
        assert 1 <= len(decoded) <= 4000
        assert np.abs(decoded).max() <= 1
    elif kind is GREY:
        assert decoded.shape == (1, 4, 5)
    else:
        assert np.isfinite(decoded).all()
