"""The frames of a video file or of a folder of images, in order."""

import re
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from bss.data.decode.altered import Decoded, together
from bss.data.decode.bad_sample import BadSampleError
from bss.data.decode.container import decode_track, readable
from bss.data.decode.display import as_shown
from bss.data.decode.image import Size, decode_image, to_pixels
from bss.data.decode.paths import inside, require_file
from bss.data.decode.spans import Indices
from bss.data.decode.wide_pixels import wide_frame

IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})


class FrameSource(Protocol):
    """Frames that can be counted without holding them in memory."""

    @property
    def times(self) -> npt.NDArray[np.float64] | None:
        """Timestamp of each frame in seconds, ascending, float64 [frames]; None if unknown."""

    def __len__(self) -> int: ...

    def read(self, indices: Indices, size: Size) -> Decoded:
        """Return the frames `indices`, in this order, uint8 [k, channels, height, width]."""


def open_frames(path: Path, root: Path) -> FrameSource:
    """Return the frames at `path`: a folder of images or a video file; links may not leave `root`.

    Raises `BadSampleError` if there are none.
    """
    if is_folder(path):
        return ImageFolder(path, root)
    require_file(path, root)
    return Video(path)


class ImageFolder:
    """The images directly inside a folder, in natural order of names; other files are ignored."""

    times = None

    def __init__(self, path: Path, root: Path) -> None:
        try:
            names = [p.name for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.name[0] != "."]
        except OSError as error:
            raise BadSampleError(f"not accessible ({error.strerror})") from error
        if not names:
            raise BadSampleError("a folder without images")
        self.files = [path / name for name in sorted(names, key=natural_order)]
        self.root = root

    def __len__(self) -> int:
        return len(self.files)

    def read(self, indices: Indices, size: Size) -> Decoded:
        """Return the images `indices`, uint8 [k, channels, height, width]."""
        images = {index: self._decode(self.files[index], size) for index in dict.fromkeys(indices.tolist())}
        return _stacked(images, indices)

    def _decode(self, file: Path, size: Size) -> Decoded:
        try:
            path = inside(self.root, str(file))
            require_file(path, self.root)
            return decode_image(path, size)
        except BadSampleError as error:
            raise BadSampleError(f"{file.name}: {error}") from error


class Video:
    """The frames of a file's first video track, in the order they are shown.

    The file is decoded once for the frames' timestamps, which no container gives reliably, and again to
    extract the requested frames; one frame is in memory at a time.
    """

    times: npt.NDArray[np.float64]

    def __init__(self, path: Path) -> None:
        self.path = path
        with readable(path, "video"):
            times = [_time(frame, track, i) for i, (frame, track) in enumerate(decode_track(path, "video"))]
        self.times = np.array(times, dtype=np.float64)
        if len(self.times) == 0:
            raise BadSampleError("the video has no frames")
        if np.any(np.diff(self.times) < 0):
            raise BadSampleError("the video's timestamps are not ascending")

    def __len__(self) -> int:
        return len(self.times)

    def read(self, indices: Indices, size: Size) -> Decoded:
        """Return the frames `indices`, uint8 [k, channels, height, width]."""
        wanted, last = set(indices.tolist()), int(indices.max())
        frames = {}
        with readable(self.path, "video"):
            for number, (frame, _) in enumerate(decode_track(self.path, "video")):
                if number in wanted:
                    frames[number] = Decoded(to_pixels(as_shown(frame), size), wide_frame(frame))
                if number == last:
                    break
        return _stacked(frames, indices)


def _stacked(frames: dict[int, Decoded], indices: Indices) -> Decoded:
    """Return the frames `indices` as one array; alterations of a repeated frame count once."""
    array = np.stack([frames[index].array for index in indices.tolist()])
    return Decoded(array, together(entry for frame in frames.values() for entry in frame.altered))


def natural_order(name: str) -> tuple[list[tuple[int, str]], str]:
    """Return a natural sort key: 2.jpg before 10.jpg.

    Names that differ only in leading zeros or case are ordered as text.
    """
    parts = re.split("([0-9]+)", name.casefold())
    return [(int(part), "") if part.isdigit() and part.isascii() else (-1, part) for part in parts], name


def is_folder(path: Path) -> bool:
    """Return whether `path` is a folder; raise `BadSampleError` for a name that the OS rejects."""
    try:
        return path.is_dir()
    except OSError as error:  # a name that is too long
        raise BadSampleError(f"not accessible ({error.strerror})") from error


def _time(frame: Any, track: Any, number: int) -> float:
    """Return a frame's timestamp in seconds; from the frame rate if the file has no timestamps."""
    if frame.time is not None:
        return float(frame.time)
    if not track.average_rate:
        raise BadSampleError("the video has neither timestamps nor a frame rate")
    return number / float(track.average_rate)
