"""I3D: Inception-V1 inflated to three dimensions (Carreira and Zisserman, "Quo Vadis", 2017)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bss.config.encoders import I3dConfig
from bss.models.encoders.base import Encoder, require_shape

MIXED_3 = ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64))
MIXED_4 = (
    (192, 96, 208, 16, 48, 64),
    (160, 112, 224, 24, 64, 64),
    (128, 128, 256, 24, 64, 64),
    (112, 144, 288, 32, 64, 64),
    (256, 160, 320, 32, 128, 128),
)
MIXED_5 = ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128))
"""Channels of each inception block: 1 x 1 x 1; 1 x 1 x 1 and 3 x 3 x 3, twice; 1 x 1 x 1 after the pooling."""


class I3d(Encoder):
    """Clips [batch, frames, channels, height, width] of any size to features float [batch, width].

    It has no classifier and no dropout. As published, the last map is averaged over height and width
    and over pairs of neighbouring frames, and the pairs' means are averaged; or over the first frames, with
    `first_maps`.
    """

    def __init__(self, config: I3dConfig, shape: tuple[int, ...], modality: str) -> None:
        super().__init__(sum(MIXED_5[-1][i] for i in (0, 2, 4, 5)), config.features)
        self.channels, self.first_maps = config.features is None, config.first_maps
        require_shape(len(shape) == 4, modality, "i3d", "[frames, channels, height, width]", shape)
        layers: list[nn.Module] = [
            Unit(shape[1], 64, 7, stride=2),
            MaxPool(1, 3, stride=(1, 2)),
            Unit(64, 64, 1),
            Unit(64, 192, 3),
            MaxPool(1, 3, stride=(1, 2)),
        ]
        channels = 192
        for pool, blocks in (None, MIXED_3), (MaxPool(3, 3, stride=(2, 2)), MIXED_4), (MaxPool(2, 2, (2, 2)), MIXED_5):
            layers += [] if pool is None else [pool]
            for block in blocks:
                layers.append(Inception(channels, block))
                channels = block[0] + block[2] + block[4] + block[5]
        self.layers = nn.Sequential(*layers)
        for module in self.layers.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.momentum = config.batch_norm_momentum

    def encode(self, inputs: Tensor) -> Tensor:
        # [batch, channels, frames]
        maps = self.layers(inputs.transpose(1, 2)).mean(dim=(3, 4))
        if self.first_maps is not None:
            return maps[:, :, : self.first_maps].mean(dim=2)
        pairs: Tensor = maps if maps.shape[2] == 1 else (maps[:, :, :-1] + maps[:, :, 1:]) / 2
        return pairs.mean(dim=2)


class Inception(nn.Module):
    """Four parallel branches of convolutions and pooling over the same inputs."""

    def __init__(self, channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        one, before_three, three, before_other, other, pooled = widths
        self.branches = nn.ModuleList(
            [
                Unit(channels, one, 1),
                nn.Sequential(Unit(channels, before_three, 1), Unit(before_three, three, 3)),
                nn.Sequential(Unit(channels, before_other, 1), Unit(before_other, other, 3)),
                nn.Sequential(MaxPool(3, 3, stride=(1, 1)), Unit(channels, pooled, 1)),
            ]
        )

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.cat([branch(inputs) for branch in self.branches], dim=1)


class Unit(nn.Module):
    """A cubic convolution with same padding (divided by the stride), batch normalisation, ReLU."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.convolution = nn.Conv3d(channels, out, kernel, stride, bias=False)
        self.normalisation = nn.BatchNorm3d(out, eps=0.001)

    def forward(self, inputs: Tensor) -> Tensor:
        padding = [side for size in inputs.shape[:1:-1] for side in _sides(size, self.kernel, self.stride)]
        outputs: Tensor = self.normalisation(self.convolution(F.pad(inputs, padding)))
        return outputs.relu()


class MaxPool(nn.Module):
    """Maximum over `frames` frames and `side` x `side` pixels, padded as `Unit`; `stride`: of frames, of pixels.

    Pools over pixels, then over frames: of torch's poolings, only the two-dimensional one has a gradient
    that is deterministic on GPUs. Inputs are at least 0, so padding with 0 changes no maximum.
    """

    def __init__(self, frames: int, side: int, stride: tuple[int, int]) -> None:
        super().__init__()
        self.frames, self.side, self.stride = frames, side, stride

    def forward(self, inputs: Tensor) -> Tensor:
        batch, _, frames, height, width = inputs.shape
        over_frames, over_pixels = self.stride
        padding = [*_sides(width, self.side, over_pixels), *_sides(height, self.side, over_pixels)]
        # [batch x frames, channels, height, width], which preserves a channels-last layout
        images = F.pad(inputs.transpose(1, 2).flatten(0, 1), padding)
        images = F.max_pool2d(images, self.side, over_pixels)
        maps = images.unflatten(0, (batch, frames)).transpose(1, 2)
        if self.frames == over_frames == 1:
            return maps
        rows = F.pad(maps.flatten(3), [0, 0, *_sides(frames, self.frames, over_frames)])
        return F.max_pool2d(rows, (self.frames, 1), (over_frames, 1)).unflatten(3, maps.shape[3:])


def _sides(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return the padding before and after, so that `size` becomes size / stride, rounded up."""
    total = max(kernel - (stride if size % stride == 0 else size % stride), 0)
    return total // 2, total - total // 2
