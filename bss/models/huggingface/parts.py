"""The two parts of a network that a pretrained model becomes: a transform of stored samples, and an encoder."""

from collections.abc import Callable

from torch import Tensor, nn

from bss.config.own_encoders import HuggingfaceConfig
from bss.data.store import Modality
from bss.errors import BssError, first_line
from bss.models.encoders.base import Encoder
from bss.models.encoders.pretrained_model import Computed, PretrainedModel
from bss.models.huggingface.backbone import Backbone, Frozen
from bss.models.huggingface.files import Architecture
from bss.models.huggingface.processor import Extracted, normalisation_of
from bss.models.inputs.transform import MEAN_AND_DEVIATION, Pixels, Tokens
from bss.models.inputs.waveforms import Waveforms


class PretrainedParts:
    """A frozen model is a part of the transform, so that its features are computed once; a trained one encodes."""

    def __init__(self, config: HuggingfaceConfig, architecture: Architecture, modality: str) -> None:
        self.config, self.architecture, self.modality = config, architecture, modality
        self._backbone: Backbone | None = None

    def transform(self, stored: Modality) -> nn.Module:
        """Return the module that maps stored samples to the encoder's inputs: features, if the model is frozen."""
        self._backbone = Backbone(self.config, self.architecture, stored.kind, self.modality)
        known = getattr(self._backbone.model.config, "vocab_size", None)
        if stored.kind == "text" and stored.largest is not None and known is not None and stored.largest >= known:
            raise BssError(
                f"{self._backbone.key}: {self.config.model} knows {known} token ids, but `{self.modality}` has the id "
                f"{stored.largest}: prepare the texts with the model's tokenizer (prepare.modalities.{self.modality})."
            )
        inputs = self._inputs(stored)
        return Frozen(inputs, self._backbone) if self.config.frozen else inputs

    def encoder(self, sample: Callable[[], Tensor]) -> Encoder:
        """Return the encoder for inputs like ``sample()``, without the batch, which calls the transform."""
        assert self._backbone is not None
        try:
            inputs = sample()
        except BssError:
            raise
        except Exception as error:  # the model's own code, about sizes that it does not take
            raise BssError(
                f"{self._backbone.key}: {self.config.model}: cannot encode `{self.modality}`: {first_line(error)}"
            ) from error
        if self.config.frozen:
            return Computed(self.config, inputs)
        return PretrainedModel(self.config, self._backbone, inputs, self.modality)

    def _inputs(self, stored: Modality) -> nn.Module:
        if stored.kind == "text":
            return Tokens()
        if stored.kind == "audio":
            assert stored.short is not None
            assert stored.sample_rate is not None
            waveforms = Waveforms(stored.shape[0], stored.short)
            return Extracted(self.architecture, self.modality, waveforms)
        own = normalisation_of(self.config, self.architecture, self.modality)
        if own is not None:
            return Pixels(own.mean, own.deviation, stored.shape[-3])
        assert self.config.normalisation is not None
        return Pixels(*MEAN_AND_DEVIATION[self.config.normalisation], stored.shape[-3])
