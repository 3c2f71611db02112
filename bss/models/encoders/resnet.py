"""ResNet-18 and ResNet-50."""

from torch import Tensor
from transformers.models.resnet.configuration_resnet import ResNetConfig as Sizes
from transformers.models.resnet.modeling_resnet import ResNetModel

from bss.config.encoders import ResNetConfig
from bss.models.encoders.base import IMAGE_OR_FRAMES, Encoder, frame_by_frame, require_shape

BLOCKS = {18: ("basic", (2, 2, 2, 2), 1), 50: ("bottleneck", (3, 4, 6, 3), 4)}
"""Maps depth to the block type, the blocks per stage, and the first stage's width as a multiple of `width`."""


class ResNet(Encoder):
    """Images or frames [batch, (frames,) channels, height, width] to features float [batch, width]."""

    def __init__(self, config: ResNetConfig, shape: tuple[int, ...], modality: str) -> None:
        block, blocks, times = BLOCKS[config.depth]
        widths = [config.width * times * 2**stage for stage in range(4)]
        super().__init__(widths[-1], config.features)
        self.channels = config.features is None
        require_shape(len(shape) in (3, 4), modality, "resnet", IMAGE_OR_FRAMES, shape)
        self.model = ResNetModel(
            Sizes(
                num_channels=shape[-3],
                embedding_size=config.width,
                hidden_sizes=widths,
                depths=list(blocks),
                layer_type=block,
                downsample_in_bottleneck=False,
            )
        )

    def encode(self, inputs: Tensor) -> Tensor:
        return frame_by_frame(lambda images: self.model(images).pooler_output.flatten(1), inputs)
