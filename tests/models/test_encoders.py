"""Every kind of encoder: shapes, published sizes, per-sample gradients, and what it refuses."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from transformers.models.bert.modeling_bert import BertModel

from bss.balance.criteria import gradient_magnitude
from bss.config.encoders import (
    BertConfig,
    ClipImageConfig,
    ClipTextConfig,
    CnnConfig,
    I3dConfig,
    MlpConfig,
    ResNetConfig,
    VitConfig,
)
from bss.errors import BssError
from bss.models.encoders.build import build_encoder
from bss.models.encoders.i3d import MaxPool, Unit

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = {"hidden": 16, "layers": 2, "heads": 2, "intermediate": 32}
TEXT = torch.tensor([[5, 9, 3, 29, 0, 0], [7, 29, 0, 0, 0, 0], [4, 4, 8, 6, 2, 29]])


def random_inputs(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


CASES = {
    "mlp": (MlpConfig("mlp", (8,), 5), random_inputs(3, 4, 2)),
    "cnn": (CnnConfig("cnn", (4,), 5), random_inputs(3, 2, 9, 7)),
    "mlp with dropout": (MlpConfig("mlp", (8,), 5, 0.5), random_inputs(3, 4, 2)),
    "cnn with dropout": (CnnConfig("cnn", (4,), 5, 0.5), random_inputs(3, 2, 9, 7)),
    "resnet on spectrograms": (ResNetConfig("resnet", width=2), random_inputs(3, 1, 33, 20)),
    "resnet-50 on frames": (ResNetConfig("resnet", 50, width=1, features=5), random_inputs(3, 2, 3, 16, 16)),
    "i3d": (I3dConfig("i3d", features=5), random_inputs(3, 4, 2, 16, 16)),
    "bert": (BertConfig("bert", 30, **TINY, positions=6), TEXT),
    "vit": (VitConfig("vit", 8, **TINY, features=5), random_inputs(3, 3, 16, 24)),
    "vit on frames": (VitConfig("vit", 8, **TINY, pooler=True), random_inputs(3, 2, 1, 16, 8)),
    "clip-image": (ClipImageConfig("clip-image", 8, **TINY, features=5), random_inputs(3, 3, 16, 16)),
    "clip-text": (ClipTextConfig("clip-text", 30, **TINY, positions=6, features=5), TEXT),
}


def build(config, inputs, seed=0):
    torch.manual_seed(seed)
    return build_encoder(config, inputs[0], "thing")


@pytest.fixture(params=CASES)
def case(request):
    config, inputs = CASES[request.param]
    return build(config, inputs), inputs


def test_features_are_finite_and_as_wide_as_the_encoder_says(case):
    encoder, inputs = case
    features = encoder(inputs)
    assert features.shape == (3, encoder.width)
    assert features.dtype == torch.float32
    assert features.isfinite().all()
    assert (features[0] != features[1]).any()
    assert (encoder.activate(features) >= 0).all() or not encoder.linear


def test_an_empty_batch_gives_no_features_and_all_parameters_take_part(case):
    encoder, inputs = case
    encoder.eval()  # batch normalisation of one process has no statistics of nothing
    features = encoder(inputs[:0])
    assert features.shape == (0, encoder.width)
    features.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in encoder.parameters())


def test_every_parameter_is_trained(case):
    encoder, inputs = case
    encoder(inputs).square().sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())


def test_a_sample_alone_has_the_features_that_it_has_in_a_batch(case):
    encoder, inputs = case
    encoder.eval()
    together = encoder(inputs)
    alone = torch.cat([encoder(one[None]) for one in inputs])
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["mlp with dropout", "cnn with dropout"])
def test_dropout_zeroes_half_of_what_the_last_layer_reads_and_doubles_the_rest(name):
    encoder, inputs = build(*CASES[name]), CASES[name][1]
    *_, dropout, last = encoder.layers
    read = []
    last.register_forward_pre_hook(lambda _, given: read.append(given[0]))
    encoder(inputs)
    dropout.p = 0.0
    encoder(inputs)
    dropped, whole = read
    assert ((dropped == 0) | (dropped == 2 * whole)).all()
    assert 0.2 < (dropped == 0)[whole != 0].float().mean() < 0.8


@pytest.mark.slow
@pytest.mark.filterwarnings("error::UserWarning")  # that an operation is slow because it has no rule for batches
def test_per_sample_gradients_are_those_of_a_backward_pass_whatever_the_chunk(case):
    encoder, inputs = case
    encoder.eval()
    labels = torch.tensor([0, 1, 1])

    def sample_loss(call, one, label):
        return F.cross_entropy(call(one["thing"])[:, :2], label)

    whole = gradient_magnitude(encoder, sample_loss, {"thing": inputs}, labels)
    chunked = gradient_magnitude(encoder, sample_loss, {"thing": inputs}, labels, chunk=2)
    torch.testing.assert_close(chunked, whole, atol=1e-6, rtol=1e-5)
    for i in range(3):
        encoder.zero_grad()
        F.cross_entropy(encoder(inputs[i : i + 1])[:, :2], labels[i : i + 1]).backward()
        norm = torch.stack([p.grad.square().sum() for p in encoder.parameters()]).sum().sqrt()
        torch.testing.assert_close(whole[i], norm, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("name", CASES)
def test_the_random_state_decides_the_weights(name):
    first, again, other = (build(*CASES[name], seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(value, again[key]) for key, value in first.items())
    assert not all(torch.equal(value, other[key]) for key, value in first.items())


@pytest.mark.parametrize(
    ("config", "shape", "published"),
    [
        (ResNetConfig("resnet", 18), (3, 224, 224), 11_176_512),
        (ResNetConfig("resnet", 50), (3, 224, 224), 23_508_032),
        (I3dConfig("i3d"), (64, 3, 224, 224), 12_697_264 - 410_000),  # less the classifier of 400 classes
        (BertConfig("bert"), (30,), 109_482_240),
        (VitConfig("vit"), (3, 224, 224), 85_798_656),
        (VitConfig("vit", pooler=True), (3, 224, 224), 86_389_248),
        (ClipImageConfig("clip-image"), (3, 224, 224), 87_849_216),
        # CLIP ViT-B/32 has 151,277,313 parameters; one of them is the scale of the logits.
        (ClipTextConfig("clip-text"), (77,), 151_277_313 - 1 - 87_849_216),
    ],
)
def test_the_defaults_have_the_published_numbers_of_parameters(config, shape, published):
    text = config.kind in ("bert", "clip-text")
    with torch.device("meta"):
        encoder = build_encoder(config, torch.zeros(shape, dtype=torch.int64 if text else torch.float32), "thing")
    assert sum(p.numel() for p in encoder.parameters()) == published
    width = {"resnet": {18: 512, 50: 2048}.get(getattr(config, "depth", 0)), "i3d": 1024, "bert": 768, "vit": 768}
    assert encoder.width == width.get(config.kind, 512)


def test_the_stem_of_a_resnet_takes_any_number_of_channels():
    counts = []
    for channels in (1, 2, 3):
        with torch.device("meta"):
            encoder = build_encoder(ResNetConfig("resnet"), torch.zeros(channels, 64, 64), "thing")
        counts.append(sum(p.numel() for p in encoder.parameters()))
    assert counts[2] - counts[1] == counts[1] - counts[0] == 7 * 7 * 64


@pytest.mark.parametrize("config", [ResNetConfig("resnet", width=2), VitConfig("vit", 8, **TINY)])
def test_features_of_frames_are_the_mean_of_those_of_each(config):
    frames = random_inputs(2, 5, 3, 16, 16)
    encoder = build(config, frames).eval()
    each = torch.stack([encoder(frames[:, i]) for i in range(5)])
    torch.testing.assert_close(encoder(frames), each.mean(dim=0), atol=1e-5, rtol=1e-4)


def test_padding_of_a_text_changes_nothing_and_bert_is_that_of_the_library():
    config, _ = CASES["bert"]
    encoder = build(config, TEXT).eval()
    torch.testing.assert_close(encoder(TEXT[:1, :4]), encoder(TEXT[:1]), atol=1e-6, rtol=1e-5)
    assert isinstance(encoder.model, BertModel)
    expected = encoder.model(input_ids=TEXT, attention_mask=(TEXT != 0).long()).pooler_output
    torch.testing.assert_close(encoder(TEXT), expected, atol=1e-6, rtol=1e-5)
    assert encoder(torch.zeros_like(TEXT)).isfinite().all()


def test_the_text_encoder_of_clip_does_not_look_behind_the_end_of_the_text():
    config, _ = CASES["clip-text"]
    encoder = build(config, TEXT).eval()
    changed = TEXT.clone()
    changed[0, 5], changed[1, 3:] = 3, 8
    torch.testing.assert_close(encoder(changed), encoder(TEXT), atol=1e-6, rtol=1e-5)
    changed[0, 1] = 8
    assert not torch.allclose(encoder(changed)[0], encoder(TEXT)[0])


def test_i3d_pools_as_a_three_dimensional_pooling_does():
    clips = random_inputs(2, 3, 5, 8, 6).relu()
    # Same padding: 5 frames and stride 2 need one on each side, 8 pixels one behind.
    expected = F.max_pool3d(F.pad(clips, (0, 1, 0, 1, 1, 1)), 3, 2)
    torch.testing.assert_close(MaxPool(3, 3, (2, 2))(clips), expected, atol=0, rtol=0)
    torch.testing.assert_close(MaxPool(3, 3, (1, 1))(clips), F.max_pool3d(clips, 3, 1, 1), atol=0, rtol=0)
    expected = F.max_pool3d(F.pad(clips, (0, 1, 0, 1)), (1, 3, 3), (1, 2, 2))
    torch.testing.assert_close(MaxPool(1, 3, (1, 2))(clips), expected, atol=0, rtol=0)


def test_i3d_halves_clips_as_published():
    unit = Unit(3, 4, 7, stride=2)
    assert unit(torch.zeros(2, 3, 64, 32, 31)).shape == (2, 4, 32, 16, 16)
    encoder = build(I3dConfig("i3d"), torch.zeros(1, 16, 1, 64, 64))
    shapes = []
    for layer in encoder.layers:
        layer.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape[1:])))
    encoder.eval()(torch.zeros(1, 16, 1, 64, 64))
    assert shapes[0] == (64, 8, 32, 32)
    assert shapes[-1] == (1024, 2, 2, 2)


@pytest.mark.slow
def test_i3d_averages_pairs_of_maps_or_the_first_ones():
    clips = random_inputs(2, 32, 3, 16, 16)  # 4 maps
    features = {}
    for count in (None, 1, 3, 4, 9):
        encoder = build(I3dConfig("i3d", first_maps=count), clips).eval()
        maps = encoder.layers(clips.transpose(1, 2)).mean(dim=(3, 4)).unbind(dim=2)
        assert len(maps) == 4
        features[count] = encoder(clips)
    first, second, third, fourth = maps
    torch.testing.assert_close(features[1], first)
    torch.testing.assert_close(features[3], (first + second + third) / 3)
    torch.testing.assert_close(features[4], (first + second + third + fourth) / 4)
    torch.testing.assert_close(features[9], features[4])
    torch.testing.assert_close(features[None], (first + 2 * second + 2 * third + fourth) / 6)


def test_the_momentum_of_i3ds_batch_normalisation_is_a_parameter():
    for momentum in (0.1, 0.01):
        encoder = build(I3dConfig("i3d", batch_norm_momentum=momentum), random_inputs(1, 8, 1, 16, 16))
        norms = [module for module in encoder.modules() if isinstance(module, torch.nn.BatchNorm3d)]
        assert {norm.momentum for norm in norms} == {momentum}
        assert len(norms) == 57


@pytest.mark.parametrize(
    ("config", "sample", "message"),
    [
        (CnnConfig("cnn"), torch.zeros(5), r"`cnn` needs inputs \[channels, height, width\], .*: use `mlp`"),
        (ResNetConfig("resnet"), torch.zeros(5, 5), r"`resnet` needs inputs \[channels, height, width\] or \[frames"),
        (I3dConfig("i3d"), torch.zeros(3, 8, 8), r"`i3d` needs inputs \[frames, channels, height, width\]"),
        (BertConfig("bert", positions=4), torch.zeros(5, dtype=torch.int64), r"positions = 4 tokens, .* shape \[5\]"),
        (BertConfig("bert"), torch.zeros(5), "`bert` does not take numbers"),
        (MlpConfig("mlp"), torch.zeros(5, dtype=torch.int64), "`mlp` does not take token ids"),
        (VitConfig("vit"), torch.zeros(3, 30, 32), "multiples of the patch, 16"),
        (ClipImageConfig("clip-image", 8), torch.zeros(3, 16, 24), "height = width"),
        (ClipTextConfig("clip-text"), torch.zeros(78, dtype=torch.int64), "positions = 77"),
    ],
)
def test_inputs_that_do_not_fit_are_reported_with_the_modality(config, sample, message):
    with pytest.raises(BssError, match=rf"network\.encoders\.thing\.kind: .*{message}"):
        build_encoder(config, sample, "thing")


@pytest.mark.process
def test_small_encoders_are_built_without_importing_transformers():
    code = """
import sys, torch
from bss.config.encoders import CnnConfig
from bss.models.encoders.build import build_encoder
build_encoder(CnnConfig("cnn"), torch.zeros(1, 8, 8), "a")
assert "transformers" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_missing_library_is_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(BssError, match=r"network\.encoders\.thing\.kind: `resnet` needs the package transformers"):
        build_encoder(ResNetConfig("resnet"), torch.zeros(3, 8, 8), "thing")
