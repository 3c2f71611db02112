"""The section `network` of params.yaml, and whether an encoder fits its modality."""

from dataclasses import dataclass, field
from typing import Literal, get_args, get_type_hints

from bss.balance.checks import require
from bss.config.crop import CROPPED, Crop
from bss.config.encoders import AnyEncoderConfig, ClipTextConfig, EncoderConfig
from bss.config.fusion import Concatenation, Film, FusionConfig
from bss.config.heads import HeadsConfig
from bss.config.modalities import ClipKind, FlowKind, FramesKind, ImageKind, ModalityKind, TextKind
from bss.config.own_encoders import HuggingfaceConfig, PythonConfig
from bss.strategies import Prediction


@dataclass(frozen=True)
class LossWeights:
    """Weights of the training loss ``fused * CE(fused) + unimodal * sum of CE(modality)``.

    Logits of weight 0 are not trained, and take no part in the prediction.
    """

    fused: float = 1.0
    """The paper's a_multi (CREMA-D: 0.1)."""
    unimodal: float = 1.0
    """The paper's a_uni (CREMA-D: 0.9)."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.fused >= 0, "fused", self.fused, "at least 0")
        require(self.unimodal >= 0, "unimodal", self.unimodal, "at least 0")
        require(self.fused + self.unimodal > 0, "unimodal", self.unimodal, "greater than 0 if fused is 0")


@dataclass(frozen=True)
class NetworkConfig:
    """One encoder per modality, a head on each, and a fusion head."""

    encoders: dict[str, EncoderConfig]
    """Maps each modality to its encoder; the same names as prepare.modalities."""
    fusion: FusionConfig = field(default_factory=Concatenation)
    """How the features are fused."""
    loss_weights: LossWeights = field(default_factory=LossWeights)
    """The training loss."""
    heads: HeadsConfig = field(default_factory=HeadsConfig)
    """The unimodal heads."""
    prediction: Prediction = "all-heads"
    """Argmax of the sum of all logits, of only the unimodal ones (CREMA-D in the paper), or of the fused ones.

    by-entropy: of the unimodal ones, those of a surer head weighing more, sample by sample (MLA). evidence: of all
    heads as opinions that Dempster's rule combines (ETMC). surest: of the fused ones for samples on which the heads
    agree with them, else of the surest head (DOMFN).
    """
    agreement: float = 0.5
    """For prediction surest: a head agrees if the squared difference of each class's probability is below it."""
    head_initialisation: Literal["torch", "xavier"] = "torch"
    """Initialisation of the unimodal and fusion heads: torch's default for linear layers (uniform in
    +-1 / sqrt(width), bias too), or Xavier normal (Glorot and Bengio, 2010) with bias 0, as in the scripts."""

    def __post_init__(self) -> None:
        """Check the range, and encoders and fusion together."""
        require(0 <= self.agreement <= 1, "agreement", self.agreement, "in [0, 1]")
        if isinstance(self.fusion, Film) and self.fusion.conditioner is not None:
            known = list(self.encoders)
            right = f"null or one of the modalities {known}"
            require(self.fusion.conditioner in known, "fusion.conditioner", self.fusion.conditioner, right)


def check_encoder(name: str, encoder: AnyEncoderConfig, modality: ModalityKind) -> None:
    """Check that modality `name` has an encoder for its kind, a spectrogram if it is audio, and a crop that fits."""
    kind = modality.kind
    fit = [get_args(get_type_hints(c)["kind"])[0] for c in get_args(AnyEncoderConfig) if kind in c.inputs]
    right = f"one that takes kind {kind}: {', '.join(fit)}"
    require(kind in encoder.inputs, f"network.encoders.{name}.kind", encoder.kind, right)
    has = getattr(encoder, "spectrogram", None) is not None
    takes_waveforms = isinstance(encoder, PythonConfig | HuggingfaceConfig)
    wanted = "given for audio" if kind == "audio" else f"left out for kind {kind}"
    fits = not has or kind == "audio" if takes_waveforms else has == (kind == "audio")
    require(fits, f"network.encoders.{name}.spectrogram", has, wanted)
    if isinstance(encoder, ClipTextConfig) and isinstance(modality, TextKind):
        # The encoder takes the largest id as the end of the text, which holds for CLIP's tokenizer.
        wanted = "CLIP's, such as openai/clip-vit-base-patch32, for the encoder clip-text"
        require(modality.tokenizer is not None, f"prepare.modalities.{name}.tokenizer", modality.tokenizer, wanted)
    crop: Crop | None = getattr(encoder, "crop", None)
    if crop is not None:
        key = f"network.encoders.{name}.crop"
        require(kind in CROPPED, key, "a crop", f"null for kind {kind}")
        if isinstance(modality, ImageKind | FramesKind | ClipKind | FlowKind):
            frames = (modality.frames,) if isinstance(modality, ClipKind | FlowKind) else ()
            crop.check_fit(kind, (*frames, modality.height, modality.width), key)
