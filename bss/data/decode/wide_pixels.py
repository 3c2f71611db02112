"""Pixels of more than 8 bits: the store keeps the upper 8, and the loss is counted."""

from pathlib import Path
from typing import Any

import numpy as np

from bss.data.decode.altered import Alteration

SIZ = b"\xff\x4f\xff\x51"
"""Start of a JPEG 2000 codestream; 42 bytes on is the first component's depth (ISO/IEC 15444-1, A.5.1)."""


def depth(opened: Any, path: Path) -> int:
    """Return the bits per value of an opened image if more than 8; call it before loading."""
    packing = opened.tile[0].args if opened.tile else ()
    if opened.format == "JPEG2000":
        return _jpeg2000_bits(path)
    if opened.format == "PPM":
        return int(packing[-1]).bit_length() if isinstance(packing, tuple) and isinstance(packing[-1], int) else 8
    return 16 if ";16" in str(packing) else 8


def wide_image(image: Any, bits: int) -> tuple[Alteration, ...]:
    """Return the loss of a loaded image whose file has `bits` per value.

    A 16-bit grey pixel counts if its lower 8 bits matter. For colours Pillow returns only the upper 8:
    all of them count, and the largest is a lower bound.
    """
    if image.mode.startswith("I"):
        pixels = np.asarray(image)
        lost = (pixels & 255 != 0) & (pixels & 255 != pixels >> 8)  # neither 256 nor 257 times an 8-bit value
        return (_reduced(16, int(np.count_nonzero(lost)), float(pixels[lost].max(initial=0))),)
    if bits <= 8:
        return ()
    pixels = np.asarray(image)
    return (_reduced(bits, pixels.size, float(int(pixels.max()) << (bits - 8))),)


def wide_frame(frame: Any) -> tuple[Alteration, ...]:
    """Return the loss of a video frame with more than 8 bits: all its values, the largest of its first plane."""
    bits = max(component.bits for component in frame.format.components)
    if bits <= 8:
        return ()
    order = ">u2" if frame.format.is_big_endian else "<u2"
    plane = frame.planes[0]
    rows = np.frombuffer(plane, dtype=order).reshape(plane.height, -1)[:, : plane.width]
    values = sum(component.width * component.height for component in frame.format.components)
    return (_reduced(bits, values, float(rows.max())),)


def _reduced(bits: int, values: int, largest: float) -> Alteration:
    return Alteration(f"reduced from {bits} bits to 8", values, largest)


def _jpeg2000_bits(path: Path) -> int:
    data = path.read_bytes()
    at = data.find(SIZ) + 42
    return (data[at] & 127) + 1 if 42 <= at < len(data) else 8
