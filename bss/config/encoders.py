"""The encoders of params.yaml: one dataclass per kind; the text under a field is its documentation."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from bss.balance.checks import require
from bss.config.crop import Crop
from bss.config.encoder_inputs import Normalisation, Spectrogram
from bss.config.own_encoders import HuggingfaceConfig, PythonConfig


@dataclass(frozen=True)
class CnnConfig:
    """A small convolutional encoder for images and, through a spectrogram, audio."""

    inputs: ClassVar[tuple[str, ...]] = ("audio", "image", "features")

    kind: Literal["cnn"]
    channels: tuple[int, ...] = (16, 32, 64)
    """Channels of each 3 x 3 convolution; each halves height and width."""
    features: int = 64
    """Length of the feature vector."""
    dropout: float = 0.0
    """Dropout rate on the pooled feature map while training, in [0, 1)."""
    spectrogram: Spectrogram | None = None
    """Needed for audio and only there."""
    crop: Crop | None = None
    """Augmentation and input size of images; null uses them as stored."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        ok = len(self.channels) >= 1 and all(c >= 1 for c in self.channels)
        require(ok, "channels", self.channels, "one or more positive numbers")
        require(self.features >= 1, "features", self.features, "at least 1")
        _check_dropout(self.dropout)


@dataclass(frozen=True)
class MlpConfig:
    """A multi-layer perceptron for features and small images."""

    inputs: ClassVar[tuple[str, ...]] = ("audio", "image", "features", "frames", "clip", "flow")

    kind: Literal["mlp"]
    hidden: tuple[int, ...] = (256,)
    """Width of each hidden layer; may be empty."""
    features: int = 64
    """Length of the feature vector."""
    dropout: float = 0.0
    """Dropout rate on the outputs of each hidden layer while training, in [0, 1)."""
    spectrogram: Spectrogram | None = None
    """Needed for audio and only there."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(all(h >= 1 for h in self.hidden), "hidden", self.hidden, "positive numbers")
        require(self.features >= 1, "features", self.features, "at least 1")
        _check_dropout(self.dropout)


@dataclass(frozen=True)
class ResNetConfig:
    """ResNet-18 or ResNet-50 (He et al., 2016) for spectrograms, images and frames of any number of channels.

    Frames are encoded one by one and their features averaged.
    """

    inputs: ClassVar[tuple[str, ...]] = ("audio", "image", "features", "frames", "clip", "flow")

    kind: Literal["resnet"]
    depth: Literal[18, 50] = 18
    """Layers."""
    width: int = 64
    """Channels of the stem, from which those of all stages follow; the published networks have 64."""
    features: int | None = None
    """Length of the feature vector, by a linear layer; null keeps the pooled channels (512 or 2048)."""
    normalisation: Normalisation = "imagenet"
    """Normalisation of images, frames and clips."""
    weights: str | None = None
    """Pretrained weights: a file, a folder, or a name on the Hugging Face Hub; null starts from scratch."""
    spectrogram: Spectrogram | None = None
    """Needed for audio and only there."""
    crop: Crop | None = None
    """Augmentation and input size of images, frames, clips and flow; null uses them as stored."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.width >= 1, "width", self.width, "at least 1")
        _check_features(self.features)


@dataclass(frozen=True)
class I3dConfig:
    """Inflated Inception-V1 (I3D; Carreira and Zisserman, 2017) for clips of any number of channels."""

    inputs: ClassVar[tuple[str, ...]] = ("frames", "clip", "flow")

    kind: Literal["i3d"]
    features: int | None = None
    """Length of the feature vector, by a linear layer; null keeps the 1024 pooled channels."""
    normalisation: Normalisation = "half"
    """Normalisation of frames and clips."""
    flow_limit: float = 20.0
    """Pixels; optical flow is cut to [-flow_limit, flow_limit] and divided by it."""
    batch_norm_momentum: float = 0.1
    """Weight of a new batch in the running statistics, in (0, 1]; the published network uses 0.01."""
    first_maps: int | None = None
    """The features are the mean of this many maps in time, the first ones, or of all if there are fewer; null
    takes the mean over all pairs of neighbouring maps. A map covers 8 frames."""
    weights: str | None = None
    """Pretrained weights: a file, a folder, or a name on the Hugging Face Hub; null starts from scratch."""
    crop: Crop | None = None
    """Augmentation and input size of frames, clips and flow; null uses them as stored."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        _check_features(self.features)
        require(self.flow_limit > 0, "flow_limit", self.flow_limit, "greater than 0")
        momentum = self.batch_norm_momentum
        require(0 < momentum <= 1, "batch_norm_momentum", momentum, "in (0, 1]")
        require(self.first_maps is None or self.first_maps >= 1, "first_maps", self.first_maps, "null or at least 1")


@dataclass(frozen=True)
class BertConfig:
    """BERT (Devlin et al., 2019) for token ids, 0 = padding; the pooled [CLS] output. Defaults: bert-base."""

    inputs: ClassVar[tuple[str, ...]] = ("text",)

    kind: Literal["bert"]
    vocabulary: int | None = 30522
    """Number of token ids; null: the vocabulary size of the stored texts' tokenizer."""
    hidden: int = 768
    """Width of a token's vector, a multiple of `heads`."""
    layers: int = 12
    heads: int = 12
    intermediate: int = 3072
    """Width between the two linear layers of a block."""
    positions: int = 512
    """Tokens of the longest text."""
    dropout: float = 0.1
    """Dropout rate on vectors and attention weights while training, in [0, 1)."""
    features: int | None = None
    """Length of the feature vector, by a linear layer; null keeps the pooled output (`hidden`)."""
    weights: str | None = None
    """Pretrained weights: a file, a folder, or a name on the Hugging Face Hub; null starts from scratch."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.vocabulary is None or self.vocabulary >= 2, "vocabulary", self.vocabulary, "null or at least 2")
        require(self.positions >= 1, "positions", self.positions, "at least 1")
        _check_transformer(self.hidden, self.layers, self.heads, self.intermediate)
        _check_dropout(self.dropout)
        _check_features(self.features)


@dataclass(frozen=True)
class VitConfig:
    """Vision transformer (Dosovitskiy et al., 2021) for images and frames; defaults: ViT-B/16.

    The features are the class token's. Frames are encoded one by one and their features averaged.
    """

    inputs: ClassVar[tuple[str, ...]] = ("image", "frames", "clip")

    kind: Literal["vit"]
    patch: int = 16
    """Height and width of a patch; those of the images are multiples of it."""
    hidden: int = 768
    """Width of a patch's vector, a multiple of `heads`."""
    layers: int = 12
    heads: int = 12
    intermediate: int = 3072
    """Width between the two linear layers of a block."""
    dropout: float = 0.0
    """Dropout rate on vectors and attention weights while training, in [0, 1)."""
    pooler: bool = False
    """A linear layer and tanh on the class token, as in pretraining on ImageNet-21k."""
    features: int | None = None
    """Length of the feature vector, by a linear layer; null keeps `hidden`."""
    normalisation: Normalisation = "half"
    """Normalisation of images, frames and clips."""
    weights: str | None = None
    """Pretrained weights: a file, a folder, or a name on the Hugging Face Hub; null starts from scratch."""
    crop: Crop | None = None
    """Augmentation and input size of images, frames and clips; null uses them as stored."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.patch >= 1, "patch", self.patch, "at least 1")
        _check_transformer(self.hidden, self.layers, self.heads, self.intermediate)
        _check_dropout(self.dropout)
        _check_features(self.features)


@dataclass(frozen=True)
class ClipImageConfig:
    """CLIP's image encoder (Radford et al., 2021) with its projection; defaults: ViT-B/32.

    Images are square. Frames are encoded one by one and their features averaged.
    """

    inputs: ClassVar[tuple[str, ...]] = ("image", "frames", "clip")

    kind: Literal["clip-image"]
    patch: int = 32
    """Height and width of a patch; those of the images are multiples of it."""
    hidden: int = 768
    """Width of a patch's vector, a multiple of `heads`."""
    layers: int = 12
    heads: int = 12
    intermediate: int = 3072
    """Width between the two linear layers of a block."""
    features: int = 512
    """Length of the feature vector: CLIP's projection."""
    normalisation: Normalisation = "clip"
    """Normalisation of images, frames and clips."""
    weights: str | None = None
    """Pretrained weights: a file, a folder, or a name on the Hugging Face Hub; null starts from scratch."""
    crop: Crop | None = None
    """Augmentation and input size of images, frames and clips; null uses them as stored."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.patch >= 1, "patch", self.patch, "at least 1")
        _check_transformer(self.hidden, self.layers, self.heads, self.intermediate)
        _check_features(self.features)


@dataclass(frozen=True)
class ClipTextConfig:
    """CLIP's text encoder (Radford et al., 2021) with its projection; defaults: ViT-B/32.

    Token ids as from CLIP's tokenizer: the largest id ends a text, followed by padding with 0.
    """

    inputs: ClassVar[tuple[str, ...]] = ("text",)

    kind: Literal["clip-text"]
    vocabulary: int = 49408
    """Number of token ids."""
    hidden: int = 512
    """Width of a token's vector, a multiple of `heads`."""
    layers: int = 12
    heads: int = 8
    intermediate: int = 2048
    """Width between the two linear layers of a block."""
    positions: int = 77
    """Tokens of the longest text."""
    features: int = 512
    """Length of the feature vector: CLIP's projection."""
    weights: str | None = None
    """Pretrained weights: a file, a folder, or a name on the Hugging Face Hub; null starts from scratch."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.vocabulary >= 3, "vocabulary", self.vocabulary, "at least 3")
        require(self.positions >= 1, "positions", self.positions, "at least 1")
        _check_transformer(self.hidden, self.layers, self.heads, self.intermediate)
        _check_features(self.features)


AnyEncoderConfig = (
    CnnConfig
    | MlpConfig
    | ResNetConfig
    | I3dConfig
    | BertConfig
    | VitConfig
    | ClipImageConfig
    | ClipTextConfig
    | PythonConfig
    | HuggingfaceConfig
)
EncoderConfig = Annotated[AnyEncoderConfig, Field(discriminator="kind")]

FROM_TRANSFORMERS = ("resnet", "bert", "vit", "clip-image", "clip-text", "huggingface")
"""Kinds built with the transformers package."""


def _check_dropout(dropout: float) -> None:
    require(0 <= dropout < 1, "dropout", dropout, "in [0, 1)")


def _check_features(features: int | None) -> None:
    require(features is None or features >= 1, "features", features, "at least 1")


def _check_transformer(hidden: int, layers: int, heads: int, intermediate: int) -> None:
    for name, value in (("layers", layers), ("heads", heads), ("intermediate", intermediate)):
        require(value >= 1, name, value, "at least 1")
    require(hidden >= 1 and hidden % heads == 0, "hidden", hidden, f"a multiple of `heads` ({heads})")
