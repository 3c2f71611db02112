"""Facts about one manifest column, from a deterministic choice of its files."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bss.config.schema import Links
from bss.data.decode.audio import require_full_scale
from bss.data.decode.bad_sample import BadSampleError, finite, named
from bss.data.decode.container import SUFFIXES as CONTAINERS
from bss.data.decode.container import decode_track
from bss.data.decode.display import shown_size
from bss.data.decode.features import open_array
from bss.data.decode.frame_source import IMAGE_SUFFIXES, ImageFolder
from bss.data.decode.image import open_image
from bss.data.decode.paths import boundary, inside, require_file
from bss.data.decode.sound_source import SOUND_SUFFIXES as SOUND_CONTAINERS
from bss.data.decode.sound_source import sound_blocks
from bss.data.decode.spans import spread
from bss.errors import BssError
from bss.init.text_lengths import count_words

LOOKED_AT = 24
"""Values inspected per column, spread evenly over the manifest."""

SOUND_SUFFIXES = frozenset(
    {".aif", ".aiff", ".au", ".caf", ".flac", ".mp2", ".mp3", ".oga", ".ogg", ".opus", ".rf64", ".spx", ".voc", ".w64"}
    | {".wav"}
) | frozenset(SOUND_CONTAINERS)
"""Audio-only files."""

ORIENTATION = 0x0112
"""The EXIF orientation tag; values 5 to 8 are rotated by 90 degrees."""


@dataclass
class Facts:
    """Facts about one column."""

    values: int
    """How many values were inspected."""
    forms: Counter[str] = field(default_factory=Counter)
    """How many are each of: sound, image, container, folder, array, textfile, words, other."""
    readable: Counter[str] = field(default_factory=Counter)
    """How many of each form can be used."""
    distinct: int = 0
    """How many distinct values were inspected."""
    unreadable: list[str] = field(default_factory=list)
    """Unusable values, each with the reason."""
    rates: list[int] = field(default_factory=list)
    """Hz, of each sound."""
    seconds: list[float] = field(default_factory=list)
    """Length of each sound after decoding; headers may be wrong."""
    peaks: list[float] = field(default_factory=list)
    """Largest magnitude of each sound."""
    sizes: list[tuple[int, int]] = field(default_factory=list)
    """Height and width of each image, video or flow."""
    colours: int = 0
    """Images that are not grey."""
    several: int = 0
    """Files with several images: animations and multi-page documents."""
    frames: list[int] = field(default_factory=list)
    """Frames of each video, folder or flow."""
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    """Shape of each array."""
    texts: list[str] = field(default_factory=list)
    strange_files: Counter[str] = field(default_factory=Counter)
    """Number of files per suffix that no kind reads."""
    tracks: Counter[str] = field(default_factory=Counter)
    """Number of containers with both a video and an audio track."""


def look(root: Path, column: Sequence[str], links: Links = "inside") -> Facts:
    """Inspect some non-empty values of the column, always the same ones; paths are relative to `root`."""
    real_root = root.resolve()
    limit = boundary(real_root, links)
    filled = [value.strip() for value in column if value.strip()] or [""]
    values = [filled[i] for i in np.unique(spread(len(filled), LOOKED_AT)).tolist()]
    facts = Facts(len(values), distinct=len(set(values)))
    for value in values:
        form = _form(real_root, value, limit)
        facts.forms[form] += 1
        try:
            if form in _READERS:
                path = inside(real_root, value, limit)
                require_file(path, real_root)
                _READERS[form](path, facts)
            elif form == "folder":
                _folder(inside(real_root, value, limit), limit, facts)
            else:
                facts.texts.append(value)
                if form == "other" and _is_file(real_root, value, limit):
                    facts.strange_files[Path(value).suffix.lower()] += 1
        except BadSampleError as error:
            facts.unreadable.append(f"{named(value)}: {error}")
        else:
            facts.readable[form] += 1
    return facts


def _form(root: Path, value: str, limit: Path) -> str:
    suffix = Path(value).suffix.lower()
    if suffix in SOUND_SUFFIXES:
        return "sound"
    if suffix in IMAGE_SUFFIXES:
        return "image"
    if suffix in CONTAINERS:
        return "container"
    if suffix in (".npy", ".txt"):
        return "array" if suffix == ".npy" else "textfile"
    if _is_folder_of_images(root, value, limit):
        return "folder"
    return "words" if count_words(value) > 2 else "other"


def _is_file(root: Path, value: str, limit: Path) -> bool:
    try:
        return inside(root, value, limit).is_file()
    except (BadSampleError, OSError):
        return False


def _is_folder_of_images(root: Path, value: str, limit: Path) -> bool:
    try:
        path = inside(root, value, limit)
        return path != root and path.is_dir() and len(ImageFolder(path, limit)) > 0
    except (BadSampleError, OSError):  # a sentence is not a file name, and a speaker's folder may hold no images
        return False


def _folder(path: Path, limit: Path, facts: Facts) -> None:
    folder = ImageFolder(path, limit)
    _image(folder.files[0], facts)
    facts.frames.append(len(folder))


def _sound(path: Path, facts: Facts) -> None:
    if not _hear(path, facts):
        raise BadSampleError("holds no sound (0 samples)")


def _hear(path: Path, facts: Facts) -> int:
    """Record facts of a sound and return its number of samples; record nothing if it is empty."""
    rate, samples, peak = 0, 0, 0.0
    for found, block in sound_blocks(path):
        rate, samples = found, samples + len(block)
        peak = max(peak, float(np.abs(finite(block)).max()))
    if samples:
        require_full_scale(peak)
        facts.rates.append(rate)
        facts.seconds.append(samples / rate)
        facts.peaks.append(peak)
    return samples


def _image(path: Path, facts: Facts) -> None:
    with open_image(path) as image:
        lying = image.format != "TIFF" and image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)  # a TIFF's are swapped
        facts.sizes.append((image.width, image.height) if lying else (image.height, image.width))
        facts.colours += image.mode not in ("1", "L", "LA", "I", "F") and not image.mode.startswith("I;16")
        facts.several += image.format != "MPO" and getattr(image, "n_frames", 1) > 1  # cameras add previews


def _container(path: Path, facts: Facts) -> None:
    found = 0
    for kind in ("video", "audio"):
        try:
            frames = 0
            if kind == "audio":
                frames = _hear(path, facts)
            else:
                for frame, _ in decode_track(path, kind):
                    size = shown_size(frame)
                    frames += 1
        except BadSampleError as error:
            if str(error) == f"has no {kind} track":
                continue
            raise
        if frames == 0:
            continue
        found += 1
        facts.tracks[kind] += 1
        if kind == "video":
            facts.sizes.append(size)
            facts.colours += 1
            facts.frames.append(frames)
    if not found:
        raise BadSampleError("has neither a video nor an audio track")


def _array(path: Path, facts: Facts) -> None:
    facts.shapes.append(open_array(path).shape)


def _text_file(path: Path, facts: Facts) -> None:
    from bss.data.decode.text import read_text

    facts.texts.append(read_text(path))


_READERS: dict[str, Callable[[Path, Facts], None]] = {
    "sound": _sound,
    "image": _image,
    "container": _container,
    "array": _array,
    "textfile": _text_file,
}


def require_some_readable(column: str, facts: Facts) -> None:
    """Raise `BssError` if no file of the column's most frequent form can be used."""
    form, count = facts.forms.most_common(1)[0]
    if not facts.readable[form]:
        example = facts.unreadable[0]
        hint = " Paths are relative to the manifest's folder." if example.endswith("file not found") else ""
        raise BssError(f"column {column!r}: none of the {count} inspected files can be used, such as {example}.{hint}")
