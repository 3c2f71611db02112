"""Common parts of the transformer encoders."""

from typing import Any

from torch import Tensor

from bss.config.encoders import BertConfig, ClipImageConfig, ClipTextConfig, VitConfig
from bss.models.encoders.base import Encoder, require_shape

ATTENTION = "eager"
"""The only attention of the library that is deterministic on GPUs and supports per-sample gradients."""


class Transformer(Encoder):
    """An encoder whose `encode_some` needs at least one sample."""

    def encode_some(self, inputs: Tensor) -> Tensor:
        """Return float [batch, own] for a non-empty batch."""
        raise NotImplementedError

    def encode(self, inputs: Tensor) -> Tensor:
        if len(inputs) == 0:  # a rank's share of a small batch; its parameters still take part
            return self.encode_some(inputs.new_zeros(1, *inputs.shape[1:]))[:0]
        return self.encode_some(inputs)


def library_sizes(config: BertConfig | ClipImageConfig | ClipTextConfig | VitConfig) -> dict[str, Any]:
    """Return the settings that all transformer configurations of the library share, by the library's names."""
    return {
        "hidden_size": config.hidden,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.intermediate,
        "attn_implementation": ATTENTION,
    }


def require_tokens(shape: tuple[int, ...], positions: int, modality: str, kind: str) -> None:
    """Raise `BssError` if texts are longer than the network's positions."""
    needs = f"[tokens] of at most network.encoders.{modality}.positions = {positions} tokens"
    require_shape(len(shape) == 1 and shape[0] <= positions, modality, kind, needs, shape)


def require_patches(shape: tuple[int, ...], patch: int, modality: str, kind: str) -> None:
    """Raise `BssError` if images do not divide into patches."""
    ok = len(shape) in (3, 4) and all(size % patch == 0 for size in shape[-2:])
    needs = f"[(frames,) channels, height, width] with height and width multiples of the patch, {patch}"
    require_shape(ok, modality, kind, needs, shape)
