"""An operation that torch refuses, met on a CPU: put_ raises there too, with the very words of CUDA."""

import warnings

import pytest
import torch
from torch import Tensor, nn

from bss.config.fusion import Concatenation
from bss.data.store import Store
from bss.errors import BssError
from bss.models import fusion
from bss.models.encoders import mlp
from bss.training.initial_network import compiled
from bss.training.nondeterminism import nondeterminism_named
from bss.training.reproducible import make_reproducible


class PutBackward(torch.autograd.Function):
    """Only does a put_ in its backward pass, whose order is undefined on a GPU."""

    @staticmethod
    def forward(context, inputs):
        return inputs.clone()

    @staticmethod
    def backward(context, gradient):
        return put(gradient)


def put(x: Tensor) -> Tensor:
    flat = x.clone().flatten()
    return flat.put_(torch.zeros(1, dtype=torch.int64), flat[:1].clone()).view_as(x)


class Refused(mlp.Mlp):
    """An encoder that torch refuses to train."""

    def encode(self, inputs):
        return PutBackward.apply(super().encode(inputs))


class RefusedFusion(fusion.ConcatenationFusion):
    def forward(self, features):
        return put(super().forward(features))


@pytest.fixture(autouse=True)
def settings():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode("default")


@pytest.fixture
def refused(monkeypatch):
    monkeypatch.setattr("bss.models.encoders.build.Mlp", Refused)


def measured(config, store, tmp_path):
    from bss.stages.measure import measure

    measure(config, store, tmp_path / "scores")


MESSAGE = (
    r"^params\.yaml: network\.{}: put_ has no deterministic implementation on a GPU in torch [\w.+]+\. Take another "
    r"kind of {}, or set resources\.deterministic to warn: two runs may then differ\.$"
)


def test_an_encoder_that_torch_refuses_in_its_backward_pass_is_named(refused, small_store, tree, make_config, tmp_path):
    with pytest.raises(BssError, match=MESSAGE.format(r"encoders\.vector", "encoder")):
        measured(make_config(tree), small_store, tmp_path)
    assert not (tmp_path / "scores").exists()


def test_a_fusion_that_torch_refuses_is_named(monkeypatch, small_store, tree, make_config, tmp_path):
    monkeypatch.setitem(fusion.KINDS, Concatenation, RefusedFusion)
    with pytest.raises(BssError, match=MESSAGE.format("fusion", "fusion")):
        measured(make_config(tree), small_store, tmp_path)


def test_warn_lets_it_train(refused, small_store, tree, make_config, tmp_path):
    tree["resources"] |= {"deterministic": "warn"}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        measured(make_config(tree), small_store, tmp_path)
    assert any("put_ does not have a deterministic implementation" in str(w.message) for w in caught)
    assert (tmp_path / "scores" / "summary.json").is_file()


def test_a_training_names_it_too_and_leaves_nothing(refused, pipeline, small_store, tmp_path):
    from bss.stages.train import train

    folder, config = pipeline
    with pytest.raises(BssError, match=r"network\.encoders\.vector: put_ has no deterministic"):
        train(config, small_store, folder / "scores", folder / "plans", tmp_path / "runs")
    assert not list((tmp_path / "runs").glob("*/*/model.pt"))


def test_an_operation_of_no_part_of_the_network_is_named_without_one(small_store, tree, make_config):
    make_reproducible()
    store = Store.open(small_store)
    with (
        pytest.raises(BssError, match=r"^params\.yaml: network: put_ has no .*\. Set resources\.deterministic to warn"),
        nondeterminism_named(make_config(tree), store),
    ):
        put(torch.zeros(3))


def test_what_torch_says_of_cublas_names_the_variable(monkeypatch, small_store, tree, make_config):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":1:1")
    message = (
        "this operation is not deterministic because it uses CuBLAS ... you must set CUBLAS_WORKSPACE_CONFIG=:16:8"
    )
    with (
        pytest.raises(BssError, match=r"^CUBLAS_WORKSPACE_CONFIG=:1:1 makes.*:4096:8 or :16:8\.$"),
        nondeterminism_named(make_config(tree), Store.open(small_store)),
    ):
        raise RuntimeError(message)


def test_other_errors_stay_as_they_are(small_store, tree, make_config):
    with (
        pytest.raises(RuntimeError, match="out of luck"),
        nondeterminism_named(make_config(tree), Store.open(small_store)),
    ):
        raise RuntimeError("out of luck")


def test_the_compiler_does_not_make_an_error_of_a_warning(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda module: module)
    make_reproducible("warn")
    compiled(nn.Identity(), torch.device("cpu"))
    assert torch.get_deterministic_debug_mode() == 1
    make_reproducible()
    compiled(nn.Identity(), torch.device("cpu"))
    assert torch.get_deterministic_debug_mode() == 2
