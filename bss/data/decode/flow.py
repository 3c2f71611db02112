"""Optical flow: read from .npy files, or computed from frames."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bss.config.modalities import FlowKind
from bss.data.decode.altered import Alteration, Decoded
from bss.data.decode.bad_sample import BadSampleError, require_pixels
from bss.data.decode.features import open_array
from bss.data.decode.frame_source import open_frames
from bss.data.decode.paths import require_file
from bss.data.decode.rounding import as_type, coarse
from bss.data.decode.spans import Span, consecutive
from bss.errors import BssError
from bss.extras import not_installed

FARNEBACK: dict[str, Any] = {
    "pyr_scale": 0.5,
    "levels": 3,
    "winsize": 15,
    "iterations": 3,
    "poly_n": 5,
    "poly_sigma": 1.2,
    "flags": 0,
}
"""OpenCV's parameters: three halvings, windows of 15 pixels."""


@dataclass(frozen=True)
class _Grey:
    """Size of the frames from which flow is computed."""

    height: int
    width: int
    channels: int = 1


def decode_flow(path: Path, kind: FlowKind, root: Path, span: Span) -> Decoded:
    """Return `kind.frames` consecutive flows of the part `span`, float16 [frames, 2, height, width].

    The two channels are the movement to the right and down, in pixels at the stored size.
    """
    if kind.compute and path.suffix.lower() != ".npy":
        flows, altered = _compute(path, kind, root, span)
        return Decoded(as_type(flows, np.float16), altered)  # tiny OpenCV values that round to 0 are not a loss
    flows = _read(path, kind, root, span)
    stored = as_type(flows, np.float16)
    return Decoded(stored, coarse(flows, stored))


def require_opencv(modality: str) -> None:
    """Raise `BssError` if OpenCV is not installed; `modality` is named in the message."""
    try:
        import cv2  # noqa: F401
    except ImportError as error:
        raise BssError(
            f"params.yaml: prepare.modalities.{modality}.compute: computing optical flow needs OpenCV: "
            f"{not_installed('cv2')}. Set it to false if all flow is in .npy files."
        ) from error


def _compute(
    path: Path, kind: FlowKind, root: Path, span: Span
) -> tuple[npt.NDArray[np.float32], tuple[Alteration, ...]]:
    import cv2

    source = open_frames(path, root)
    if len(source) < 2:
        raise BadSampleError("has only one frame: no motion")
    # Flow i is the motion between frames i and i + 1.
    indices = consecutive(len(source) - 1, span, kind.frames, kind.short, kind.long)
    needed = np.unique([indices, indices + 1])
    frames = source.read(needed, _Grey(kind.height, kind.width))
    grey = frames.array[:, 0]
    flows: dict[int, Any] = {}
    for index in np.unique(indices).tolist():
        at = int(np.searchsorted(needed, index))
        out = np.zeros((kind.height, kind.width, 2), dtype=np.float32)
        flow = cv2.calcOpticalFlowFarneback(grey[at], grey[at + 1], out, **FARNEBACK)
        flows[index] = flow.transpose(2, 0, 1)
    return np.stack([flows[index] for index in indices.tolist()]), frames.altered


def _read(path: Path, kind: FlowKind, root: Path, span: Span) -> npt.NDArray[np.float32]:
    require_file(path, root)
    array = open_array(path)
    if array.dtype.kind == "b":
        raise BadSampleError("not a .npy array of numbers")
    if array.ndim != 4 or 2 not in array.shape[:2]:
        raise BadSampleError(
            f"has shape {list(array.shape)}; flow is [frames, 2, height, width] or [2, frames, height, width]"
        )
    if array.shape[1] != 2:
        array = array.swapaxes(0, 1)
    require_pixels(array.shape[3], array.shape[2])
    indices = consecutive(len(array), span, kind.frames, kind.short, kind.long)
    # One by one: the file's flows may be far larger than the stored ones.
    flows = {index: _resized(array[index], kind.height, kind.width) for index in np.unique(indices).tolist()}
    return np.stack([flows[index] for index in indices.tolist()])


def _resized(flow: npt.NDArray[Any], height: int, width: int) -> npt.NDArray[np.float32]:
    """Resize `flow` [2, ...] bilinearly to float32 and scale its vectors in proportion."""
    from PIL import Image

    flow = as_type(flow, np.float32)
    old_height, old_width = flow.shape[1:]
    if (old_height, old_width) == (height, width):
        return flow
    scale = width / old_width, height / old_height
    planes = [
        np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR)) * factor
        for plane, factor in zip(flow, scale, strict=True)
    ]
    return np.stack(planes).astype(np.float32)
