"""Cropping and flipping of images, frames, clips and flow: the key `crop` of an encoder."""

from dataclasses import dataclass
from typing import Literal

from bss.balance.checks import require

CROPPED = ("image", "frames", "clip", "flow")
"""Kinds of modalities that can be cropped."""
RUNS = ("clip", "flow")
"""Kinds with consecutive frames, which `frames` can select from."""


@dataclass(frozen=True)
class Crop:
    """What an encoder sees of each stored image: a part of it, resized to `height` x `width`.

    While training, each sample draws a new part in every epoch, shared by all its frames and modalities of equal
    stored size, unless `per_frame`. Evaluation and measuring in eval mode draw nothing.
    Resizing scales the vectors of flow, and a flip negates their horizontal component.
    """

    height: int
    """Pixels of the network's input."""
    width: int
    """Pixels of the network's input."""
    train: Literal["random-resized", "random", "whole"] = "random-resized"
    """A part of random size, aspect ratio and position, resized; a part of `height` x `width` at a random position; or
    the whole, resized."""
    scale: tuple[float, float] = (0.08, 1.0)
    """random-resized: smallest and largest area of the part, as a share of the whole."""
    ratio: tuple[float, float] = (0.75, 1.3333)
    """random-resized: smallest and largest ratio of width to height."""
    flip: bool = True
    """While training, flip half of the samples left to right."""
    evaluation: Literal["whole", "centre"] = "whole"
    """Evaluation uses the whole image, resized, or its centre part of `height` x `width`."""
    frames: int | None = None
    """Number of consecutive frames of a clip or flow, from a random start while training, otherwise the middle ones.
    Null takes all."""
    per_frame: bool = False
    """For frames: while training, draw part and flip per frame, not per sample."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.height >= 1, "height", self.height, "at least 1")
        require(self.width >= 1, "width", self.width, "at least 1")
        low, high = self.scale
        require(0 < low <= high <= 1, "scale", list(self.scale), "two numbers in (0, 1], the smaller first")
        low, high = self.ratio
        require(0 < low <= high, "ratio", list(self.ratio), "two numbers greater than 0, the smaller first")
        require(self.frames is None or self.frames >= 1, "frames", self.frames, "null or at least 1")

    @property
    def augments(self) -> bool:
        """Whether training sees different parts than evaluation."""
        return self.flip or self.frames is not None or (self.train, self.evaluation) != ("whole", "whole")

    def check_fit(self, kind: str, shape: tuple[int, ...], key: str) -> None:
        """Raise ValueError if stored samples of `shape` [(frames,) channels, height, width] are too small.

        `key` is the name of this section in messages.
        """
        height, width = shape[-2:]
        cut = "random" if self.train == "random" else "centre" if self.evaluation == "centre" else None
        for name, mine, stored in (("height", self.height, height), ("width", self.width, width)):
            require(cut is None or mine <= stored, f"{key}.{name}", mine, f"at most the stored {stored} if {cut}")
        require(not self.per_frame or kind == "frames", f"{key}.per_frame", True, f"false for kind {kind}")
        if self.frames is not None:
            require(kind in RUNS, f"{key}.frames", self.frames, f"null for kind {kind}")
            require(self.frames <= shape[0], f"{key}.frames", self.frames, f"at most the stored {shape[0]}")
