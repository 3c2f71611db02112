"""Cropping and flipping of images, frames, clips and flow: the key `crop` of an encoder."""

from dataclasses import dataclass
from typing import Literal

from bss.balance.checks import require

CROPPED = ("image", "frames", "clip", "flow")
"""Kinds of modalities that can be cropped."""
RUNS = ("clip", "flow")
"""Those of which `frames` can take consecutive ones."""


@dataclass(frozen=True)
class Crop:
    """What an encoder sees of each stored image: a part of it, resized to `height` x `width`.

    While training the part is drawn anew for each sample and epoch, the same for all frames and modalities of
    a sample that are stored in one size, unless `per_frame`; evaluation and measuring in eval mode draw nothing.
    Flow is resized with its vectors in proportion, and a flip negates its horizontal component.
    """

    height: int
    """Pixels of the network's input."""
    width: int
    """Pixels of the network's input."""
    train: Literal["random-resized", "random", "whole"] = "random-resized"
    """A part of random size, aspect ratio and place, resized; a part of `height` x `width` at a random place; or
    the whole, resized."""
    scale: tuple[float, float] = (0.08, 1.0)
    """random-resized: least and greatest area of the part, as a share of the whole."""
    ratio: tuple[float, float] = (0.75, 1.3333)
    """random-resized: least and greatest width over height of the part."""
    flip: bool = True
    """While training half of the samples are mirrored, left and right."""
    evaluation: Literal["whole", "centre"] = "whole"
    """Otherwise: the whole, resized, or the part of `height` x `width` in its centre."""
    frames: int | None = None
    """Of a clip or flow: so many consecutive frames, from a random one on while training, else the middle ones.
    Null takes all."""
    per_frame: bool = False
    """Of frames: while training each frame gets a part and a flip of its own, not that of its sample."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.height >= 1, "height", self.height, "at least 1")
        require(self.width >= 1, "width", self.width, "at least 1")
        low, high = self.scale
        require(0 < low <= high <= 1, "scale", list(self.scale), "two numbers in (0, 1], the lesser first")
        low, high = self.ratio
        require(0 < low <= high, "ratio", list(self.ratio), "two numbers greater than 0, the lesser first")
        require(self.frames is None or self.frames >= 1, "frames", self.frames, "null or at least 1")

    @property
    def augments(self) -> bool:
        """Whether training sees other parts than evaluation."""
        return self.flip or self.frames is not None or (self.train, self.evaluation) != ("whole", "whole")

    def check_fit(self, kind: str, shape: tuple[int, ...], key: str) -> None:
        """Raise ValueError where stored samples of `shape` [(frames,) channels, height, width] are too small.

        `key` is the name of this section in messages.
        """
        height, width = shape[-2:]
        cut = "random" if self.train == "random" else "centre" if self.evaluation == "centre" else None
        for name, mine, stored in (("height", self.height, height), ("width", self.width, width)):
            require(cut is None or mine <= stored, f"{key}.{name}", mine, f"at most the stored {stored} where {cut}")
        require(not self.per_frame or kind == "frames", f"{key}.per_frame", True, f"false for kind {kind}")
        if self.frames is not None:
            require(kind in RUNS, f"{key}.frames", self.frames, f"null for kind {kind}")
            require(self.frames <= shape[0], f"{key}.frames", self.frames, f"at most the stored {shape[0]}")
