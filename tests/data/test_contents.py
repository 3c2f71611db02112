"""A file that holds something else than its name says is reported by what it holds, with what to do."""

import gzip
import io
import os
import re
import sys
import zipfile

import av
import numpy as np
import pytest
import soundfile
from media import grey_steps, write_tokenizer, write_video
from PIL import Image

from bss.config.modalities import AudioKind, FeaturesKind, FlowKind, FramesKind, ImageKind, TextKind
from bss.data.decode import BadSampleError, make_decoder
from bss.data.decode.contents import content_of
from bss.data.decode.quiet import without_notes
from bss.data.decode.spans import WHOLE
from bss.init.column_facts import look

SOUND = AudioKind("audio", sample_rate=8000, seconds=0.1)
IMAGE = ImageKind("image", height=2, width=2, channels=3)
FRAMES = FramesKind("frames", count=1, height=2, width=2)
FEATURES = FeaturesKind("features")
FLOW = FlowKind("flow", frames=1, height=2, width=2)

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab" * 32 + b"\nsize 72862\n"
AGAIN = "(is it a server's error page? Download the file again)"
CUT = "(its copy or download was cut off: fetch it again)"


def zipped():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.wav", b"x")
    return buffer.getvalue()


FOREIGN = {
    "LFS": (LFS, "a Git LFS pointer (run git lfs pull)"),
    "annex": (b"/annex/objects/SHA256E-s1--ab.wav\n", "a git-annex pointer (run git annex get)"),
    "HTML": (b"\n<!DOCTYPE html><html>Quota exceeded</html>", f"an HTML page {AGAIN}"),
    "bare HTML": (b"<html><head></head></html>", f"an HTML page {AGAIN}"),
    "XML": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", f"an XML document {AGAIN}"),
    "JSON": (b'{"message": "Not Found"}', f"JSON {AGAIN}"),
    "SVG": (b"<?xml version='1.0'?>\n<svg width='4'/>", "an SVG drawing (convert it to PNG or JPEG)"),
    "ZIP": (zipped(), "a ZIP archive (unpack it)"),
    "gzip": (gzip.compress(b"x"), "a gzip archive (unpack it)"),
    "PDF": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", "a PDF document (name the file itself in the manifest)"),
    "zeros": (bytes(3_000_000), f"nothing but zero bytes {CUT}"),
    "HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0", "a HEIC image (convert it to PNG or JPEG)"),
}
READERS = {
    "x.wav": (SOUND, "sound file"),
    "x.mp3": (SOUND, "sound file"),
    "x.flac": (SOUND, "sound file"),
    "x.m4a": (SOUND, "audio file"),
    "x.jpg": (IMAGE, "image"),
    "x.mp4": (FRAMES, "video file"),
    "x.npy": (FEATURES, ".npy file"),
    "flow.npy": (FLOW, ".npy file"),
}


def message(path, kind):
    with pytest.raises(BadSampleError) as caught:
        make_decoder(kind, path.parent, "m")(path.name, WHOLE)
    return str(caught.value)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("content", FOREIGN)
def test_what_no_modality_is_read_from_is_named_with_its_fix(content, name, tmp_path):
    data, found = FOREIGN[content]
    kind, what = READERS[name]
    (tmp_path / name).write_bytes(data)
    expected = f"not a readable {what}: it holds {found}"
    assert message(tmp_path / name, kind) == expected
    if "flow" not in name:
        (unreadable,) = look(tmp_path, [name]).unreadable  # as `bss init` says it
        assert unreadable == f"{name}: {expected.replace('audio file', 'video file')}"


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The bytes of a good file of each sort."""
    folder = tmp_path_factory.mktemp("good")
    tone = 0.3 * np.sin(np.arange(48_000) / 9)
    for suffix in ("wav", "flac", "ogg", "mp3", "aiff", "au", "caf"):
        soundfile.write(folder / f"a.{suffix}", tone, 48_000)
    for suffix in ("png", "jpg", "gif", "tif", "webp", "jp2"):
        Image.new("RGB", (8, 8)).save(folder / f"a.{suffix}")
    sound = (48_000, tone[None].astype(np.float32))
    write_video(folder / "a.webm", grey_steps(5), codec="libvpx-vp9", sound=sound, sound_codec="libopus")
    write_video(folder / "a.ts", grey_steps(5), codec="mpeg2video", sound=sound, sound_codec="mp2")
    for suffix, codec in (("mp4", "mpeg4"), ("mov", "mpeg4"), ("mkv", "ffv1"), ("avi", "mjpeg"), ("flv", "flv")):
        write_video(folder / f"a.{suffix}", grey_steps(5), codec=codec)
    write_video(folder / "a.mpg", grey_steps(25), codec="mpeg2video", rate=25)
    write_video(folder / "a.wmv", grey_steps(5), codec="wmv2")
    with av.open(folder / "a.m4a", "w", format="ipod") as container:
        track = container.add_stream("aac", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(sound[1], format="fltp", layout="mono")
        frame.sample_rate = 48_000
        container.mux(track.encode(frame))
        container.mux(track.encode())
    np.save(folder / "a.npy", np.zeros(3))
    return {path.suffix[1:]: path.read_bytes() for path in folder.iterdir()}


FAMILIES = {
    "sound": ("wav", "flac", "ogg", "mp3", "aiff", "au", "caf"),
    "image": ("png", "jpg", "gif", "tif", "webp", "jp2"),
    "video": ("mp4", "mov", "mkv", "webm", "avi", "flv", "mpg", "ts", "wmv", "m4a"),
    "array": ("npy",),
}


def test_a_good_file_of_every_sort_is_known_by_its_bytes_with_the_name_to_give_it(good, tmp_path):
    assert set(good) == {suffix for suffixes in FAMILIES.values() for suffix in suffixes}
    for family, suffixes in FAMILIES.items():
        for suffix in suffixes:
            (tmp_path / "x").write_bytes(good[suffix])
            content = content_of(tmp_path / "x")
            assert content is not None, suffix
            assert content.family == family
            assert f".{suffix}" in re.findall(r"\.\w+", content.fix)


@pytest.mark.parametrize(
    ("held", "name", "expected"),
    [
        ("mp4", "x.wav", "not a readable sound file: it holds MP4 (name it .mp4)"),
        ("m4a", "x.wav", "not a readable sound file: it holds MP4 sound (name it .m4a)"),
        ("webm", "x.mp3", "not a readable sound file: it holds WebM or Matroska (name it .webm, .mkv, .weba or .mka)"),
        ("ts", "x.mp3", "not a readable sound file: it holds an MPEG transport stream (name it .ts)"),
        ("wav", "x.mp4", "not a readable audio file: it holds WAV sound (name it .wav)"),
        ("mp3", "x.m4a", "not a readable audio file: it holds MP3 sound (name it .mp3)"),
        ("png", "x.wav", "not a readable sound file: it holds a PNG image (that is for a modality of kind image, "),
    ],
)
def test_sound_under_the_wrong_name_is_named_by_what_it_is(held, name, expected, good, tmp_path):
    (tmp_path / name).write_bytes(good[held])
    assert message(tmp_path / name, SOUND).startswith(expected)


@pytest.mark.parametrize(
    ("held", "name", "kind", "needed"),
    [
        ("mp4", "x.jpg", IMAGE, "frames, clip or flow"),
        ("wav", "x.mp4", FRAMES, "audio"),
        ("jpg", "x.mp4", FRAMES, "image, or of kind frames or clip as a folder of images"),
        ("npy", "x.jpg", IMAGE, "features or flow"),
        ("jpg", "x.npy", FEATURES, "image, or of kind frames or clip as a folder of images"),
    ],
)
def test_a_file_for_another_kind_of_modality_is_reported_with_that_kind(held, name, kind, needed, good, tmp_path):
    (tmp_path / name).write_bytes(good[held])
    assert message(tmp_path / name, kind).endswith(f"{needed})")


def test_a_right_file_under_another_name_of_its_family_is_read(good, tmp_path):
    (tmp_path / "x.wav").write_bytes(good["flac"])
    (tmp_path / "x.png").write_bytes(good["jpg"])
    (tmp_path / "x.mp4").write_bytes(good["mkv"])
    for name, kind in (("x.wav", SOUND), ("x.png", IMAGE), ("x.mp4", FRAMES)):
        assert make_decoder(kind, tmp_path, "m")(name, WHOLE).array.size


def test_text_that_is_no_page_is_quoted(tmp_path):
    for name, (kind, what) in READERS.items():
        (tmp_path / name).write_text("404: Not\nFound\n")
        text = message(tmp_path / name, kind)
        assert text.startswith(f"not a readable {what} (")
        assert text.endswith("; it holds text: 404: Not Found)")
        assert "does not exist" not in text


def test_a_file_that_is_empty_is_reported_with_its_fix(tmp_path):
    for name, (kind, _) in READERS.items():
        (tmp_path / name).write_bytes(b"")
        assert message(tmp_path / name, kind) == f"file is empty {CUT}"


def test_a_text_may_begin_with_any_mark_of_letters_but_not_stand_for_a_file(tmp_path):
    write_tokenizer(tmp_path / "words", ["owl"])
    kind = TextKind("text", tokenizer="words", tokens=8, source="file")
    for start in (
        "<!doctype html>",
        '{"a": 1}',
        "FORM 10-K",
        "MAC users",
        "PAR1 owl",
        "ID3 owl",
        "BZh owl",
        "RIFF owl",
    ):
        (tmp_path / "a.txt").write_text(start)
        assert make_decoder(kind, tmp_path, "m")("a.txt", WHOLE).array.any()
    (tmp_path / "a.txt").write_bytes(LFS)
    assert (
        message(tmp_path / "a.txt", kind) == "not a readable text file: it holds a Git LFS pointer (run git lfs pull)"
    )
    (tmp_path / "a.txt").write_bytes(bytes(100))
    assert message(tmp_path / "a.txt", kind) == f"not a readable text file: it holds nothing but zero bytes {CUT}"
    (tmp_path / "a.txt").write_bytes(b"PK\x03\x04\xff\xff")
    assert message(tmp_path / "a.txt", kind) == "not a readable text file: it holds a ZIP archive (unpack it)"


def test_an_image_of_a_folder_is_named_by_what_it_holds(tmp_path):
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "1.png").write_bytes(LFS)
    expected = "1.png: not a readable image: it holds a Git LFS pointer (run git lfs pull)"
    assert message(tmp_path / "f", FRAMES) == expected


def test_notes_of_decoders_do_not_reach_the_terminal_and_all_else_does(tmp_path, capfd):
    (tmp_path / "x.mp3").write_bytes(np.random.default_rng(0).bytes(30_000))

    def open_with_libsndfile():
        with pytest.raises(soundfile.LibsndfileError):
            soundfile.SoundFile(tmp_path / "x.mp3")

    open_with_libsndfile()
    noise = capfd.readouterr().err
    with without_notes():
        open_with_libsndfile()
        print("Python's own", file=sys.stderr)
        os.write(2, b"another library\n[mov,mp4 @ 0x55d0c0ffee00] moov atom not found\n")
    os.write(2, b"Note: after it\n")
    kept = capfd.readouterr().err
    assert kept == "Python's own\nanother library\nNote: after it\n"
    assert "Note: Trying to resync..." in noise  # else the test above shows nothing
