import struct

import numpy as np
import pytest
from media import brightness, grey_steps, write_video
from PIL import Image

from bss.config.modalities import AudioKind, ClipKind, FramesKind
from bss.data.decode import BadSampleError, make_decoder
from bss.data.decode.frame_source import natural_order
from bss.data.decode.spans import WHOLE, Span

CONTAINERS = [("mp4", "libx264", "aac"), ("avi", "mjpeg", "pcm_s16le"), ("flv", "flv", "aac"), ("mkv", "ffv1", "flac")]

SHORTER = {(samples,) for samples in range(1, 8001)}
"""Shapes of half a second of sound, and of what damage leaves of it."""


def decode(path, kind, span=WHOLE):
    return make_decoder(kind, path.parent, "m")(path.name, span).array


def frames(count=3, **settings):
    return FramesKind("frames", count=count, **({"height": 8, "width": 12} | settings))


def clip(count=4, **settings):
    return ClipKind("clip", frames=count, **({"height": 8, "width": 12} | settings))


def write_folder(folder, names):
    """Image i of `names` is grey of brightness 10 * i."""
    folder.mkdir()
    for number, name in enumerate(names):
        Image.new("RGB", (12, 8), (10 * number,) * 3).save(folder / name)


@pytest.mark.parametrize(("suffix", "codec", "sound_codec"), CONTAINERS)
def test_frames_and_clips_of_a_video(tmp_path, suffix, codec, sound_codec):
    path = tmp_path / f"a.{suffix}"
    write_video(path, grey_steps(20), rate=10, codec=codec)
    stack = decode(path, frames(3))
    assert (stack.shape, stack.dtype) == ((3, 3, 8, 12), np.uint8)
    np.testing.assert_allclose(brightness(stack), [50, 120, 180], atol=3)
    np.testing.assert_allclose(brightness(decode(path, frames(2, rate=1.0))), [20, 120], atol=3)
    stack = decode(path, clip(4, channels=1), Span(10, 16))
    assert (stack.shape, stack.dtype) == ((4, 1, 8, 12), np.uint8)
    np.testing.assert_allclose(brightness(stack), [130, 140, 150, 160], atol=3)
    np.testing.assert_allclose(brightness(decode(path, clip(4, short="tile"), Span(17))), [190, 200, 210, 190], atol=3)


def test_lossless_video_keeps_every_pixel(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 12, 3), dtype=np.uint8)
    write_video(tmp_path / "a.mkv", pixels, codec="ffv1")
    np.testing.assert_array_equal(decode(tmp_path / "a.mkv", clip(5)), pixels.transpose(0, 3, 1, 2))


@pytest.mark.parametrize(("suffix", "codec", "sound_codec"), CONTAINERS)
def test_the_sound_of_a_video(tmp_path, suffix, codec, sound_codec):
    time = np.arange(16_000 * 3) / 16_000
    sound = np.stack([0.6 * np.sin(2 * np.pi * 440 * time), np.zeros_like(time)]).astype(np.float32)
    sound[:, 16_000:32_000] *= 0.5  # the middle second is softer
    path = tmp_path / f"a.{suffix}"
    write_video(path, grey_steps(30), rate=10, codec=codec, sound=(16_000, sound), sound_codec=sound_codec)
    for long, peak in (("start", 0.3), ("centre", 0.15)):
        decoded = decode(path, AudioKind("audio", sample_rate=16_000, seconds=0.5, long=long))
        assert (decoded.shape, decoded.dtype) == ((8000,), np.float32)
        assert np.abs(decoded[2000:]).max() == pytest.approx(peak, abs=0.03)
        assert np.fft.rfft(decoded).__abs__().argmax() == pytest.approx(220, abs=1)  # 440 Hz in half a second
    if sound_codec in ("flac", "pcm_s16le"):
        decoded = decode(path, AudioKind("audio", sample_rate=16_000, seconds=3.0))
        np.testing.assert_allclose(decoded, sound.mean(axis=0), atol=1 / 32_000)


def test_a_folder_is_ordered_by_the_numbers_in_its_names(tmp_path):
    write_folder(tmp_path / "f", ["f1.png", "f2.png", "f03.jpg", "f10.png", "f20.png"])
    (tmp_path / "f" / "notes.txt").write_text("no image")
    (tmp_path / "f" / ".hidden.png").write_text("no image")
    np.testing.assert_allclose(brightness(decode(tmp_path / "f", clip(5))), [0, 10, 20, 30, 40], atol=1)
    assert brightness(decode(tmp_path / "f", frames(2))) == [10, 30]
    # A folder of images has no times: it is taken as it is.
    assert brightness(decode(tmp_path / "f", frames(2, rate=0.5))) == [10, 30]


def test_natural_order_is_by_value_and_the_same_for_any_order_of_the_folder():
    names = ["a10.png", "a9.png", "A2.png", "b1.png", "a2.png", "a02.png", "10.png", "9.png", "a²3.png", "x.png"]
    expected = ["9.png", "10.png", "A2.png", "a02.png", "a2.png", "a9.png", "a10.png", "a²3.png", "b1.png", "x.png"]
    assert sorted(names, key=natural_order) == expected
    names.reverse()
    assert sorted(names, key=natural_order) == expected


def test_a_video_that_lies_on_its_side_is_turned_upright(tmp_path):
    pixels = np.zeros((3, 32, 48, 3), dtype=np.uint8)
    pixels[:, :, :24] = 240  # the left half is bright
    write_video(tmp_path / "a.mp4", pixels, codec="libx264")
    data = (tmp_path / "a.mp4").read_bytes()
    one = struct.pack(">i", 1 << 16)
    none, minus, last = bytes(4), struct.pack(">i", -1 << 16), struct.pack(">i", 1 << 30)
    identity = one + none * 3 + one + none * 3 + last
    quarter = none + one + none + minus + none * 4 + last  # to be shown turned by 90 degrees clockwise
    at = data.index(identity, data.index(b"tkhd"))
    (tmp_path / "turned.mp4").write_bytes(data[:at] + quarter + data[at + len(identity) :])
    size = {"height": 48, "width": 32, "channels": 1}
    decoded = decode(tmp_path / "turned.mp4", frames(1, **size))[0, 0]
    expected = np.rot90(pixels[0, :, :, 0], -1)
    assert np.abs(decoded.astype(int) - expected)[[4, 40]].max() < 12


@pytest.mark.slow
def test_broken_videos_and_folders_are_reported(tmp_path):
    for suffix, codec, _ in CONTAINERS:
        write_video(tmp_path / f"whole.{suffix}", grey_steps(20), codec=codec)
    data = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    data = (tmp_path / "whole.flv").read_bytes()
    (tmp_path / "cut.flv").write_bytes(data[:-40])
    (tmp_path / "text.avi").write_text("no video")
    (tmp_path / "empty.webm").write_bytes(b"")
    (tmp_path / "none").mkdir()
    write_folder(tmp_path / "bad", ["1.png", "2.png"])
    (tmp_path / "bad" / "2.png").write_text("no image")
    write_folder(tmp_path / "leaving", ["1.png"])
    (tmp_path / "leaving" / "2.png").symlink_to("/etc/hostname")
    sound = AudioKind("audio", sample_rate=8000, seconds=1.0)
    cases = [
        ("cut.mp4", frames(), "not a readable video file (Invalid data"),
        ("cut.flv", frames(), "damaged or cut off"),
        ("text.avi", frames(), "not a readable video file"),
        ("text.avi", sound, "not a readable audio file"),
        ("whole.mp4", sound, "has no audio track"),
        ("empty.webm", clip(), "file is empty"),
        ("missing.mp4", clip(), "file not found"),
        ("none", frames(), "a folder without images"),
        ("none", sound, "a folder, not a file"),
        ("bad", frames(), "2.png: not a readable image"),
        ("leaving", frames(2), "2.png: a link that leaves the data root"),
        ("n" * 300, frames(), "not accessible"),
    ]
    for name, kind, message in cases:
        with pytest.raises(BadSampleError) as caught:
            decode(tmp_path / name, kind)
        assert message in str(caught.value), name
        assert str(tmp_path) not in str(caught.value)
    with pytest.raises(BadSampleError, match="has 20 frames, but the manifest asks for frames 0 to 21"):
        decode(tmp_path / "whole.avi", clip(), Span(None, 21))


def test_a_file_without_a_video_track_is_reported(tmp_path):
    import av

    with av.open(tmp_path / "a.mp4", "w") as container:
        track = container.add_stream("aac", rate=16_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), dtype=np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16_000
        container.mux(track.encode(frame))
        container.mux(track.encode())
    with pytest.raises(BadSampleError, match="has no video track"):
        decode(tmp_path / "a.mp4", frames())


def test_frames_too_large_or_too_many_are_refused_before_they_fill_the_memory(tmp_path, monkeypatch):
    write_video(tmp_path / "a.mp4", grey_steps(20, 64, 64), codec="libx264")
    monkeypatch.setattr("bss.data.decode.container.MAX_FRAMES", 19)
    with pytest.raises(BadSampleError, match="more than 19 video frames"):
        decode(tmp_path / "a.mp4", frames())
    monkeypatch.setattr("bss.data.decode.bad_sample.MAX_PIXELS", 64 * 64 - 1)
    with pytest.raises(BadSampleError, match="too many pixels"):
        decode(tmp_path / "a.mp4", frames())


@pytest.mark.slow
@pytest.mark.parametrize(("suffix", "codec", "sound_codec"), CONTAINERS)
def test_damaged_bytes_give_frames_or_a_bad_sample(tmp_path, suffix, codec, sound_codec):
    sound = (16_000, np.zeros((1, 16_000), dtype=np.float32))
    write_video(tmp_path / f"a.{suffix}", grey_steps(10), codec=codec, sound=sound, sound_codec=sound_codec)
    data = (tmp_path / f"a.{suffix}").read_bytes()
    random = np.random.default_rng(0)
    path = tmp_path / f"x.{suffix}"
    for _ in range(40):
        damaged = bytearray(data)
        for at in random.integers(0, len(data), 8):
            damaged[at] = random.integers(256)
        path.write_bytes(damaged[: random.integers(len(data) // 2, len(data))])
        for kind, shapes in ((frames(2), {(2, 3, 8, 12)}), (AudioKind("audio", 16_000, 0.5), SHORTER)):
            try:
                assert decode(path, kind).shape in shapes
            except BadSampleError:
                continue
