"""Video files: containers that hold a video track, an audio track or both."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from bss.data.decode.bad_sample import MAX_PIXELS, BadSampleError, reason, require_pixels
from bss.data.decode.contents import unreadable

SUFFIXES = frozenset(
    {".mp4", ".m4v", ".m4a", ".mov", ".flv", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".3gp", ".ts"}
)
"""Files that FFmpeg opens (through PyAV) rather than libsndfile."""
FORMATS = ("mov,mp4,m4a,3gp,3g2,mj2", "flv", "avi", "matroska,webm", "mpeg", "mpegts", "mpegvideo", "asf")
"""FFmpeg's names of these formats. Others, such as concat, hls and sdp, refer to other files."""
DECLARES_DURATION = frozenset({"mov", "matroska"})
"""Formats with a counted duration; in others FFmpeg estimates it, or it is often wrong."""
SLACK = 0.5
"""Seconds by which a file may be shorter than declared, besides 1 %: its last packet may have no duration."""
MAX_FRAMES = 1_000_000
"""Maximum number of frames of one video: eleven hours at 25 per second. More means a damaged or hostile file."""
MAX_DECODED = 1 << 40
"""Maximum number of pixels in all frames of one video: six hours of 1920 x 1080 at 25 per second."""
MAX_SAMPLES = 1 << 33
"""Maximum number of samples per channel of one sound track: two days at 48 kHz."""
MAX_PACKETS = 1 << 23
"""Maximum number of packets of one file, with or without frames."""


def decode_track(
    path: Path, kind: Literal["video", "audio"], formats: tuple[str, ...] = FORMATS
) -> Iterator[tuple[Any, Any]]:
    """Yield each frame of the file's first track of `kind`, and the track; decodes on this thread only.

    `formats` are FFmpeg's names of the allowed formats. Raises `BadSampleError` for a file that cannot be opened, has
    no such track, is damaged or cut off according to its packets and its declared duration, or exceeds the
    limits: a few bytes may mean hours of decoding.
    """
    import av

    decoded = frames = bad = 0
    end = track_end = longest = 0.0
    with readable(path, kind):
        # Local files only: a playlist or a reference inside the file may not lead elsewhere.
        options = {"protocol_whitelist": "file", "format_whitelist": ",".join(formats)}
        with av.open(path, options=options) as container:
            track = next((track for track in getattr(container.streams, kind) if not _is_cover(track)), None)
            if track is None:
                raise BadSampleError(f"has no {kind} track")
            track.codec_context.thread_count = 1
            if kind == "video":
                require_pixels(track.codec_context.width, track.codec_context.height)
                # If a later frame is larger than the header says, FFmpeg refuses before it allocates.
                track.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
            for number, packet in enumerate(container.demux()):
                if number == MAX_PACKETS:
                    raise BadSampleError(f"has more than {MAX_PACKETS} packets")
                end = max(end, _end(packet))
                if packet.stream_index != track.index:
                    continue
                track_end = max(track_end, _end(packet))
                longest = max(longest, float((packet.duration or 0) * packet.time_base))
                if packet.is_corrupt:
                    raise BadSampleError("damaged or cut off")
                try:
                    found: list[Any] = packet.decode()
                except av.error.InvalidDataError as error:
                    bad += 1
                    if not _passes_over(formats, bad, frames):
                        raise BadSampleError("damaged or cut off") from error
                    continue
                for frame in found:
                    frames += 1
                    decoded += frame.width * frame.height if kind == "video" else frame.samples
                    _require_bounded(kind, frames, decoded)
                    yield frame, track
            _require_duration(container, end)
            if kind == "audio":
                _require_track_duration(container, track, track_end, longest / 2)


def _is_cover(track: Any) -> bool:
    """Return whether the track is a still picture attached to the sound, such as an album cover."""
    from av.stream import Disposition

    return bool(track.disposition & Disposition.attached_pic)


def _passes_over(formats: tuple[str, ...], bad: int, good: int) -> bool:
    """Return whether an undecodable packet may be skipped, as players do in an MP3.

    MP3 frames are independent; joined files have an unusable one at the joints, others at the ends. More than a few are
    damage.
    """
    return formats == ("mp3",) and bad <= 2 + good // 50


def _end(packet: Any) -> float:
    """Return the packet's end in seconds, as far as it is known."""
    return float((packet.pts + (packet.duration or 0)) * packet.time_base) if packet.pts is not None else 0.0


def _require_duration(container: Any, end: float) -> None:
    """Raise `BadSampleError` if the file's packets end, at `end` seconds, long before its declared duration."""
    formats = set(container.format.name.split(","))
    if container.duration is None or not DECLARES_DURATION & formats:
        return
    declared = container.duration / 1e6
    # Matroska's duration is the end of the last frame, even if the first one does not start at 0.
    start = 0.0 if "matroska" in formats else (container.start_time or 0) / 1e6
    found = end - start
    if found < 0.99 * declared - SLACK:
        raise BadSampleError(f"cut off: {found:.1f} of {declared:.1f} seconds found")


def _require_track_duration(container: Any, track: Any, end: float, slack: float) -> None:
    """Raise `BadSampleError` if an MP4 sound track ends, at `end` seconds, long before its declared duration.

    1 % or `slack` seconds may be missing. The video track may be intact while the sound's packet table
    is damaged.
    """
    if track.duration is None or "mov" not in container.format.name.split(","):
        return
    declared = float(track.duration * track.time_base)
    found = end - max(0.0, float((track.start_time or 0) * track.time_base))
    if found < declared - max(0.01 * declared, slack):
        raise BadSampleError(f"cut off: {found:.2f} of {declared:.2f} seconds of its sound found")


@contextmanager
def readable(path: Path, kind: str) -> Iterator[None]:
    """Turn any exception of FFmpeg or a frame consumer into `BadSampleError`: damaged files raise many types."""
    try:
        yield
    except (BadSampleError, ModuleNotFoundError):  # the second is no fault of the file
        raise
    except Exception as error:
        why = getattr(error, "strerror", None) or reason(error, path)
        if type(error).__name__ in ("InvalidDataError", "EOFError"):
            why += ": damaged, cut off, or another format"
        is_sound = kind == "audio" and path.suffix.lower() not in SUFFIXES
        accepted, near = ("sound", "video") if is_sound else ("video", "sound" if kind == "audio" else "")
        raise unreadable(path, f"{kind} file", accepted, why, near) from error


def _require_bounded(kind: str, frames: int, decoded: int) -> None:
    if kind == "audio":
        if decoded > MAX_SAMPLES:
            raise BadSampleError(f"more than {MAX_SAMPLES} sound samples")
    elif frames > MAX_FRAMES:
        raise BadSampleError(f"more than {MAX_FRAMES} video frames")
    elif decoded > MAX_DECODED:
        raise BadSampleError(f"more than {MAX_DECODED} video pixels in total")
