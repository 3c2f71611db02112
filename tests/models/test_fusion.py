"""Each fusion against its formula, written out for one sample."""

import math

import pytest
import torch
from torch.nn.functional import linear

from bss.balance.criteria import gradient_magnitude
from bss.config.fusion import (
    ChannelExchange,
    Concatenation,
    Cosine,
    CrossAttention,
    Film,
    Gated,
    MlLstm,
    Sum,
    WeightedSum,
)
from bss.errors import BssError
from bss.models.encoders.base import Encoder
from bss.models.fusion import build_fusion

ALL = [
    Concatenation(),
    Sum(),
    WeightedSum(),
    Film(),
    Gated(),
    MlLstm(hidden=7),
    CrossAttention(heads=2),
    ChannelExchange(),
    Cosine(),
]
CLASSES = 3


def encoders_of(widths, channels=True):
    made = {}
    for name, width in widths.items():
        made[name] = Encoder(width, None)
        made[name].channels = channels
    return made


def build(config, widths, seed=0):
    torch.manual_seed(seed)
    return build_fusion(config, encoders_of(widths), CLASSES)


def features_of(widths, n=4):
    random = torch.Generator().manual_seed(1)
    return {name: torch.randn(n, width, generator=random) for name, width in widths.items()}


def layer(module, x):
    return linear(x, module.weight, module.bias)


SAME = {"a": 6, "b": 6}
THREE = {"a": 6, "b": 6, "c": 6}
DIFFERENT = {"a": 6, "b": 4, "c": 5}


@pytest.mark.parametrize("config", ALL, ids=lambda config: config.kind)
@pytest.mark.parametrize("widths", [SAME, THREE, DIFFERENT], ids=["two", "three", "widths differ"])
def test_two_or_more_modalities_give_logits_and_train_every_parameter(config, widths):
    if isinstance(config, ChannelExchange) and widths is DIFFERENT:
        with pytest.raises(BssError, match=r"network\.fusion: `channel-exchange` needs encoders of one kind and one w"):
            build(config, widths)
        return
    fusion = build(config, widths)
    logits = fusion(features_of(widths))
    assert logits.shape == (4, CLASSES)
    logits.square().sum().backward()
    assert all(p.grad is not None for p in fusion.parameters())
    assert fusion.eval()(features_of(widths, 0)).shape == (0, CLASSES)


@pytest.mark.parametrize("config", ALL, ids=lambda config: config.kind)
@pytest.mark.filterwarnings("error::UserWarning")
def test_per_sample_gradients_are_those_of_a_backward_pass(config):
    fusion = build(config, THREE).eval()
    features = features_of(THREE)
    found = gradient_magnitude(fusion, lambda call, one, y: call(one)[0, 0], features, torch.zeros(4).long())
    for i in range(4):
        fusion.zero_grad()
        fusion({name: x[i : i + 1] for name, x in features.items()})[0, 0].backward()
        norm = torch.stack([p.grad.square().sum() for p in fusion.parameters()]).sum().sqrt()
        torch.testing.assert_close(found[i], norm, atol=1e-5, rtol=1e-4)


def test_concatenation_and_the_sums():
    x = features_of(THREE)
    fusion = build(Concatenation(), THREE)
    torch.testing.assert_close(fusion(x), layer(fusion.head, torch.cat([x["a"], x["b"], x["c"]], dim=1)))
    fusion = build(Sum(), THREE)
    torch.testing.assert_close(fusion(x), layer(fusion.head, x["a"] + x["b"] + x["c"]))
    fusion = build(WeightedSum(), THREE)
    torch.testing.assert_close(fusion(x), layer(fusion.head, (x["a"] + x["b"] + x["c"]) / 3))
    with torch.no_grad():
        fusion.weights.copy_(torch.tensor([math.log(2), 0.0, 0.0]))
    torch.testing.assert_close(fusion(x), layer(fusion.head, (2 * x["a"] + x["b"] + x["c"]) / 4))


def test_narrower_features_are_projected_to_the_widest():
    x, fusion = features_of(DIFFERENT), build(Sum(), DIFFERENT)
    layers = fusion.same_width.layers
    assert list(layers["a"].parameters()) == []
    expected = layer(fusion.head, x["a"] + layer(layers["b"], x["b"]) + layer(layers["c"], x["c"]))
    torch.testing.assert_close(fusion(x), expected)


@pytest.mark.parametrize("conditioner", [None, "b"])
def test_film_scales_and_shifts_the_others(conditioner):
    x, fusion = features_of(DIFFERENT), build(Film(conditioner=conditioner), DIFFERENT)
    first = conditioner or "a"
    parts = []
    for name in [name for name in DIFFERENT if name != first]:
        both = layer(fusion.affine[name], x[first])
        parts.append(both[:, : DIFFERENT[name]] * x[name] + both[:, DIFFERENT[name] :])
    torch.testing.assert_close(fusion(x), layer(fusion.head, torch.cat(parts, dim=1)))


def test_gates_see_all_modalities():
    x, fusion = features_of(DIFFERENT), build(Gated(), DIFFERENT)
    together = torch.cat(list(x.values()), dim=1)
    total = 0
    for name in DIFFERENT:
        gate = 1 / (1 + torch.exp(-layer(fusion.gates[name], together)))
        total = total + gate * torch.tanh(layer(fusion.hidden[name], x[name]))
    torch.testing.assert_close(fusion(x), layer(fusion.head, total))


def test_the_lstm_is_torchs_over_the_modalities():
    x, fusion = features_of(THREE), build(MlLstm(layers=2, hidden=7), THREE)
    lstm = torch.nn.LSTM(6, 7, num_layers=2, batch_first=True)
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    lstm.load_state_dict({f"{n}_l{i}": getattr(cell, n) for i, cell in enumerate(fusion.layers) for n in names})
    outputs, _ = lstm(torch.stack(list(x.values()), dim=1))
    torch.testing.assert_close(fusion(x), layer(fusion.head, outputs[:, -1]))


def test_attention_is_torchs_over_the_modalities():
    x, fusion = features_of(THREE), build(CrossAttention(heads=2), THREE)
    tokens = torch.stack(list(x.values()), dim=1)
    attention = torch.nn.MultiheadAttention(6, 2, batch_first=True)
    projections = (fusion.queries, fusion.keys, fusion.values)
    with torch.no_grad():
        attention.in_proj_weight.copy_(torch.cat([p.weight for p in projections]))
        attention.in_proj_bias.copy_(torch.cat([p.bias for p in projections]))
        attention.out_proj.load_state_dict(fusion.out.state_dict())
    attended = tokens + attention(tokens, tokens, tokens)[0]
    normed = torch.nn.functional.layer_norm(attended, (6,), fusion.norm.weight, fusion.norm.bias)
    torch.testing.assert_close(fusion(x), layer(fusion.head, normed.flatten(1)))


def test_a_number_of_heads_that_does_not_divide_the_width_is_reported():
    with pytest.raises(BssError, match=r"network\.fusion\.heads: must divide the width of the features \(6\), .*: 4"):
        build(CrossAttention(heads=4), THREE)


def test_channels_whose_scale_is_small_are_exchanged_in_a_modalitys_own_part_only():
    fusion = build(ChannelExchange(threshold=0.1, sparsity=0.5), THREE).eval()  # parts: channels 0-1, 2-3, 4-5
    scales = {"a": [0.05, 1, 0.05, 1, 1, 1], "b": [1, 1, 1, -0.01, 1, 1], "c": [1, 1, 1, 1, 1, 2]}
    with torch.no_grad():
        for name, values in scales.items():
            fusion.norms[name].weight.copy_(torch.tensor(values, dtype=torch.float32))
            fusion.norms[name].bias.copy_(torch.arange(6) / 10)
    x = features_of(THREE)
    normed = {  # the running statistics of a fresh batch normalisation are 0 and 1
        name: x[name] / math.sqrt(1 + 1e-5) * torch.tensor(values) + torch.arange(6) / 10
        for name, values in scales.items()
    }
    expected = {name: value.clone() for name, value in normed.items()}
    expected["a"][:, 0] = (normed["b"][:, 0] + normed["c"][:, 0]) / 2
    expected["b"][:, 3] = (normed["a"][:, 3] + normed["c"][:, 3]) / 2
    torch.testing.assert_close(fusion(x), layer(fusion.head, torch.cat(list(expected.values()), dim=1)))
    torch.testing.assert_close(fusion.penalty(), torch.tensor(0.5 * (0.05 + 1 + 1 + 0.01 + 1 + 2)))


def test_channel_exchange_is_refused_for_features_that_are_not_channels():
    with pytest.raises(BssError, match=r"features: null\), but got kinds \['encoder'\]"):
        build_fusion(ChannelExchange(), encoders_of(SAME, channels=False), CLASSES)


def test_cosines():
    fusion = build(Cosine(scale=10.0), {"a": 2, "b": 2})
    with torch.no_grad():
        fusion.head.weight.copy_(torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.0, 2.0, -1.0, 0.0], [1.0, 1.0, 1.0, 0.0]]))
    one = {"a": torch.tensor([[3.0, 4.0]]), "b": torch.zeros(1, 2)}
    expected = torch.tensor([[6.0, 8.0, 7 / 2**0.5 * 2]])
    torch.testing.assert_close(fusion(one), expected)
    both = one | {"b": torch.tensor([[0.0, 5.0]])}
    torch.testing.assert_close(fusion(both), expected + torch.tensor([[10.0, 0.0, 0.0]]))
    torch.testing.assert_close(fusion.restricted_to(["a"])({"a": one["a"]}), expected)
    torch.testing.assert_close(fusion.restricted_to(["b"])({"b": both["b"]}), torch.tensor([[10.0, 0.0, 0.0]]))


def test_only_channel_exchange_adds_to_what_training_minimises():
    for config in ALL:
        assert (build(config, SAME).penalty() is not None) == isinstance(config, ChannelExchange)
