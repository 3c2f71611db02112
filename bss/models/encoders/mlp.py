"""A multi-layer perceptron."""

import math

from torch import Tensor, nn

from bss.config.encoders import MlpConfig
from bss.models.encoders.base import Encoder, dropout_layers


class Mlp(Encoder):
    """Inputs [batch, ...], flattened and standardised, to features float [batch, features]."""

    def __init__(self, config: MlpConfig, shape: tuple[int, ...]) -> None:
        super().__init__(config.features, None)
        self.linear = True
        width = math.prod(shape)
        layers: list[nn.Module] = [nn.Flatten(), nn.BatchNorm1d(width)]
        for hidden in config.hidden:
            layers += [nn.Linear(width, hidden), nn.ReLU(), *dropout_layers(config.dropout)]
            width = hidden
        self.layers = nn.Sequential(*layers, nn.Linear(width, config.features))

    def encode(self, inputs: Tensor) -> Tensor:
        features: Tensor = self.layers(inputs)
        return features
