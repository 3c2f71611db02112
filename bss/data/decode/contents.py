"""Detect a file's content from its first bytes, whatever its name."""

import re
from pathlib import Path
from typing import NamedTuple

from bss.data.decode.bad_sample import BadSampleError, printable
from bss.data.raw_files import open_raw

HEAD = 512
"""Bytes to inspect."""
CHUNK = 1 << 20
"""Chunk size in bytes for files that begin with zeros."""
WORDS = 40
"""Maximum number of characters of a text quoted in messages."""


class Content(NamedTuple):
    """The content of a file."""

    name: str
    """Completes "the file holds ...", such as "a PNG image"."""
    family: str
    """sound, video, image or array; absent for a placeholder of a file stored elsewhere; otherwise empty."""
    fix: str
    """What to do if the modality needs something else."""


_AGAIN = "is it a server's error page? Download the file again"
_UNPACK = "unpack it"
_CONVERT_SOUND = "convert it to WAV or FLAC"
_CONVERT_IMAGE = "convert it to PNG or JPEG"
_CUT_OFF = "its copy or download was cut off: fetch it again"
_SAVE = "save its array with numpy.save"

_TEXTS = (
    (b"version https://git-lfs.github.com/spec/", Content("a Git LFS pointer", "absent", "run git lfs pull")),
    (b"/annex/objects/", Content("a git-annex pointer", "absent", "run git annex get")),
    (b"<!doctype html", Content("an HTML page", "", _AGAIN)),
    (b"<html", Content("an HTML page", "", _AGAIN)),
    (b"<svg", Content("an SVG drawing", "", _CONVERT_IMAGE)),
    (b"<?xml", Content("an XML document", "", _AGAIN)),
    (b"{", Content("JSON", "", _AGAIN)),
    (b"[", Content("JSON", "", _AGAIN)),
)
"""Beginnings of texts, in lower case and without leading white space."""

_MARKS = (
    (0, b"PK\x03\x04", Content("a ZIP archive", "", _UNPACK)),
    (0, b"PK\x05\x06", Content("an empty ZIP archive", "", _UNPACK)),
    (0, b"\x1f\x8b\x08", Content("a gzip archive", "", _UNPACK)),
    (0, b"BZh", Content("a bzip2 archive", "", _UNPACK)),
    (0, b"\xfd7zXZ\x00", Content("an xz archive", "", _UNPACK)),
    (0, b"7z\xbc\xaf\x27\x1c", Content("a 7z archive", "", _UNPACK)),
    (0, b"Rar!\x1a\x07", Content("a RAR archive", "", _UNPACK)),
    (257, b"ustar", Content("a tar archive", "", _UNPACK)),
    (0, b"%PDF-", Content("a PDF document", "", "name the file itself in the manifest")),
    (0, b"\x89HDF\r\n\x1a\n", Content("an HDF5 file", "", _SAVE)),
    (0, b"PAR1", Content("a Parquet file", "", _SAVE)),
    (0, b"\x80\x04\x95", Content("a Python pickle", "", _SAVE)),
    (0, b"#!AMR", Content("AMR sound", "", _CONVERT_SOUND)),
    (0, b"MAC \x96\x0f", Content("Monkey's Audio", "", _CONVERT_SOUND)),
    (0, b"wvpk", Content("WavPack sound", "", _CONVERT_SOUND)),
    (4, b"ftypheic", Content("a HEIC image", "", _CONVERT_IMAGE)),
    (4, b"ftypheix", Content("a HEIC image", "", _CONVERT_IMAGE)),
    (4, b"ftypmif1", Content("a HEIC image", "", _CONVERT_IMAGE)),
    (4, b"ftypmsf1", Content("a HEIC image", "", _CONVERT_IMAGE)),
    (4, b"ftyphev", Content("a HEIC image", "", _CONVERT_IMAGE)),
    (4, b"ftypavis", Content("an AVIF image", "", _CONVERT_IMAGE)),
    (4, b"ftypavif", Content("an AVIF image", "", _CONVERT_IMAGE)),
    (0, b"\x00\x05\x16\x07", Content("macOS metadata", "absent", "the file itself has the same name without ._")),
    (0, b"\x00\x05\x16\x00", Content("macOS metadata", "absent", "the file itself has the same name without ._")),
    (0, b"TTA1", Content("True Audio sound", "", _CONVERT_SOUND)),
    (0, b"8BPS", Content("a Photoshop document", "", _CONVERT_IMAGE)),
    (0, b"\x93NUMPY", Content("a NumPy array", "array", "name it .npy")),
    (8, b"WAVE", Content("WAV sound", "sound", "name it .wav")),
    (0, b"fLaC", Content("FLAC sound", "sound", "name it .flac")),
    (0, b"OggS", Content("Ogg sound", "sound", "name it .ogg")),
    (8, b"AIFF", Content("AIFF sound", "sound", "name it .aiff")),
    (8, b"AIFC", Content("AIFF sound", "sound", "name it .aiff")),
    (0, b".snd", Content("AU sound", "sound", "name it .au")),
    (0, b"caff", Content("CAF sound", "sound", "name it .caf")),
    (0, b"NIST_1A", Content("SPHERE sound", "sound", "name it .sph")),
    (0, b"PVF1", Content("PVF sound", "sound", "name it .pvf")),
    (0, b"ID3", Content("MP3 sound", "sound", "name it .mp3")),
    (0, b"\xff\xfb", Content("MP3 sound", "sound", "name it .mp3")),
    (0, b"\xff\xf3", Content("MP3 sound", "sound", "name it .mp3")),
    (0, b"\xff\xfa", Content("MP3 sound", "sound", "name it .mp3")),
    (4, b"ftypM4A ", Content("MP4 sound", "video", "name it .m4a")),
    (4, b"ftypqt  ", Content("a QuickTime film", "video", "name it .mov")),
    (4, b"ftyp", Content("MP4", "video", "name it .mp4")),
    (4, b"moov", Content("a QuickTime film", "video", "name it .mov")),
    (0, b"\x1a\x45\xdf\xa3", Content("WebM or Matroska", "video", "name it .webm, .mkv, .weba or .mka")),
    (0, b"FLV\x01", Content("a Flash film", "video", "name it .flv")),
    (8, b"AVI ", Content("AVI", "video", "name it .avi")),
    (0, b"\x00\x00\x01\xba", Content("an MPEG film", "video", "name it .mpg")),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", Content("Windows Media", "video", "name it .wmv or .wma")),
    (0, b"\x89PNG\r\n\x1a\n", Content("a PNG image", "image", "name it .png")),
    (0, b"\xff\xd8\xff", Content("a JPEG image", "image", "name it .jpg")),
    (0, b"GIF8", Content("a GIF image", "image", "name it .gif")),
    (0, b"II*\x00", Content("a TIFF image", "image", "name it .tif")),
    (0, b"MM\x00*", Content("a TIFF image", "image", "name it .tif")),
    (8, b"WEBP", Content("a WebP image", "image", "name it .webp")),
    (0, b"\x00\x00\x00\x0cjP  ", Content("a JPEG 2000 image", "image", "name it .jp2")),
)
"""Offset, magic bytes, and content; the first match counts."""

_MPEG_TS = Content("an MPEG transport stream", "video", "name it .ts")
"""Recognised by the first byte of every 188-byte packet."""

_READ_AS = {
    "sound": "a modality of kind audio",
    "video": "a modality of kind audio, frames, clip or flow",
    "image": "a modality of kind image, or of kind frames or clip as a folder of images",
    "array": "a modality of kind features or flow",
}


def require_content(path: Path, what: str, accepted: str, near: str = "") -> None:
    """Raise `BadSampleError` if the file's magic bytes belong to another family than `accepted`.

    `what` names the expected content, such as "sound file"; `near` is a family that the same modality kind reads from
    files with other suffixes. Unknown bytes are left to the decoder.
    """
    found = content_of(path)
    if found is None or found.family == accepted:
        return
    if found.family == near and path.suffix.lower() in re.findall(r"\.\w+", found.fix):  # its suffix is right
        return
    fix = found.fix if found.family in ("", "absent", near) else f"that is for {_READ_AS[found.family]}"
    raise BadSampleError(f"not a readable {what}: it holds {found.name} ({fix})")


def unreadable(path: Path, what: str, accepted: str, why: str, near: str = "") -> BadSampleError:
    """Return the error for a file that a library could not read: its content if known, else the library's `why`."""
    try:
        require_content(path, what, accepted, near)
        text = text_in(path)
    except BadSampleError as error:
        return error
    except OSError as error:
        return BadSampleError(f"not accessible ({error.strerror})")
    return BadSampleError(f"not a readable {what} ({why}{f'; it holds text: {text}' if text else ''})")


def require_text(path: Path) -> None:
    """Raise `BadSampleError` if the file is a placeholder for a text file; text may begin with any other bytes."""
    found = content_of(path)
    if found is not None and found.family == "absent":
        raise BadSampleError(f"not a readable text file: it holds {found.name} ({found.fix})")


def content_of(path: Path) -> Content | None:
    """Return the file's content, None if its first bytes are unknown."""
    with open_raw(path) as file:
        block = head = file.read(HEAD)
        while block and not any(block):
            block = file.read(CHUNK)
    if not block:
        return Content("nothing but zero bytes" if head else "nothing", "absent", _CUT_OFF)
    return _content_in(head)


def suffix_for(data: bytes) -> str:
    """Return the suffix of files with such contents, such as .png; empty if the first bytes are unknown."""
    found = _content_in(data[:HEAD])
    suffixes = re.findall(r"^name it (\.\w+)", found.fix) if found is not None else []
    return suffixes[0] if suffixes else ""


def _content_in(head: bytes) -> Content | None:
    """Return the kind of content of a file, judged by its first `HEAD` bytes."""
    marked = (content for at, mark, content in _MARKS if head[at : at + len(mark)] == mark)
    packets = len(head) > 376 and head[0] == head[188] == head[376] == 0x47
    return next(marked, _MPEG_TS if packets else _marked_text(head))


def text_in(path: Path) -> str:
    """Return the first words of a text file, for messages; empty if it is not text."""
    with path.open("rb") as file:
        return _words(file.read(HEAD))


def _marked_text(head: bytes) -> Content | None:
    if not _words(head):
        return None
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for mark, content in _TEXTS:
        if start.startswith(mark):
            return Content("an SVG drawing", "", _CONVERT_IMAGE) if b"<svg" in start else content
    return None


def _words(head: bytes) -> str:
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # otherwise the chunk ends inside a character
            return ""
        text = head[: error.start].decode("utf-8-sig")
    words = " ".join(text.split())
    return printable(words[:WORDS]) if words.isprintable() else ""
