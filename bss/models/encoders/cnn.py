"""A small convolutional encoder."""

from torch import Tensor, nn

from bss.config.encoders import CnnConfig
from bss.models.average_pool import AveragePool
from bss.models.encoders.base import Encoder, dropout_layers, require_shape

POOLED = 4
"""Height and width to which larger feature maps are pooled."""


class Cnn(Encoder):
    """Inputs [batch, channels, height, width], standardised, to features float [batch, features].

    Each 3 x 3 convolution halves height and width; the final map is pooled to at most 4 x 4.
    """

    def __init__(self, config: CnnConfig, shape: tuple[int, ...], modality: str) -> None:
        super().__init__(config.features, None)
        self.linear = True
        require_shape(len(shape) == 3, modality, "cnn", "[channels, height, width]", shape, ": use `mlp`")
        channels, height, width = shape
        layers: list[nn.Module] = [nn.BatchNorm2d(channels)]
        for out in config.channels:
            layers += [
                nn.Conv2d(channels, out, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(out),
                nn.ReLU(),
            ]
            channels, height, width = out, (height + 1) // 2, (width + 1) // 2
        pooled = min(height, POOLED), min(width, POOLED)
        self.layers = nn.Sequential(
            *layers,
            nn.Identity() if pooled == (height, width) else AveragePool((height, width), pooled),
            nn.Flatten(),
            *dropout_layers(config.dropout),
            nn.Linear(channels * pooled[0] * pooled[1], config.features),
        )

    def encode(self, inputs: Tensor) -> Tensor:
        features: Tensor = self.layers(inputs)
        return features
