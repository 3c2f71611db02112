"""Passes of encoders that a strategy asks for besides those of the step."""

from collections.abc import Mapping

import torch
from torch import Tensor

from bss.models.network import IGNORED, MultiModalNetwork
from bss.strategies import Taught
from bss.training.frozen import evaluating


def encode_again(network: MultiModalNetwork, inputs: Mapping[str, Tensor], ignored: Tensor | None) -> dict[str, Tensor]:
    """Return the features of `inputs` as heads and fusion take them, by encoders in eval mode: it draws nothing.

    They are zero where `ignored` bool [batch, modalities] says so.
    """
    given = dict(inputs) if ignored is None else {**inputs, IGNORED: ignored}
    with evaluating(*(network.encoders[name] for name in inputs)):
        return network.activate(network.encode(given))


def taught_by(teachers: MultiModalNetwork, inputs: Mapping[str, Tensor], ignored: Tensor | None) -> Taught:
    """Return what the teachers say of `inputs`, zero where `ignored` says so."""
    with torch.no_grad():
        features = teachers.without_ignored(teachers.activate(teachers.encode(inputs)), ignored)
        return Taught(features, teachers.without_ignored(teachers.classify(features), ignored))
