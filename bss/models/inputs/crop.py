"""Crops of stored images, resized on the training device."""

import math

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bss.config.crop import Crop
from bss.models.inputs.augmentation import AREA, FIRST, FLIP, LEFT, RATIO, TOP, of_each_frame
from bss.models.inputs.to_device import to_device

Floats = npt.NDArray[np.float64]


class Cropped(nn.Module):
    """Crops and resizes stored images uint8, or flow float16, [batch, (frames,) channels, height, width].

    Returns [batch, (frames,) channels, crop.height, crop.width] in the stored units: pixels in 0 .. 255, flow in
    pixels of the new size. Resamples like Pillow's BILINEAR with ``crop(box).resize(size)``. A GPU takes all samples
    in one batch, to float32. A CPU processes them one by one, to float32 for flow and uint8 for images, rounded twice
    like Pillow's: within 1.05 of the GPU's result. Samples do not influence each other there.
    """

    def __init__(self, crop: Crop, kind: str, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.crop, self.is_flow = crop, kind == "flow"
        self.height, self.width = shape[-2:]
        self.count = shape[0] if len(shape) == 4 else 1

    def forward(self, images: Tensor, drawn: Floats | None) -> Tensor:
        """Crop as determined by `drawn` [batch, DRAWS]; None crops as in evaluation."""
        crop, stacks = self.crop, images.shape[:2]
        stills = False
        if crop.per_frame and drawn is not None:
            stills, images, drawn = True, images.flatten(0, 1), of_each_frame(drawn, self.count)
        parts = np.tile(self._fixed(), (len(images), 1)) if drawn is None else self._drawn(drawn)
        # torch 2.13 resizes incorrectly to a width of one pixel on CPU.
        resize = resize_one_by_one if images.device.type == "cpu" and crop.width > 1 else resize_in_one
        resized = resize(images, parts, crop)
        if stills:
            return resized.unflatten(0, stacks)
        if not self.is_flow:
            return resized
        _, _, height, width, flipped, _ = parts.T
        speed = np.stack([crop.width / width * (1 - 2 * flipped), crop.height / height], axis=1)
        return resized * to_device(images.device, speed.astype(np.float32))[:, None, :, None, None]

    def _drawn(self, drawn: Floats) -> Floats:
        """Return top, left, height, width, flip, and first frame of each crop, [batch, 6]."""
        crop = self.crop
        if crop.train == "random-resized":
            parts = random_resized(drawn, self.height, self.width, crop.scale, crop.ratio)
        elif crop.train == "random":
            parts = _placed(drawn, self.height, self.width, crop.height, crop.width)
        else:
            parts = np.tile([0.0, 0.0, self.height, self.width], (len(drawn), 1))
        flipped = (drawn[:, FLIP] < 0.5) & crop.flip
        first = np.floor(drawn[:, FIRST] * (self.count - (crop.frames or self.count) + 1))
        return np.column_stack([parts, flipped, first])

    def _fixed(self) -> Floats:
        crop = self.crop
        first = (self.count - (crop.frames or self.count)) // 2
        if crop.evaluation == "whole":
            return np.array([[0.0, 0.0, self.height, self.width, 0.0, first]])
        top, left = (self.height - crop.height) // 2, (self.width - crop.width) // 2
        return np.array([[top, left, crop.height, crop.width, 0.0, first]], dtype=np.float64)


def resize_one_by_one(images: Tensor, parts: Floats, crop: Crop) -> Tensor:
    """Return the `parts` [batch, 6] of `images`, resized: uint8 of uint8, float32 of others."""
    pixels = images.dtype == torch.uint8
    stacks = images if images.dim() == 5 else images[:, None]
    shape = (len(stacks), crop.frames or stacks.shape[1], stacks.shape[2], crop.height, crop.width)
    results = torch.empty(shape, dtype=torch.uint8 if pixels else torch.float32)
    for stack, numbers, result in zip(stacks, parts.astype(np.int64).tolist(), results, strict=True):
        top, left, height, width, flipped, first = numbers
        part = stack[first : first + len(result), :, top : top + height, left : left + width]
        if flipped:
            part = part.flip(-1)
        result.copy_(F.interpolate(part if pixels else part.float(), shape[-2:], mode="bilinear", antialias=True))
    return results if images.dim() == 5 else results[:, 0]


def resize_in_one(images: Tensor, parts: Floats, crop: Crop) -> Tensor:
    """Return the `parts` [batch, 6] of `images`, resized in float32 by two multiplications with matrices."""
    top, left, height, width, flipped, first = to_device(images.device, parts).unbind(dim=1)
    if crop.frames is not None:
        frames = first.long()[:, None] + torch.arange(crop.frames, device=images.device)
        images = images[torch.arange(len(images), device=images.device)[:, None], frames]
    down = resampling(top, height, crop.height, images.shape[-2])
    across = resampling(left, width, crop.width, images.shape[-1], flipped > 0)
    stack = images.flatten(1, -3).float()
    resized = torch.einsum("kmij,kwj->kmiw", stack, across)
    resized = torch.einsum("kmiw,khi->kmhw", resized, down)
    return resized.reshape(*images.shape[:-2], crop.height, crop.width)


def resampling(start: Tensor, size: Tensor, out: int, stored: int, mirrored: Tensor | None = None) -> Tensor:
    """Return matrices that resample `size` of `stored` pixels, from `start`, to `out` pixels.

    float32 [batch, out, stored]; `start` and `size` are integers in float64 [batch], `mirrored` bool [batch]. A
    pixel of the result is the triangle-weighted mean of pixels of the crop; the triangle is two result pixels or two
    stored pixels wide, whichever is larger.
    """
    number = torch.arange(out, dtype=torch.float64, device=start.device).expand(len(start), -1)
    if mirrored is not None:
        number = torch.where(mirrored[:, None], out - 1 - number, number)
    step = (size / out)[:, None]
    centre = start[:, None] + (number + 0.5) * step
    pixel = torch.arange(stored, dtype=torch.float64, device=start.device) + 0.5
    weights = (1 - (pixel - centre[:, :, None]).abs() / step.clamp(min=1)[:, :, None]).clamp(min=0)
    weights *= ((pixel > start[:, None]) & (pixel < (start + size)[:, None]))[:, None]
    return (weights / weights.sum(dim=2, keepdim=True)).float()


def random_resized(
    drawn: Floats, height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> Floats:
    """Return a random resized crop of each `height` x `width` image: top, left, height, width [k, 4].

    Area and ratio are drawn until the crop fits, like in torchvision's RandomResizedCrop: the area uniform in
    `scale`, the logarithm of width over height uniform in that of `ratio`. If none fits, it is the largest centre
    crop with an allowed ratio.
    """
    area = height * width * (scale[0] + drawn[:, AREA] * (scale[1] - scale[0]))
    low, high = math.log(ratio[0]), math.log(ratio[1])
    aspect = np.exp(low + drawn[:, RATIO] * (high - low))
    widths, heights = np.rint(np.sqrt(area * aspect)), np.rint(np.sqrt(area / aspect))
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    chosen = np.arange(len(drawn)), fits.argmax(axis=1)
    parts = _placed(drawn, height, width, heights[chosen], widths[chosen])
    parts[~fits.any(axis=1)] = _centred(height, width, ratio)
    return parts


def _placed(drawn: Floats, height: int, width: int, part_height: Floats | int, part_width: Floats | int) -> Floats:
    top = np.floor(drawn[:, TOP] * (height - part_height + 1))
    left = np.floor(drawn[:, LEFT] * (width - part_width + 1))
    return np.stack(np.broadcast_arrays(top, left, part_height, part_width), axis=1).astype(np.float64)


def _centred(height: int, width: int, ratio: tuple[float, float]) -> tuple[float, float, float, float]:
    part_height, part_width = height, width
    if width / height < ratio[0]:
        part_height = max(1, round(width / ratio[0]))
    elif width / height > ratio[1]:
        part_width = max(1, round(height * ratio[1]))
    return (height - part_height) // 2, (width - part_width) // 2, part_height, part_width
