"""Encoders: one modality's inputs to a feature vector."""

from torch import Tensor, nn

from bss.config.schema import CnnConfig, MlpConfig
from bss.errors import BssError

POOLED = 4
"""Height and width that the convolutional encoder is pooled to, where it is larger."""


class Mlp(nn.Module):
    """Inputs [batch, ...], flattened and standardised, to features float [batch, features]."""

    def __init__(self, config: MlpConfig, shape: tuple[int, ...]) -> None:
        super().__init__()
        width = 1
        for size in shape:
            width *= size
        layers: list[nn.Module] = [nn.Flatten(), nn.BatchNorm1d(width)]
        for hidden in config.hidden:
            layers += [nn.Linear(width, hidden), nn.ReLU()]
            width = hidden
        self.layers = nn.Sequential(*layers, nn.Linear(width, config.features))

    def forward(self, inputs: Tensor) -> Tensor:
        features: Tensor = self.layers(inputs)
        return features


class Cnn(nn.Module):
    """Inputs [batch, channels, height, width], standardised, to features float [batch, features].

    Each 3 x 3 convolution halves height and width; what is left is pooled to at most 4 x 4.
    """

    def __init__(self, config: CnnConfig, shape: tuple[int, ...]) -> None:
        super().__init__()
        channels, height, width = shape
        layers: list[nn.Module] = [nn.BatchNorm2d(channels)]
        for out in config.channels:
            layers += [
                nn.Conv2d(channels, out, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(out),
                nn.ReLU(),
            ]
            channels, height, width = out, (height + 1) // 2, (width + 1) // 2
        height, width = min(height, POOLED), min(width, POOLED)
        self.layers = nn.Sequential(
            *layers,
            nn.AdaptiveAvgPool2d((height, width)),
            nn.Flatten(),
            nn.Linear(channels * height * width, config.features),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        features: Tensor = self.layers(inputs)
        return features


def build_encoder(config: CnnConfig | MlpConfig, shape: tuple[int, ...], modality: str) -> nn.Module:
    """Return the encoder for network inputs of `shape` (without the batch)."""
    if isinstance(config, MlpConfig):
        return Mlp(config, shape)
    if len(shape) != 3:
        raise BssError(
            f"params.yaml: network.encoders.{modality}.kind: `cnn` needs inputs [channels, height, width], "
            f"but `{modality}` has shape {list(shape)}: use `mlp`."
        )
    return Cnn(config, shape)
