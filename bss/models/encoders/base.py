"""Base class and helpers of all encoders."""

from collections.abc import Callable

from torch import Tensor, nn

from bss.errors import BssError


class Encoder(nn.Module):
    """Maps one modality's inputs [batch, ...] to features float [batch, width]; a batch may be empty.

    Parameters
    ----------
    own : length of the output of `encode`.
    features : length of the feature vector, by a linear layer; None keeps `own`.
    """

    def __init__(self, own: int, features: int | None) -> None:
        super().__init__()
        self.width = own if features is None else features
        self.linear = features is not None
        """Whether the features come from a linear layer; consumers then apply ReLU first."""
        self.channels = False
        """Whether each feature is a pooled convolution channel."""
        self.projection = nn.Identity() if features is None else nn.Linear(own, features)

    def encode(self, inputs: Tensor) -> Tensor:
        """Return float [batch, own]."""
        raise NotImplementedError

    def forward(self, inputs: Tensor) -> Tensor:
        features: Tensor = self.projection(self.encode(inputs))
        return features

    def activate(self, features: Tensor) -> Tensor:
        """Return this encoder's features as heads and fusion receive them."""
        return features.relu() if self.linear else features


def frame_by_frame(encode: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """Encode images [batch, channels, h, w], or average the encodings of frames [batch, frames, channels, h, w]."""
    if inputs.dim() == 4:
        return encode(inputs)
    encoded = encode(inputs.flatten(0, 1))
    return encoded.unflatten(0, inputs.shape[:2]).mean(dim=1)


def dropout_layers(p: float) -> list[nn.Module]:
    """Return the layers of dropout with probability `p`: none for 0, so that names of weights are those without it."""
    return [nn.Dropout(p)] if p > 0 else []


def require_shape(ok: bool, modality: str, kind: str, needs: str, shape: tuple[int, ...], fix: str = "") -> None:
    """Raise `BssError` if the inputs of `modality` do not fit an encoder of `kind`."""
    if not ok:
        raise BssError(
            f"params.yaml: network.encoders.{modality}.kind: `{kind}` needs inputs {needs}, "
            f"but `{modality}` has shape {list(shape)}{fix}."
        )


IMAGE_OR_FRAMES = "[channels, height, width] or [frames, channels, height, width]"
