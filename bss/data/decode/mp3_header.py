"""The declared length of an MP3 file: the Xing, Info or VBRI header in its first frame."""

from pathlib import Path

SEARCHED = 4096
"""Bytes after the tags in which to look for the first frame."""
TAG_WITHIN = 64
"""Bytes from the start of a frame: at most 36 bytes of frame header and side information precede the header."""


def declared_samples(path: Path) -> int | None:
    """Return the samples per channel that the file's header declares, encoder delay included.

    None without such a header: then only decoding gives the length. Source: the layouts of the Xing
    and VBRI headers, http://gabriel.mp3-tech.org/mp3infotag.html and Fraunhofer's VBRI SDK.
    """
    with path.open("rb") as file:
        start = 0
        while (head := file.read(10))[:3] == b"ID3" and len(head) == 10:
            start += 10 + sum((byte & 0x7F) << 7 * i for i, byte in enumerate(reversed(head[6:])))
            file.seek(start)
        file.seek(start)
        data = file.read(SEARCHED)
    sync = next((i for i in range(len(data) - 1) if data[i] == 0xFF and data[i + 1] & 0xE0 == 0xE0), None)
    if sync is None:
        return None
    frame = data[sync:]
    samples = 1152 if frame[1] & 0x18 == 0x18 else 576  # per frame, of MPEG-1 and of MPEG-2 and 2.5
    for name, offset in ((b"Xing", 8), (b"Info", 8), (b"VBRI", 14)):
        at = frame.find(name, 0, TAG_WITHIN)
        count = int.from_bytes(frame[at + offset : at + offset + 4], "big")
        if at >= 0 and count and (name == b"VBRI" or frame[at + 7] & 1):
            return count * samples
    return None
