import functools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers as hf
from torch import nn

from bss.config.encoders import MlpConfig
from bss.config.own_encoders import HuggingfaceConfig, PythonConfig
from bss.config.schema import NetworkConfig
from bss.data.store import Modality
from bss.models.encoders.build import build_encoder
from bss.models.network import build_network, describe_network
from bss.training.distributed.dropout import dropout_of, dropout_over
from bss.training.distributed.ranks import ALONE, Ranks
from tests.models.small_models import AUDIO, WHISPER, stored_samples


def steps_of(batches, seed, purpose, epoch, first=0):
    """Yield each of `batches` with the generators seeded for its step."""
    with dropout_of(seed, purpose, epoch) as seed_step:
        for step, batch in enumerate(batches, first):
            seed_step(step)
            yield batch


def drawn(*arguments, **keywords):
    """What dropout draws in each of three steps."""
    return [torch.rand(4) for _ in steps_of(range(3), *arguments, **keywords)]


def test_draws_are_decided_by_seed_purpose_epoch_and_step_alone():
    torch.manual_seed(5)
    first = drawn(1, "training", 2)
    torch.rand(7)
    again = drawn(1, "training", 2)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    others = [drawn(0, "training", 2), drawn(1, "measuring", 2), drawn(1, "training", 3)]
    different = np.stack([torch.stack(draws).numpy() for draws in (first, *others)]).reshape(12, 4)
    assert len(np.unique(different, axis=0)) == 12
    assert all(torch.equal(a, b) for a, b in zip(drawn(1, "training", 2, 1)[:2], first[1:], strict=True))


def test_a_step_draws_the_same_whatever_the_steps_before_have_drawn():
    draws = []
    for more in (0, 5):
        last = None
        for _ in steps_of(range(3), 0, "training", 0):
            last = torch.rand(2)
            torch.rand(more)
        draws.append(last)
    assert torch.equal(*draws)


def test_the_state_outside_is_left_as_it_was():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    drawn(0, "training", 0)
    assert torch.equal(torch.get_rng_state(), before)


class OfFrames(nn.Module):
    """Takes samples [n, frames, 5]: one dropout over all frames as rows, one over whole samples, one in no sample."""

    def __init__(self):
        super().__init__()
        self.rows, self.samples, self.none = nn.Dropout(0.4), nn.Dropout(0.2), nn.Dropout(0.0)

    def forward(self, inputs):
        rows = self.none(self.rows(inputs.flatten(0, 1)))
        return self.samples(rows.unflatten(0, inputs.shape[:2]))


def passed_on(network, inputs, ranks):
    """What comes out of a rank's share in each of two steps."""
    sharing = dropout_over(network, ranks)
    outputs = []
    for batch in steps_of([inputs, inputs], 0, "training", 0):
        with sharing(len(batch)):
            outputs.append(network(batch[ranks.rank :: ranks.count]))
    return torch.stack(outputs)


@pytest.mark.parametrize("count", [2, 3, 7])
@pytest.mark.parametrize("training", [True, False])
def test_ranks_drop_what_one_rank_would(count, training):
    network, inputs = OfFrames().train(training), torch.randn(7, 3, 5, generator=torch.Generator().manual_seed(0))
    alone = passed_on(network, inputs, ALONE)
    shares = torch.full_like(alone, torch.nan)
    for rank in range(count):
        shares[:, rank::count] = passed_on(network, inputs, Ranks(rank, count))
    torch.testing.assert_close(shares, alone, atol=0, rtol=1e-6)
    assert training == bool(0.3 < (alone == 0).float().mean() < 0.7)


def whisper(folder):
    """The encoder of a trained Whisper, whose dropout is no module and gets a transposed tensor; and inputs."""
    settings = hf.WhisperConfig(**WHISPER, dropout=0.4)
    hf.AutoModel.from_config(settings).save_pretrained(folder)
    hf.WhisperFeatureExtractor(feature_size=8, chunk_length=1).save_pretrained(folder)
    encoders = {"thing": HuggingfaceConfig("huggingface", str(folder), trainable="all"), "other": MlpConfig("mlp")}
    modalities = {"thing": AUDIO, "other": Modality("features", (3,), "float32")}
    store = SimpleNamespace(classes=("cat", "dog"), modalities=modalities)
    network = build_network(describe_network(NetworkConfig(encoders), store), 1)
    return network.encoders["thing"], network.transform_one("thing", stored_samples(AUDIO, 7))


def of_own_code(folder):
    """A module that calls torch's function; and inputs."""

    class Dropping(nn.Linear):
        def forward(self, inputs):
            return nn.functional.dropout(super().forward(inputs), 0.4, self.training)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bss.models.encoders.python_module.load_factory", lambda *_: functools.partial(Dropping, 5, 4))
        return build_encoder(PythonConfig("python", "dropping:net", 4), torch.zeros(5), "thing"), torch.randn(7, 5)


@pytest.mark.parametrize("made", [whisper, of_own_code])
def test_ranks_drop_what_one_rank_would_without_a_module_of_dropout(made, tmp_path):
    encoder, inputs = made(tmp_path)
    assert not [m for m in encoder.modules() if isinstance(m, nn.Dropout) and m.p > 0]
    with torch.no_grad():
        alone = passed_on(encoder.train(), inputs, ALONE)
        for rank in range(2):
            torch.testing.assert_close(passed_on(encoder, inputs, Ranks(rank, 2)), alone[:, rank::2])
    assert not torch.equal(alone[0], alone[1])


def test_a_rank_without_a_sample_passes_on_what_its_encoder_makes_up():
    network = OfFrames()
    with dropout_over(network, Ranks(2, 3))(2):
        assert network(torch.ones(1, 3, 5)).shape == (1, 3, 5)
