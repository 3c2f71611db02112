"""Kind `huggingface` as encoders: a model that is trained, and what follows a frozen one."""

from torch import Tensor

from bss.config.own_encoders import HuggingfaceConfig
from bss.models.encoders.base import Encoder
from bss.models.encoders.probe import probe
from bss.models.encoders.transformer import Transformer
from bss.models.huggingface.backbone import Backbone, evaluated_modules, set_trainable


class PretrainedModel(Transformer):
    """Inputs [batch, ...] to features float [batch, width], by a model some of whose weights are trained.

    Frozen parts stay in eval mode.
    """

    def __init__(self, config: HuggingfaceConfig, backbone: Backbone, sample: Tensor, modality: str) -> None:
        set_trainable(backbone, config, modality)
        own = probe(backbone, backbone, sample, f"{backbone.key}: {config.model}")
        super().__init__(own, config.features)
        self.model = backbone
        self._evaluated = evaluated_modules(backbone)
        self.train()

    def train(self, mode: bool = True) -> "PretrainedModel":
        """Set the mode of what is trained."""
        super().train(mode)
        for module in self._evaluated:
            module.training = False
        return self

    def encode_some(self, inputs: Tensor) -> Tensor:
        features: Tensor = self.model(inputs)
        return features


class Computed(Encoder):
    """Features float [batch, own] of a frozen model, computed before, to features float [batch, width]."""

    def __init__(self, config: HuggingfaceConfig, sample: Tensor) -> None:
        super().__init__(sample.shape[0], config.features)

    def encode(self, inputs: Tensor) -> Tensor:
        return inputs
