"""The multi-modal network: encoders, unimodal heads, a fusion head (paper section "Network")."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bss.balance.criteria import training_loss
from bss.config.load import config_to_tree
from bss.config.schema import EncoderConfig, NetworkConfig
from bss.data.store import Modality, Store
from bss.models.encoders import build_encoder
from bss.models.transform import LogSpectrogram, Numbers, Pixels


@dataclass
class Outputs:
    """What one forward pass gives."""

    logits: dict[str, Tensor]
    """Unimodal logits, [batch, classes] per modality."""
    fused: Tensor
    """Logits of the fusion head, [batch, classes]."""
    features: dict[str, Tensor]
    """Encoder features, [batch, features] per modality."""


class MultiModalNetwork(nn.Module):
    """Encoders, heads and fusion for the modalities of one store.

    `transform` turns stored samples into inputs, once; `forward` takes those.
    """

    def __init__(self, config: NetworkConfig, modalities: Mapping[str, Modality], classes: int) -> None:
        super().__init__()
        self.config = config
        self.transforms = nn.ModuleDict(
            {name: build_transform(config.encoders[name], modality) for name, modality in modalities.items()}
        )
        shapes = {name: input_shape(self.transforms[name], modality) for name, modality in modalities.items()}
        self.encoders = nn.ModuleDict(
            {name: build_encoder(config.encoders[name], shape, name) for name, shape in shapes.items()}
        )
        widths = {name: config.encoders[name].features for name in modalities}
        self.heads = nn.ModuleDict({name: nn.Linear(width, classes) for name, width in widths.items()})
        self.fusion = nn.Linear(sum(widths.values()), classes)

    def transform(self, raw: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Turn stored samples (waveforms, pixels, numbers; [batch, ...] each) into network inputs."""
        return {name: transform(raw[name]) for name, transform in self.transforms.items()}

    def forward(self, inputs: Mapping[str, Tensor]) -> Outputs:
        """Run encoders and heads on inputs from `transform`."""
        features = {name: encoder(inputs[name]) for name, encoder in self.encoders.items()}
        logits = {name: head(torch.relu(features[name])) for name, head in self.heads.items()}
        fused = self.fusion(torch.relu(torch.cat(list(features.values()), dim=1)))
        return Outputs(logits, fused, features)

    def loss(self, outputs: Outputs, labels: Tensor) -> Tensor:
        """Return each sample's training loss, float [batch]; `labels` are int64 [batch]."""
        weights = self.config.loss_weights
        return training_loss(outputs.fused, outputs.logits, labels, weights.fused, weights.unimodal)

    def scores(self, outputs: Outputs) -> Tensor:
        """Return the summed logits whose argmax is the prediction, [batch, classes]."""
        total = torch.stack(list(outputs.logits.values())).sum(dim=0)
        return total if self.config.prediction == "unimodal-heads" else total + outputs.fused


def build_transform(encoder: EncoderConfig, modality: Modality) -> nn.Module:
    """Return what turns this modality's stored samples into inputs."""
    if modality.kind == "audio":
        assert encoder.spectrogram is not None
        assert modality.sample_rate is not None
        return LogSpectrogram(encoder.spectrogram, modality.sample_rate)
    return Pixels() if modality.kind == "image" else Numbers()


def input_shape(transform: nn.Module, modality: Modality) -> tuple[int, ...]:
    """Return the shape of one input, found by transforming one stored sample of zeros."""
    sample = torch.zeros(1, *modality.shape, dtype=getattr(torch, modality.dtype))
    return tuple(transform(sample).shape[1:])


def describe_network(config: NetworkConfig, store: Store) -> dict[str, Any]:
    """Return the plain values from which `build_network` makes the same network (network.json)."""
    modalities = {
        name: {"kind": m.kind, "shape": list(m.shape), "dtype": m.dtype, "sample_rate": m.sample_rate}
        for name, m in store.modalities.items()
    }
    return {"network": config_to_tree(config), "modalities": modalities, "classes": list(store.classes)}


def build_network(
    description: Mapping[str, Any], seed: int = 0, device: torch.device | None = None
) -> MultiModalNetwork:
    """Build a freshly initialised network from `describe_network`'s values; `seed` decides the weights.

    The weights lie channels last in memory, which convolutions are faster with.
    """
    from pydantic import TypeAdapter

    config = TypeAdapter(NetworkConfig).validate_python(description["network"])
    modalities = {
        name: Modality(kind=m["kind"], shape=tuple(m["shape"]), dtype=m["dtype"], sample_rate=m["sample_rate"])
        for name, m in description["modalities"].items()
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = MultiModalNetwork(config, modalities, len(description["classes"]))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.to(device) if device is not None else network
