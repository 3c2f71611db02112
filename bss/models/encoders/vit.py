"""The vision transformer."""

from torch import Tensor
from transformers.models.vit.configuration_vit import ViTConfig as Sizes
from transformers.models.vit.modeling_vit import ViTModel

from bss.config.encoders import VitConfig
from bss.models.encoders.base import frame_by_frame
from bss.models.encoders.transformer import Transformer, library_sizes, require_patches


class Vit(Transformer):
    """Images or frames [batch, (frames,) channels, height, width] to features float [batch, width]."""

    def __init__(self, config: VitConfig, shape: tuple[int, ...], modality: str) -> None:
        super().__init__(config.hidden, config.features)
        require_patches(shape, config.patch, modality, "vit")
        sizes = Sizes(
            num_channels=shape[-3],
            image_size=shape[-2:],
            patch_size=config.patch,
            **library_sizes(config),
            hidden_dropout_prob=config.dropout,
            attention_probs_dropout_prob=config.dropout,
        )
        self.model = ViTModel(sizes, add_pooling_layer=config.pooler)

    def encode_some(self, inputs: Tensor) -> Tensor:
        return frame_by_frame(self._class_token, inputs)

    def _class_token(self, images: Tensor) -> Tensor:
        outputs = self.model(pixel_values=images)
        token: Tensor = outputs.last_hidden_state[:, 0] if outputs.pooler_output is None else outputs.pooler_output
        return token
