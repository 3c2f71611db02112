"""CLIP's image and text encoders, each with its projection."""

from torch import Tensor
from transformers.models.clip.configuration_clip import CLIPTextConfig, CLIPVisionConfig
from transformers.models.clip.modeling_clip import CLIPTextModelWithProjection, CLIPVisionModelWithProjection

from bss.config.encoders import ClipImageConfig, ClipTextConfig
from bss.models.encoders.base import frame_by_frame, require_shape
from bss.models.encoders.transformer import Transformer, library_sizes, require_patches, require_tokens


class ClipImage(Transformer):
    """Square images or frames [batch, (frames,) channels, size, size] to features float [batch, features]."""

    def __init__(self, config: ClipImageConfig, shape: tuple[int, ...], modality: str) -> None:
        super().__init__(config.features, None)
        require_patches(shape, config.patch, modality, "clip-image")
        needs = "with height = width"
        require_shape(shape[-2] == shape[-1], modality, "clip-image", needs, shape)
        self.model = CLIPVisionModelWithProjection(
            CLIPVisionConfig(
                num_channels=shape[-3],
                image_size=shape[-1],
                patch_size=config.patch,
                **library_sizes(config),
                projection_dim=config.features,
            )
        )

    def encode_some(self, inputs: Tensor) -> Tensor:
        return frame_by_frame(lambda images: self.model(pixel_values=images).image_embeds, inputs)


class ClipText(Transformer):
    """Token ids int64 [batch, tokens] to features float [batch, features]: the projection of the last token.

    A text ends with its largest id; later tokens are not attended to.
    """

    def __init__(self, config: ClipTextConfig, shape: tuple[int, ...], modality: str) -> None:
        super().__init__(config.features, None)
        require_tokens(shape, config.positions, modality, "clip-text")
        self.model = CLIPTextModelWithProjection(
            CLIPTextConfig(
                vocab_size=config.vocabulary,
                **library_sizes(config),
                max_position_embeddings=config.positions,
                projection_dim=config.features,
                pad_token_id=0,
                bos_token_id=None,
                eos_token_id=2,  # means the largest id, as in the first release of CLIP
            )
        )

    def encode_some(self, inputs: Tensor) -> Tensor:
        projected: Tensor = self.model(input_ids=inputs).text_embeds
        return projected
