"""The fusions of params.yaml: one dataclass per kind; docs/networks.md has their formulas."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from bss.balance.checks import require


@dataclass(frozen=True)
class Concatenation:
    """The features of all modalities side by side."""

    kind: Literal["concatenation"] = "concatenation"


@dataclass(frozen=True)
class Sum:
    """The sum of the modalities' features."""

    kind: Literal["sum"] = "sum"


@dataclass(frozen=True)
class WeightedSum:
    """The mean of the modalities' features with a learned weight for each modality."""

    kind: Literal["weighted-sum"] = "weighted-sum"


@dataclass(frozen=True)
class Film:
    """One modality scales and shifts the features of the others (FiLM, an affine transform)."""

    kind: Literal["film"] = "film"
    conditioner: str | None = None
    """The modality that scales and shifts; null takes the first of prepare.modalities."""


@dataclass(frozen=True)
class Gated:
    """Gated multimodal unit: each modality passes a gate that sees all modalities."""

    kind: Literal["gated"] = "gated"


@dataclass(frozen=True)
class MlLstm:
    """A multi-layer LSTM that reads the modalities' features one after the other."""

    kind: Literal["ml-lstm"] = "ml-lstm"
    layers: int = 2
    hidden: int = 256
    """Width of a layer's state."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.layers >= 1, "layers", self.layers, "at least 1")
        require(self.hidden >= 1, "hidden", self.hidden, "at least 1")


@dataclass(frozen=True)
class CrossAttention:
    """Each modality's features attend to those of all modalities."""

    kind: Literal["cross-attention"] = "cross-attention"
    heads: int = 4
    """Must divide the feature width."""

    def __post_init__(self) -> None:
        """Check the range."""
        require(self.heads >= 1, "heads", self.heads, "at least 1")


@dataclass(frozen=True)
class ChannelExchange:
    """A channel that its batch normalisation has scaled to nearly 0 takes the other modalities' mean.

    Needs encoders of one kind whose features are pooled channels: resnet or i3d, with `features: null`.
    """

    kind: Literal["channel-exchange"] = "channel-exchange"
    threshold: float = 0.02
    """A channel is exchanged while its scale is below this."""
    sparsity: float = 0.0002
    """Weight of the L1 norm of the scales in the training loss; it drives scales to 0."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.threshold >= 0, "threshold", self.threshold, "at least 0")
        require(self.sparsity >= 0, "sparsity", self.sparsity, "at least 0")


@dataclass(frozen=True)
class Cosine:
    """The sum of the modalities' scaled cosines with a learned direction per class (MMCosine); no bias."""

    kind: Literal["cosine"] = "cosine"
    scale: float = 10.0
    """Factor of the cosines; the authors take 10 to 15."""

    def __post_init__(self) -> None:
        """Check the range."""
        require(self.scale > 0, "scale", self.scale, "above 0")


AnyFusion = Concatenation | Sum | WeightedSum | Film | Gated | MlLstm | CrossAttention | ChannelExchange | Cosine
FusionConfig = Annotated[AnyFusion, Field(discriminator="kind")]
