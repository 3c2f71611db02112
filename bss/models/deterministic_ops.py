"""Find the operations of a network without a deterministic GPU implementation; needs no GPU."""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from bss.data.sounds import Sounds
from bss.data.store import Modality
from bss.models.inputs.augmentation import Augmentation
from bss.models.network import MultiModalNetwork, Outputs
from bss.models.nondeterministic import NONDETERMINISTIC, Nondeterministic

META = torch.device("meta")
"""Meta tensors: they dispatch like on a GPU, without time or memory."""

Pass = Callable[[], None]


@dataclass(frozen=True)
class Finding:
    """An operation that raises on a GPU if resources.deterministic is error."""

    part: str
    """The params.yaml key of this part of the network: network.encoders.<modality> or network.fusion."""
    operator: str
    """The aten operator, such as _adaptive_avg_pool2d_backward."""
    documented: tuple[str, ...]
    """Names of the operation in torch's documentation, if any."""

    def __str__(self) -> str:
        names = f" ({' or '.join(self.documented)})" if self.documented else ""
        return f"{self.part}: {self.operator}{names}"


class Recorder(TorchDispatchMode):
    """Records the aten operators dispatched inside, forward and backward."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        """Names without overloads, in order."""
        self.found: dict[str, Nondeterministic] = {}
        """The nondeterministic ones on CUDA."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = function.overloadpacket.__name__
        self.calls.append(name)
        entry = _ENTRIES.get(name)
        if entry is not None and entry.when(_arguments(function, args, kwargs)):
            self.found[name] = entry
        return function(*args, **kwargs)


_ENTRIES = {operator: entry for entry in NONDETERMINISTIC for operator in entry.operators}


def _arguments(function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    schema = function._schema.arguments
    defaults = {argument.name: argument.default_value for argument in schema if argument.has_default_value()}
    return {**defaults, **dict(zip((argument.name for argument in schema), args, strict=False)), **kwargs}


def nondeterministic_operations(network: MultiModalNetwork, modalities: Mapping[str, Modality]) -> list[Finding]:
    """Return the operations of training `network` on `modalities` that are nondeterministic on CUDA.

    Covers crops, transforms, encoders, fusion and losses, forward and backward, in train mode;
    they are the same in fp32 and bf16. `network` is not changed; nothing is computed.
    """
    shadow = _on_meta(network)
    findings = []
    for part, run in passes(shadow, modalities, META):
        with Recorder() as recorder:
            run()
        findings += [Finding(part, name, entry.documented) for name, entry in recorder.found.items()]
    return findings


def part_that_raises(
    network: MultiModalNetwork, modalities: Mapping[str, Modality], device: torch.device, text: str
) -> str | None:
    """Return the key of the part of `network`, which is on `device`, whose pass raises a RuntimeError with `text`."""
    for part, run in passes(network, modalities, device):
        try:
            run()
        except RuntimeError as error:
            if text in str(error):
                return part
    return None


def passes(
    network: MultiModalNetwork, modalities: Mapping[str, Modality], device: torch.device
) -> Iterator[tuple[str, Pass]]:
    """Yield the key of each part of `network`, which is on `device`, and its pass forward and backward.

    Uses two samples of zeros in train mode, which updates batch statistics and leaves gradients.
    """
    network.train()
    for name, modality in modalities.items():
        yield f"network.encoders.{name}", partial(_encode, network, name, modality, device)
    yield "network.fusion", partial(_fuse, network, device)


def _encode(network: MultiModalNetwork, name: str, modality: Modality, device: torch.device) -> None:
    drawn = Augmentation(0, "training", 0).draw(np.arange(2))
    with torch.no_grad():
        inputs = network.transform_one(name, two_samples(modality, device), drawn)
    encoder = network.encoders[name]
    features = encoder.activate(encoder(inputs)).sum()  # type: ignore[operator]
    if features.requires_grad:  # not of an encoder that is frozen as a whole
        features.backward()


def _fuse(network: MultiModalNetwork, device: torch.device) -> None:
    features = {
        name: torch.zeros(2, int(encoder.width), device=device, requires_grad=True)  # type: ignore[arg-type]
        for name, encoder in network.encoders.items()
    }
    logits = {name: head(features[name]) for name, head in network.heads.items()}
    labels = torch.zeros(2, dtype=torch.int64, device=device)
    loss = network.loss(Outputs(logits, network.fusion(features), features), labels).sum()
    penalty = network.fusion.penalty()
    (loss if penalty is None else loss + penalty).backward()


def two_samples(modality: Modality, device: torch.device) -> Tensor | Sounds:
    """Return stored samples of zeros on `device`; the second sound is half as long."""
    dtype = getattr(torch, modality.dtype)
    if modality.kind != "audio":
        return torch.zeros(2, *modality.shape, dtype=dtype, device=device)
    lengths = np.array([modality.shape[0], (modality.shape[0] + 1) // 2])
    return Sounds(torch.zeros(int(lengths.sum()), dtype=dtype, device=device), lengths)


def _on_meta(network: MultiModalNetwork) -> MultiModalNetwork:
    """Return a copy on the meta device, so that even large networks cost nothing."""
    emptied: dict[int, Tensor] = {id(x): torch.empty_like(x, device=META) for x in network.buffers()}
    for parameter in network.parameters():
        emptied[id(parameter)] = nn.Parameter(torch.empty_like(parameter, device=META), parameter.requires_grad)
    return copy.deepcopy(network, emptied)
