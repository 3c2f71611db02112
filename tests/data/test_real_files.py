"""Files as phones, recorders, editors and exporters write them: decoded as ffmpeg does it, or refused by name."""

import struct
import subprocess

import numpy as np
import pytest
import soundfile
from PIL import Image
from sound_files import needs_ffmpeg, needs_sox

from bss.config.modalities import AudioKind, FramesKind, ImageKind
from bss.data.decode import BadSampleError, make_decoder
from bss.data.decode.audio import CANCELLED
from bss.data.decode.frame_source import ImageFolder, Video
from bss.data.decode.sound_source import measure_sound, sound_blocks
from bss.data.decode.spans import WHOLE
from bss.init.column_facts import look
from bss.init.modality import guess

pytestmark = needs_ffmpeg

PICTURE = ("-f", "lavfi", "-i", "gradients=s=64x48:r=10:d=1:c0=orange:c1=navy:x0=0:y0=0:x1=63:y1=47:speed=0.00001")
CHART = ("-f", "lavfi", "-i", "testsrc2=s=64x48:r=10:d=1")
TONE = ("-f", "lavfi", "-i", "sine=440:r=16000:d=0.5")
X264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p")
X265 = ("-c:v", "libx265", "-x265-params", "log-level=0")
HLG = ("-colorspace", "bt2020nc", "-color_trc", "arib-std-b67", "-pix_fmt", "yuv420p10le")
SURROUND = "|".join(f"{0.5 / (i + 1)}*sin({200 * (i + 1)}*t)" for i in range(6))

FILMS = {
    "plain.mp4": (*CHART, *TONE, *X264, "-c:a", "aac"),
    "variable-rate.mp4": (*CHART, "-vf", "select='not(mod(n,3))+lt(n,4)'", "-vsync", "vfr", *X264),
    "late-sound.mp4": (*CHART, "-itsoffset", "0.5", *TONE, *X264),
    "longer-sound.mp4": (*CHART, "-f", "lavfi", "-i", "sine=440:r=16000:d=3", *X264),
    "b-frames-in-fragments.mp4": (*CHART, *X264, "-movflags", "frag_keyframe+empty_moov"),
    "two-tracks.mkv": (*CHART, *CHART, *TONE, "-map", "1", "-map", "0", "-map", "2", "-c:v", "ffv1"),
    "one-frame.mp4": (*CHART, "-frames:v", "1", *X264),
    "grey.mp4": (*CHART, "-c:v", "libx264", "-pix_fmt", "gray"),
    "odd-size.mkv": (*PICTURE, "-vf", "scale=63:47", "-c:v", "ffv1", "-pix_fmt", "yuv420p"),
    "full-range.mp4": (*CHART, "-vf", "scale=out_range=pc", "-color_range", "pc", *X264),
    "bt709.mp4": (*CHART, "-vf", "scale=out_color_matrix=bt709", "-colorspace", "bt709", *X264),
    "wide-pixels.mp4": (*CHART, "-vf", "setsar=2/1", *X264),
    "mjpeg.avi": (*CHART, "-c:v", "mjpeg", "-pix_fmt", "yuvj420p"),
    "rgb.mkv": (*CHART, "-c:v", "libx264rgb"),
    "hevc10.mp4": (*PICTURE, *X265, "-pix_fmt", "yuv420p10le"),
    "hlg.mp4": (*PICTURE, "-vf", "scale=out_color_matrix=bt2020nc", *X265, *HLG),
    "vp9-10.webm": (*PICTURE, "-c:v", "libvpx-vp9", "-deadline", "realtime", "-pix_fmt", "yuv420p10le"),
    "interlaced.mp4": (*PICTURE, "-vf", "interlace", *X264, "-flags", "+ildct+ilme"),
}
COPIES = {
    "edit-list.mp4": ("-ss", "0.3", "-i", "plain.mp4"),
    "from-100-s.mp4": ("-i", "plain.mp4", "-output_ts_offset", "100"),
    "from-100-s.mkv": ("-i", "plain.mp4", "-output_ts_offset", "100"),
    "cover-first.mp4": (
        "-i",
        "cover.jpg",
        "-i",
        "plain.mp4",
        "-map",
        "0",
        "-map",
        "1",
        "-disposition:v:0",
        "attached_pic",
    ),
}
SCALED = ("odd-size.mkv", "hevc10.mp4", "hlg.mp4", "vp9-10.webm", "interlaced.mp4")
"""Of which ffmpeg's filter places the colours between pixels otherwise than its library does by itself."""

SOUNDS = {
    "bytes.wav": (*TONE, "-c:a", "pcm_u8"),
    "24-bit.wav": (*TONE, "-c:a", "pcm_s24le"),
    "double.wav": (*TONE, "-c:a", "pcm_f64le"),
    "mu-law.wav": (*TONE, "-c:a", "pcm_mulaw"),
    "a-law.wav": (*TONE, "-c:a", "pcm_alaw"),
    "ms-adpcm.wav": (*TONE, "-c:a", "adpcm_ms"),
    "mp3.wav": (*TONE, "-c:a", "libmp3lame"),
    "5.1.wav": ("-f", "lavfi", "-i", f"aevalsrc='{SURROUND}':c=5.1:d=0.3:s=48000"),
    "5.1.m4a": ("-f", "lavfi", "-i", f"aevalsrc='{SURROUND}':c=5.1:d=0.3:s=48000"),
    "96-khz.wav": ("-f", "lavfi", "-i", "sine=440:r=96000:d=0.2"),
    "11127-hz.wav": ("-f", "lavfi", "-i", "sine=440:r=11127:d=0.2"),
    "offset.wav": ("-f", "lavfi", "-i", "aevalsrc='0.3+sin(880*t)/4':d=0.3:s=16000"),
    "pcm.mov": (*TONE, "-c:a", "pcm_s16be"),
    "pcm.avi": (*TONE, "-c:a", "pcm_u8"),
    "two-languages.mkv": (*TONE, "-f", "lavfi", "-i", "sine=880:r=16000:d=0.5", "-map", "0", "-map", "1"),
    "cover.mp3": (*TONE, "-i", "cover.jpg", "-map", "0", "-map", "1", "-c:v", "copy", "-disposition:v", "attached_pic"),
    "cover.m4a": (*TONE, "-i", "cover.jpg", "-map", "0", "-map", "1", "-c:v", "copy", "-disposition:v", "attached_pic"),
    "longer.mp3": ("-f", "lavfi", "-i", "sine=440:r=44100:d=2", "-c:a", "libmp3lame"),
}

SAMPLES = (np.sin(np.arange(800) / 9) * 12_000).astype("<i2")


def fmt(channels=1, rate=16_000, bits=16):
    align = channels * bits // 8
    return b"fmt " + struct.pack("<IHHIIHH", 16, 1, channels, rate, rate * align, align, bits)


def chunk(name, data, size=None):
    return name + struct.pack("<I", len(data) if size is None else size) + data + bytes(len(data) % 2)


def riff(*chunks):
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


EXTENSIBLE = struct.pack("<HHIIHHHHI", 0xFFFE, 1, 16_000, 64_000, 4, 32, 22, 24, 4) + bytes.fromhex(
    "0100000000001000800000aa00389b71"
)
DATA = chunk(b"data", SAMPLES.tobytes())
WAVS = {
    "long-list-first.wav": riff(fmt(), chunk(b"LIST", b"INFO" + bytes(300_001)), DATA),
    "id3-chunk-first.wav": riff(chunk(b"id3 ", b"ID3" + bytes(17)), fmt(), DATA),
    "id3-before-riff.wav": b"ID3\x03\0\0\0\0\0\x0a" + bytes(10) + riff(fmt(), DATA),
    "list-last.wav": riff(fmt(), DATA, chunk(b"LIST", b"INFO" + b"\x7f" * 3996)),
    "bytes-behind.wav": riff(fmt(), DATA) + b"\x7f" * 999,
    "size-unknown.wav": riff(fmt(), chunk(b"data", SAMPLES.tobytes(), 0xFFFFFFFF)),
    "24-in-32-bits.wav": riff(chunk(b"fmt ", EXTENSIBLE), chunk(b"data", (SAMPLES.astype("<i4") << 16).tobytes())),
}
"""Each holds `SAMPLES`, whatever else."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("real")
    Image.linear_gradient("L").resize((64, 48)).convert("RGB").save(made / "cover.jpg")
    for name, options in {**FILMS, **SOUNDS}.items():
        run(made, [*options, name])
    for name, options in COPIES.items():
        run(made, [*options, "-c", "copy", name])
    run(made, ["-ss", "0.5", "-i", "longer.mp3", "-c", "copy", "cut-out.mp3"])
    for name, data in WAVS.items():
        (made / name).write_bytes(data)
    return made


def run(folder, options):
    subprocess.run(["ffmpeg", "-v", "error", "-y", *options], cwd=folder, check=True, timeout=60)


def raw(path, track, *options):
    command = ["ffmpeg", "-v", "error", "-i", path, "-map", track, *options, "-"]
    return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout


def sound_of(path):
    return np.concatenate([block for _, block in sound_blocks(path)])


@pytest.mark.process
@pytest.mark.parametrize("name", [*FILMS, *COPIES])
def test_every_frame_of_a_film_is_the_one_that_ffmpeg_shows(name, folder):
    width, height = (63, 47) if name == "odd-size.mkv" else (64, 48)
    wanted = raw(folder / name, "0:V:0", "-vsync", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24")
    expected = np.frombuffer(wanted, dtype=np.uint8).reshape(-1, height, width, 3).transpose(0, 3, 1, 2)
    video = Video(folder / name)
    found = video.read(np.arange(len(video)), ImageKind("image", height=height, width=width)).array
    assert found.shape == expected.shape
    difference = np.abs(found.astype(int) - expected)
    assert difference.max() <= (8 if name in SCALED else 0)
    assert difference.mean() <= 1.5


@pytest.mark.process
@pytest.mark.parametrize("name", [*SOUNDS, "cut-out.mp3", "plain.mp4", "late-sound.mp4", "from-100-s.mkv"])
def test_every_channel_of_a_sound_is_what_ffmpeg_decodes(name, folder):
    found = sound_of(folder / name)
    expected = np.frombuffer(raw(folder / name, "0:a:0", "-f", "f32le"), dtype="<f4").reshape(-1, found.shape[1])
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.process
@pytest.mark.parametrize("name", WAVS)
def test_what_stands_around_the_samples_of_a_wav_changes_none(name, folder):
    np.testing.assert_array_equal(sound_of(folder / name)[:, 0], SAMPLES / np.float32(32_768))


@pytest.mark.process
@needs_sox
def test_gsm_of_telephones_ends_with_its_last_block_and_not_with_the_padding(tmp_path):
    soundfile.write(tmp_path / "plain.wav", SAMPLES.repeat(5), 8000)
    subprocess.run(["sox", "plain.wav", "-e", "gsm", "gsm.wav"], cwd=tmp_path, check=True, timeout=60)
    found = sound_of(tmp_path / "gsm.wav")
    assert len(found) == 13 * 320  # 4000 samples; the chunk of 13 x 65 bytes has one of padding
    assert measure_sound(tmp_path / "gsm.wav") == (8000, 13 * 320)
    expected = np.frombuffer(raw(tmp_path / "gsm.wav", "0:a:0", "-f", "f32le"), dtype="<f4")
    np.testing.assert_allclose(found[: len(expected), 0], expected[: len(found)], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("wave", "cancelled"), [((1, -1), 4000), ((1, 0), 0), ((1, 1), 0), ((1, -0.5), 0)])
def test_channels_that_cancel_out_are_counted(wave, cancelled, tmp_path):
    tone = 0.5 * np.sin(np.arange(4000) / 9)
    soundfile.write(tmp_path / "a.wav", np.outer(tone, wave), 8000)
    decoded = make_decoder(AudioKind("audio", sample_rate=8000), tmp_path, "audio")("a.wav", WHOLE)
    np.testing.assert_allclose(decoded.array, tone * np.mean(wave), atol=1e-4)
    counted = [(entry.values, round(entry.largest, 2)) for entry in decoded.altered if entry.what == CANCELLED]
    assert counted == ([(cancelled, 0.5)] if cancelled else [])


@pytest.mark.parametrize("count", [1, 2, 10])
def test_very_short_sounds_are_kept_as_they_are(count, tmp_path):
    soundfile.write(tmp_path / "a.wav", SAMPLES[1 : count + 1], 16_000)
    found = make_decoder(AudioKind("audio"), tmp_path, "audio")("a.wav", WHOLE).array
    np.testing.assert_array_equal(found, SAMPLES[1 : count + 1] / np.float32(32_768))


def surround(folder, codec, container):
    options = [*TONE, "-ac", "2", "-ar", "48000", "-c:a", codec, "-strict", "-2", "-f", container, "made.bin"]
    run(folder, options)
    return riff(fmt(2, 48_000), chunk(b"data", (folder / "made.bin").read_bytes()))


@pytest.mark.process
@pytest.mark.parametrize(("codec", "container"), [("dca", "dts"), ("ac3", "spdif")])
def test_surround_sound_in_the_place_of_samples_is_no_noise(codec, container, tmp_path):
    (tmp_path / "a.wav").write_bytes(surround(tmp_path, codec, container))
    with pytest.raises(BadSampleError, match="holds DTS or Dolby surround sound instead of samples"):
        sound_of(tmp_path / "a.wav")


METADATA = bytes.fromhex("0005160700020000") + b"Mac OS X        " + bytes(80)
REFUSED = {
    "empty.wav": (riff(fmt(), chunk(b"data", b"")), "holds no sound (0 samples)"),
    "crashed.wav": (riff(fmt(), chunk(b"data", SAMPLES.tobytes(), 0)), "holds no sound (0 samples)"),
    "._a.wav": (METADATA, "it holds macOS metadata (the file itself has the same name without ._)"),
    "._a.mp4": (METADATA, "it holds macOS metadata (the file itself has the same name without ._)"),
    "burst.jpg": (b"\0\0\0\x18ftypmsf1\0\0\0\0heic" + bytes(99), "a HEIC image (convert it to PNG or JPEG)"),
    "phone.jpg": (b"\0\0\0\x18ftyphevc\0\0\0\0heic" + bytes(99), "a HEIC image (convert it to PNG or JPEG)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_used_is_refused_by_what_it_is(name, tmp_path):
    data, expected = REFUSED[name]
    (tmp_path / name).write_bytes(data)
    kinds = {"wav": AudioKind("audio"), "mp4": FramesKind("frames"), "jpg": ImageKind("image")}
    with pytest.raises(BadSampleError) as caught:
        make_decoder(kinds[name.rpartition(".")[2]], tmp_path, "m")(name, WHOLE)
    assert expected in str(caught.value)


@pytest.mark.process
def test_a_film_whose_index_is_not_written_yet_is_refused(folder, tmp_path):
    (tmp_path / "a.mp4").write_bytes((folder / "plain.mp4").read_bytes()[:3000])
    with pytest.raises(BadSampleError, match="not a readable video file"):
        Video(tmp_path / "a.mp4")


@pytest.mark.process
def test_a_cover_is_no_film(folder, tmp_path):
    with pytest.raises(BadSampleError, match="has no video track"):
        Video(folder / "cover.m4a")
    facts = look(folder, ["cover.m4a"])
    assert (dict(facts.tracks), guess("song", facts, False, folder, []).kind["kind"]) == ({"audio": 1}, "audio")


@pytest.mark.process
def test_the_other_files_of_a_folder_of_frames_are_passed_over(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in (1, 2, 4, 10):  # 3 is missing
        Image.new("L", (8 + number, 8), 10 * number).save(folder / f"{number}.png")
    for name in ("Thumbs.db", ".DS_Store", "._1.png", "desktop.ini"):
        (folder / name).write_bytes(METADATA)
    kind = FramesKind("frames", count=4, height=2, width=2, channels=1)
    assert [file.name for file in ImageFolder(folder, tmp_path).files] == ["1.png", "2.png", "4.png", "10.png"]
    found = make_decoder(kind, tmp_path, "m")("frames", WHOLE).array
    np.testing.assert_array_equal(
        found, np.broadcast_to(np.array([10, 20, 40, 100])[:, None, None, None], (4, 1, 2, 2))
    )


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tif"])
def test_files_of_several_images_are_counted_by_init(name, tmp_path):
    pages = [Image.new("RGB", (8, 6), color) for color in ("red", "lime", "blue")]
    pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
    assert look(tmp_path, [name]).several == 1
    found = make_decoder(ImageKind("image", height=6, width=8), tmp_path, "m")(name, WHOLE).array
    np.testing.assert_allclose(found[:, 0, 0], [255, 0, 0], atol=3)


@pytest.mark.process
def test_the_preview_in_a_phones_picture_is_no_second_page(tmp_path):
    picture = Image.linear_gradient("L").resize((64, 48)).convert("RGB")
    picture.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[picture.resize((32, 24))])
    assert look(tmp_path, ["a.jpg"]).several == 0
    found = make_decoder(ImageKind("image", height=48, width=64), tmp_path, "m")("a.jpg", WHOLE).array
    expected = np.frombuffer(raw(tmp_path / "a.jpg", "0:v:0", "-f", "rawvideo", "-pix_fmt", "rgb24"), dtype=np.uint8)
    assert np.abs(found.transpose(1, 2, 0).astype(int).ravel() - expected).max() <= 3


@pytest.mark.parametrize("name", ["cmyk.jpg", "ycc.tif", "jpeg.tif", "progressive.jpg"])
def test_colours_of_print_shops_and_scanners_are_those_of_the_picture(name, tmp_path):
    slope = np.add.outer(np.arange(48) * 2, np.arange(64) * 2).astype(np.uint8)
    picture = np.stack([slope, 255 - slope, slope // 2], axis=2)
    options = {"jpeg.tif": {"compression": "jpeg"}, "progressive.jpg": {"progressive": True, "quality": 95}}
    modes = {"cmyk.jpg": "CMYK", "ycc.tif": "YCbCr"}
    Image.fromarray(picture).convert(modes.get(name, "RGB")).save(tmp_path / name, **options.get(name, {}))
    found = make_decoder(ImageKind("image", height=48, width=64), tmp_path, "m")(name, WHOLE).array
    assert np.abs(found.transpose(1, 2, 0).astype(int) - picture).max() <= 12
    assert np.abs(found.transpose(1, 2, 0).astype(int) - picture).mean() <= 2
