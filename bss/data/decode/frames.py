"""Stacks of frames: a few spread over the whole, or consecutive ones."""

from pathlib import Path

from bss.config.modalities import ClipKind, FramesKind
from bss.data.decode.altered import Decoded
from bss.data.decode.frame_source import open_frames
from bss.data.decode.spans import Span, consecutive, spread, thin


def decode_frames(path: Path, kind: FramesKind, root: Path) -> Decoded:
    """Return `kind.count` frames spread evenly over the whole, uint8 [frames, channels, height, width]."""
    source = open_frames(path, root)
    if kind.rate is None or source.times is None:
        indices = spread(len(source), kind.count)
    else:
        thinned = thin(source.times, kind.rate)
        indices = thinned[spread(len(thinned), kind.count)]
    return source.read(indices, kind)


def decode_clip(path: Path, kind: ClipKind, root: Path, span: Span) -> Decoded:
    """Return `kind.frames` consecutive frames of the part `span`, uint8 [frames, channels, height, width]."""
    source = open_frames(path, root)
    return source.read(consecutive(len(source), span, kind.frames, kind.short, kind.long), kind)
