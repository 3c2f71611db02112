"""Encoders from outside: `python`, a module of your own code, and `huggingface`, a model that AutoModel loads."""

import re
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from bss.balance.checks import require
from bss.config.crop import Crop
from bss.config.encoder_inputs import Normalisation, Spectrogram

FACTORY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
TRAINABLE = re.compile(r"none|all|lora|last:[1-9]\d*")


@dataclass(frozen=True)
class PythonConfig:
    """A `torch.nn.Module` of your own code, which maps a batch of inputs to float [batch, width]."""

    inputs: ClassVar[tuple[str, ...]] = ("audio", "image", "features", "frames", "clip", "flow", "text")

    kind: Literal["python"]
    factory: str
    """``package.module:function``, importable from the folder of params.yaml or installed; it returns the module."""
    width: int
    """Length of the vector that the module returns per sample."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of the factory."""
    features: int | None = None
    """Length of the feature vector, by a linear layer; null keeps `width`."""
    learning_rate: float | None = None
    """Learning rate of this encoder; null: train.optimiser.learning_rate. train.decay applies to it too."""
    normalisation: Normalisation = "none"
    """Normalisation of images, frames and clips; `none` keeps pixels in [0, 1]."""
    spectrogram: Spectrogram | None = None
    """Spectrogram of audio; null: the module takes waveforms in [-1, 1], [batch, samples]."""
    crop: Crop | None = None
    """Augmentation and input size of images, frames, clips and flow; null uses them as stored."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        right = "package.module:function"
        require(FACTORY.fullmatch(self.factory) is not None, "factory", self.factory, right)
        require(self.width >= 1, "width", self.width, "at least 1")
        require(all(name.isidentifier() for name in self.arguments), "arguments", list(self.arguments), "names")
        require(self.features is None or self.features >= 1, "features", self.features, "at least 1")
        _check_rate(self.learning_rate)


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters (Hu et al., 2022), by the package peft; the model's own weights are frozen, in eval mode."""

    r: int = 8
    """Rank of the update of each weight."""
    alpha: float = 8
    """The update is scaled by alpha / r."""
    dropout: float = 0.0
    """Dropout rate on the adapters' inputs."""
    target_modules: tuple[str, ...] | str | None = None
    """Layers that get adapters, by the ends of their names; `all-linear`: all linear layers; null: peft's default for
    the architecture, if it has one."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.r >= 1, "r", self.r, "at least 1")
        require(self.alpha > 0, "alpha", self.alpha, "greater than 0")
        require(0 <= self.dropout < 1, "dropout", self.dropout, "in [0, 1)")
        named = isinstance(self.target_modules, tuple) and self.target_modules != () and all(self.target_modules)
        fits = named or self.target_modules in (None, "all-linear")
        require(fits, "target_modules", self.target_modules, "a list of names of layers, all-linear, or null")


@dataclass(frozen=True)
class HuggingfaceConfig:
    """A pretrained model that `transformers.AutoModel` loads; of several towers, the one of the modality's kind."""

    inputs: ClassVar[tuple[str, ...]] = ("audio", "image", "frames", "clip", "text")

    kind: Literal["huggingface"]
    model: str
    """Name on the Hugging Face Hub, or a folder as `save_pretrained` writes it."""
    revision: str | None = None
    """Commit, tag or branch of a model on the hub; null: its main branch. The commit is recorded."""
    pooling: Literal["cls", "mean", "pooler"] = "mean"
    """Features: the first token's vector, the mean over all tokens (of text, without padding; of a convolutional
    network, over the map), or the model's own pooled output."""
    trainable: str = "none"
    """none: frozen, in eval mode, computed once per sample; last:N: the last N blocks and what follows them; all; lora:
    low-rank adapters alone."""
    lora: Lora | None = None
    """Options of `trainable: lora`; null: their defaults."""
    features: int | None = None
    """Length of the feature vector, by a linear layer, which is always trained; null keeps the model's."""
    learning_rate: float | None = None
    """Learning rate of this encoder; null: train.optimiser.learning_rate. train.decay applies to it too."""
    normalisation: Normalisation | None = None
    """Normalisation of images, frames and clips; null: that of the model's processor."""
    crop: Crop | None = None
    """Augmentation and input size of images, frames and clips; null uses them as stored."""
    preprocessing: Literal["checked", "unchecked"] = "checked"
    """checked: refuse sizes, rates, normalisation and tokens that differ from those of the model's processor."""
    pickle: bool = False
    """True also takes pytorch_model.bin, read weights-only, if there is no model.safetensors."""
    remote_code: bool = False
    """True runs Python code from the model's repository."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(bool(self.model.strip()), "model", self.model, "a folder or a name on the Hugging Face Hub")
        right = "none, last:N with N at least 1, all, or lora"
        require(TRAINABLE.fullmatch(self.trainable) is not None, "trainable", self.trainable, right)
        require(self.lora is None or self.trainable == "lora", "lora", "given", f"null for trainable {self.trainable}")
        require(self.features is None or self.features >= 1, "features", self.features, "at least 1")
        _check_rate(self.learning_rate)

    @property
    def frozen(self) -> bool:
        """Whether no weight of the model is trained."""
        return self.trainable == "none"


def _check_rate(rate: float | None) -> None:
    require(rate is None or rate > 0, "learning_rate", rate, "null or greater than 0")
