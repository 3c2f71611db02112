"""How heads start."""

from dataclasses import replace
from typing import get_args

import pytest
import torch

from bss.config.encoders import MlpConfig, ResNetConfig
from bss.config.fusion import AnyFusion, Concatenation, Cosine
from bss.config.schema import NetworkConfig
from bss.data.store import Modality
from bss.models.network import build_network, describe_network

FUSIONS = [kind() for kind in get_args(AnyFusion)]


class TwoImages:
    """What `describe_network` reads of a store."""

    classes = tuple(str(i) for i in range(6))

    def __init__(self):
        self.modalities = dict.fromkeys(("near", "far"), Modality("image", (3, 16, 16), "uint8", None))


def networks(fusion, encoder):
    config = NetworkConfig({"near": encoder, "far": encoder}, fusion)
    return [
        build_network(describe_network(replace(config, head_initialisation=start), TwoImages()), 3)
        for start in ("torch", "xavier")
    ]


def test_xavier_is_normal_with_the_published_deviation_and_bias_0():
    _, xavier = networks(Concatenation("concatenation"), MlpConfig("mlp", features=512))
    for head, inputs in ((xavier.heads["near"], 512), (xavier.heads["far"], 512), (xavier.fusion.head, 1024)):
        assert head.weight.shape == (6, inputs)
        assert not head.bias.any()
        deviation = (2 / (inputs + 6)) ** 0.5  # 0.062 at width 512
        assert float(head.weight.detach().std()) == pytest.approx(deviation, rel=0.06)
        assert float(head.weight.detach().abs().max()) > 2.5 * deviation  # not uniform


@pytest.mark.slow
@pytest.mark.parametrize("fusion", FUSIONS, ids=lambda fusion: fusion.kind)
def test_all_else_starts_the_same(fusion):
    plain, xavier = networks(fusion, ResNetConfig("resnet", width=2))
    changed = {name for name, value in xavier.state_dict().items() if not torch.equal(value, plain.state_dict()[name])}
    heads = {f"{head}.{part}" for head in ("heads.near", "heads.far", "fusion.head") for part in ("weight", "bias")}
    if isinstance(fusion, Cosine):
        heads.remove("fusion.head.bias")  # it has none
    assert changed == heads
    again = networks(fusion, ResNetConfig("resnet", width=2))[1]
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in xavier.state_dict().items())
