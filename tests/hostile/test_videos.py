"""Broken and hostile video files: refused, or decoded into what was asked for, and never a way to other files."""

import shutil
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from compared import what_is_accepted_is_compared  # noqa: F401  a fixture
from damage import FACTOR, damage, damages, decode, every_damage, examples, judge
from hypothesis import given
from media import grey_steps, write_video
from second_video import Accepted, compare_videos
from tally import tried

from bss.config.modalities import AudioKind, ClipKind, FlowKind, FramesKind
from bss.data.decode import BadSampleError
from bss.data.decode.container import SUFFIXES
from bss.data.sounds import to_float

pytestmark = pytest.mark.usefixtures("what_is_accepted_is_compared")

FRAMES = FramesKind("frames", count=3, height=4, width=5)
TIMED = FramesKind("frames", count=3, height=4, width=5, rate=5.0)
CLIP = ClipKind("clip", frames=2, height=4, width=5, channels=1)
FLOW = FlowKind("flow", frames=2, height=8, width=9, compute=True)
AUDIO = AudioKind("audio", sample_rate=8000, seconds=0.1)
CENTRE = AudioKind("audio", sample_rate=8000, seconds=0.1, long="centre")

CODECS = {
    "mp4": ("mpeg4", "aac"),
    "mkv": ("ffv1", "flac"),
    "avi": ("mjpeg", "mp3"),
    "flv": ("flv", "aac"),
    "webm": ("libvpx-vp9", "libopus"),
    "ts": ("mpeg2video", "mp2"),
}


@pytest.fixture(scope="session")
def videos(tmp_path_factory):
    """The bytes of a small video of each container."""
    folder = tmp_path_factory.mktemp("videos")
    made = {}
    for suffix, (codec, sound_codec) in CODECS.items():
        rate = 48_000 if sound_codec == "libopus" else 44_100
        sound = (rate, np.full((1, rate // 2), 0.1, dtype=np.float32))
        path = folder / f"x.{suffix}"
        write_video(path, grey_steps(6, 16, 16), rate=25, codec=codec, sound=sound, sound_codec=sound_codec)
        made[suffix] = path.read_bytes()
    return made


def has_shape(*shape):
    def check(decoded):
        assert decoded.shape == shape
        if decoded.dtype.kind == "f":
            assert np.isfinite(decoded).all()

    return check


def is_sound(decoded):
    assert decoded.ndim == 1
    assert 1 <= len(decoded) <= 800
    assert np.abs(to_float(decoded)).max() <= 1


CHECKS = [
    (FRAMES, has_shape(3, 3, 4, 5)),
    (TIMED, has_shape(3, 3, 4, 5)),
    (AUDIO, is_sound),
    (CENTRE, is_sound),
    (CLIP, has_shape(2, 1, 4, 5)),
    (FLOW, has_shape(2, 2, 8, 9)),
]


class Videos:
    """Judges damaged videos, and compares those that are accepted with what the ffmpeg command decodes, all at once."""

    def __init__(self, kind_of_input, suffix, folder):
        if shutil.which("ffmpeg") is None:
            pytest.skip("the ffmpeg command is not installed")
        self.kind_of_input, self.path, self.accepted = kind_of_input, folder / f"x.{suffix}", []

    def judge(self, data, kind, check):
        self.path.write_bytes(data)
        decoded = judge(self.kind_of_input, self.path, kind, check)
        if decoded is not None:
            self.accepted.append(Accepted(data, kind, decoded))

    def compare(self, most_alone=0, undamaged=None):
        """Compare all; those that the command refuses must be what `undamaged` is, but for `most_alone` at most."""
        alone = compare_videos(self.accepted, self.path, undamaged)
        tried(self.kind_of_input, "compared", len(self.accepted) - alone)
        tried(self.kind_of_input, "read by bss alone", alone)
        assert alone <= most_alone


@pytest.mark.process
@pytest.mark.parametrize("suffix", CODECS)
def test_a_video_damaged_anywhere_is_refused_or_what_the_ffmpeg_command_makes_of_it(suffix, videos, tmp_path):
    judged = Videos(suffix, suffix, tmp_path)
    judged.judge(videos[suffix], *CHECKS[0])
    for number, data in enumerate(every_damage(videos[suffix], header=48, cuts=40)):
        judged.judge(data, *CHECKS[number % 4])
    assert len(judged.accepted) > 40
    judged.compare()


@pytest.mark.process
@pytest.mark.parametrize("suffix", CODECS)
def test_a_video_with_several_faults_is_refused_or_what_the_ffmpeg_command_makes_of_it(suffix, videos, tmp_path):
    judged = Videos(suffix, suffix, tmp_path)

    @examples(60)
    @given(changes=damages)
    def judge_one(changes):
        judged.judge(damage(videos[suffix], changes), *CHECKS[len(str(changes)) % len(CHECKS)])

    judge_one()
    judged.compare(most_alone=2 * FACTOR)


@pytest.mark.parametrize("kind", [FRAMES, AUDIO])
@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile real.mkv\n",
        "ffconcat version 1.0\nfile {secret}\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nreal.mkv\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{secret}\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:1,\nconcat:{secret}|real.mkv\n#EXT-X-ENDLIST\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
        '<Representation id="1" mimeType="video/mp4"><BaseURL>real.mkv</BaseURL></Representation></AdaptationSet>'
        "</Period></MPD>",
        ";FFMETADATA1\ntitle=x\n",
        "[InternetShortcut]\nURL=file://{secret}\n",
    ],
)
def test_a_list_of_other_files_is_no_video_whatever_it_is_called(text, kind, videos, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.mkv").write_bytes(videos["mkv"])
    (root / "real.mkv").write_bytes(videos["mkv"])
    for suffix in ("mp4", "mkv", "ts", "avi"):
        (root / f"x.{suffix}").write_text(text.replace("{secret}", str(tmp_path / "secret.mkv")))
        with pytest.raises(BadSampleError, match="not a readable"):
            decode(root / f"x.{suffix}", kind)
        tried("lists of files", "refused")


WRITTEN = {
    **dict.fromkeys((".mp4", ".m4v", ".mov", ".3gp", ".mkv"), ("mpeg4", "aac")),
    **dict.fromkeys((".mpg", ".mpeg", ".ts"), ("mpeg2video", "mp2")),
    **{".avi": ("mjpeg", "mp3"), ".flv": ("flv", "aac"), ".wmv": ("wmv2", "mp3"), ".webm": ("libvpx-vp9", "libopus")},
}


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_every_kind_of_container_that_is_promised_is_still_read(suffix, tmp_path):
    """The list of FFmpeg's formats must have the one of each, by the name that this FFmpeg gives it."""
    path = tmp_path / f"x{suffix}"
    codec, sound_codec = WRITTEN.get(suffix, ("mpeg4", "aac"))
    rate = 48_000 if sound_codec == "libopus" else 44_100
    sound = (rate, np.full((1, rate // 2), 0.1, dtype=np.float32))
    if suffix == ".m4a":  # which is MP4 by another name, and holds no video
        write_video(tmp_path / "x.mp4", grey_steps(6, 16, 16), rate=25, sound=sound)
        (tmp_path / "x.mp4").rename(path)
    else:
        write_video(path, grey_steps(6, 16, 16), rate=25, codec=codec, sound=sound, sound_codec=sound_codec)
    assert decode(path, FRAMES).shape == (3, 3, 4, 5)
    assert len(decode(path, AUDIO)) == 800


@pytest.mark.process
def test_a_reference_to_another_file_inside_a_video_is_not_followed(videos, tmp_path):
    """In QuickTime a track may lie in another file, which its `dref` names."""
    data = videos["mp4"]
    place = data.index(b"url ")
    name = str(tmp_path / "secret.mkv").encode() + b"\0"
    (tmp_path / "secret.mkv").write_bytes(videos["mkv"])
    reference = struct.pack(">I", 12 + len(name)) + b"url " + b"\0\0\0\0" + name
    judged = Videos("mp4", "mov", tmp_path)
    judged.judge(data[: place - 4] + reference + data[place + 8 :], *CHECKS[0])
    judged.compare()


def mp4_boxes(data):
    """Yield name, start and end of each box, whatever its depth."""
    stack = [(0, len(data))]
    while stack:
        start, end = stack.pop()
        while start + 8 <= end:
            size, name = struct.unpack(">I4s", data[start : start + 8])
            if size < 8:
                break
            yield name, start, start + size
            if name in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
                stack.append((start + 8, start + size))
            start += size


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize(
    "box", [b"stts", b"stsc", b"stsz", b"stco", b"mvhd", b"tkhd", b"mdhd", b"elst", b"stsd", b"hdlr"]
)
def test_an_mp4_whose_tables_declare_too_much_is_refused_or_still_a_video(box, videos, tmp_path):
    data, judged = videos["mp4"], Videos("mp4", "mp4", tmp_path)
    for name, start, end in mp4_boxes(data):
        if name != box:
            continue
        for place in range(start, min(end, start + 40), 4):
            for number in (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\x00\x0f\xff\xff"):
                for check in CHECKS[:3]:
                    judged.judge(data[:place] + number + data[place + 4 :], *check)
    judged.compare(undamaged=data)


def write_slow(path, count, seconds):
    """Write a video of `count` frames, one every `seconds` seconds."""
    with av.open(path, "w") as container:
        stream = container.add_stream("ffv1", rate=1)
        stream.height, stream.width, stream.pix_fmt = 16, 16, "bgr0"
        stream.codec_context.time_base = Fraction(1)
        for number, pixels in enumerate(grey_steps(count, 16, 16)):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = number * seconds
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def test_frames_that_are_years_apart_are_refused_before_there_is_a_moment_for_each_second(tmp_path):
    write_slow(tmp_path / "x.mkv", 3, 1_000_000_000)
    assert decode(tmp_path / "x.mkv", FRAMES).shape == (3, 3, 4, 5)
    with pytest.raises(BadSampleError, match="seconds apart"):
        decode(tmp_path / "x.mkv", TIMED)
    tried("video bombs", "refused")


@pytest.mark.parametrize(
    ("limit", "value", "kind", "message"),
    [
        ("MAX_FRAMES", 5, FRAMES, "more than 5 video frames"),
        ("MAX_DECODED", 1000, CLIP, "more than 1000 video pixels in total"),
        ("MAX_SAMPLES", 5000, CENTRE, "more than 5000 sound samples"),
        ("MAX_PACKETS", 3, FRAMES, "more than 3 packets"),
    ],
)
def test_decoding_ends_at_every_limit(limit, value, kind, message, videos, tmp_path, monkeypatch):
    monkeypatch.setattr(f"bss.data.decode.container.{limit}", value)
    (tmp_path / "x.mp4").write_bytes(videos["mp4"])
    with pytest.raises(BadSampleError, match=message):
        decode(tmp_path / "x.mp4", kind)
    tried("video bombs", "refused")


@pytest.mark.process
def test_an_enormous_frame_is_refused_before_room_is_made_for_it(tmp_path):
    """FFV1 and others state the size in the container's header, which is as easily corrupted as any other number."""
    write_video(tmp_path / "x.avi", grey_steps(2, 16, 16), codec="mjpeg")
    data = (tmp_path / "x.avi").read_bytes()
    place, judged = data.index(b"strf") + 12, Videos("video bombs", "avi", tmp_path)
    for width, height in ((60_000, 60_000), (0x7FFFFFFF, 0x7FFFFFFF), (0x7FFFFFFF, 1)):
        judged.judge(data[:place] + struct.pack("<II", width, height) + data[place + 8 :], *CHECKS[0])
    judged.compare()


def test_sound_that_changes_its_layout_on_the_way_is_refused(tmp_path):
    """Two MPEG streams one after the other: a transport stream may change all it is at any packet."""
    parts = []
    for channels in (1, 2):
        sound = (44_100, np.full((channels, 22_050), 0.1, dtype=np.float32))
        write_video(
            tmp_path / "x.ts", grey_steps(6, 16, 16), rate=25, codec="mpeg2video", sound=sound, sound_codec="mp2"
        )
        parts.append((tmp_path / "x.ts").read_bytes())
    (tmp_path / "x.ts").write_bytes(b"".join(parts))
    with pytest.raises(BadSampleError, match="not a readable audio file"):
        decode(tmp_path / "x.ts", CENTRE)
    tried("ts", "refused")
