"""Video files: containers that hold a video track, an audio track or both."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from bss.data.decode.bad_sample import MAX_PIXELS, BadSampleError, reason, require_pixels

SUFFIXES = frozenset(
    {".mp4", ".m4v", ".m4a", ".mov", ".flv", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".3gp", ".ts"}
)
"""Files that FFmpeg opens (through PyAV) rather than libsndfile."""


def decode_track(path: Path, kind: Literal["video", "audio"]) -> Iterator[tuple[Any, Any]]:
    """Yield each frame of the file's first track of `kind`, and the track; decoded on this thread alone.

    Raises `BadSampleError` for a file that cannot be opened, has no such track, or is damaged or cut off
    as far as its packets tell.
    """
    import av

    try:
        # Local files alone: a playlist or a reference inside the file may not lead elsewhere.
        with av.open(path, options={"protocol_whitelist": "file"}) as container:
            tracks = getattr(container.streams, kind)
            if not tracks:
                raise BadSampleError(f"has no {kind} track")
            track = tracks[0]
            track.codec_context.thread_count = 1
            if kind == "video":
                require_pixels(track.codec_context.width, track.codec_context.height)
                # Where a later frame is larger than the header says, FFmpeg refuses before it makes room.
                track.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
            for packet in container.demux(track):
                if packet.is_corrupt:
                    raise BadSampleError("damaged or cut off")
                for frame in packet.decode():
                    yield frame, track
    except BadSampleError:
        raise
    except Exception as error:  # damaged files raise many types
        why = getattr(error, "strerror", None) or reason(error, path)
        raise BadSampleError(f"not a readable {kind} file ({why})") from error
