"""Check encoders from outside (kinds `python` and `huggingface`) before the first step of a trial."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.dropout import _DropoutNd

from bss.config import Config
from bss.config.own_encoders import HuggingfaceConfig, PythonConfig
from bss.data.store import Store
from bss.errors import BssError, first_line
from bss.models.encoders.python_module import PythonModule
from bss.models.network import MultiModalNetwork
from bss.training.samples.read_raw import read_raw
from bss.training.share_probe import require_independent


def check_encoders(network: MultiModalNetwork, config: Config, store: Store) -> None:
    """Raise `BssError`, which names the encoder, if one from outside cannot be trained as `config` says.

    It encodes the first two training samples, whose features must be finite, and the largest token of texts. Several
    ranks need batch normalisations that can take statistics of all ranks, dropout whose draws they can share, and
    otherwise features of a sample that depend on it alone. The random state and the network's buffers are as before.
    """
    outside = [n for n, e in config.network.encoders.items() if isinstance(e, PythonConfig | HuggingfaceConfig)]
    rows = store.rows("train")[:4]
    for name in outside:
        key = f"params.yaml: network.encoders.{name}"
        encoder, several = network.encoders[name], config.train.nodes * config.train.processes > 1
        if several:
            require_shareable(encoder, key)
        network.eval()
        with torch.no_grad():
            inputs = network.transform_one(name, read_raw(store, name, rows, next(network.parameters()).device))
        network.train()
        if len(rows) >= 2:
            _require_finite(encoder, inputs[:2], key, store.ids[rows[:2]].tolist())
        if isinstance(encoder, PythonModule):
            largest = store.modalities[name].largest
            if largest is not None and len(rows):
                token = torch.full_like(inputs[:1], largest)
                _encode(encoder, token, f"{key}: cannot encode the token id {largest}, the largest of the store")
            if len(rows) == 4 and several:
                require_independent(encoder.model, inputs, key)


def require_shareable(encoder: nn.Module, key: str) -> None:
    """Raise `BssError` if several ranks cannot share a batch normalisation or the draws of a dropout in `encoder`."""
    for name, module in encoder.named_modules():
        if isinstance(module, _DropoutNd) and not isinstance(module, nn.Dropout) and module.p > 0:
            raise BssError(
                f"{key}: {name} is a {type(module).__name__}; its random draws cannot be reproduced across processes. "
                "Use torch's Dropout, or set train.processes and train.nodes to 1."
            )
        if not isinstance(module, _NormBase):
            continue
        plain = type(module) in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
        whole = module.affine and module.track_running_stats and module.momentum is not None
        if isinstance(module, _BatchNorm) and not (plain and whole):
            raise BssError(
                f"{key}: {name} is a {type(module).__name__} that several processes cannot share: only torch's "
                "BatchNorm1d, 2d and 3d with affine=True, track_running_stats=True and a momentum can use the "
                "statistics of the whole batch. Use one of those, or set train.processes and train.nodes to 1."
            )


def _require_finite(encoder: nn.Module, inputs: Tensor, key: str, ids: list[str]) -> None:
    samples = f"the samples {' and '.join(map(repr, ids))}"
    features = _encode(encoder, inputs, f"{key}: cannot encode {samples}")
    if not bool(torch.isfinite(features).all()):
        raise BssError(
            f"{key}: its features of {samples} are not finite numbers (NaN or infinity). Check its weights, and look "
            "for division by zero or logarithms of non-positive values."
        )


def _encode(encoder: nn.Module, inputs: Tensor, problem: str) -> Tensor:
    encoder.eval()
    try:
        with torch.no_grad():
            features: Tensor = encoder(inputs)
    except Exception as error:  # the user's own code
        raise BssError(f"{problem}: {type(error).__name__}: {first_line(error)}") from error
    encoder.train()
    return features
