"""Build the encoder of a modality by its kind."""

from torch import Tensor

from bss.config.encoders import (
    FROM_TRANSFORMERS,
    AnyEncoderConfig,
    BertConfig,
    ClipImageConfig,
    ClipTextConfig,
    CnnConfig,
    I3dConfig,
    MlpConfig,
    PythonConfig,
    ResNetConfig,
    VitConfig,
)
from bss.errors import BssError
from bss.models.encoders.base import Encoder
from bss.models.encoders.cnn import Cnn
from bss.models.encoders.i3d import I3d
from bss.models.encoders.mlp import Mlp
from bss.models.encoders.python_module import PythonModule


def build_encoder(config: AnyEncoderConfig, sample: Tensor, modality: str) -> Encoder:
    """Return the encoder of `modality`, freshly initialised, for inputs like `sample` (without the batch).

    Raises `BssError` if the inputs do not fit the kind of encoder, or if the package transformers is
    needed and not installed. It is imported only here, because that takes seconds.
    """
    shape = tuple(sample.shape)
    if isinstance(config, PythonConfig):
        return PythonModule(config, sample, modality)
    if sample.is_floating_point() == isinstance(config, BertConfig | ClipTextConfig):
        found = "numbers" if sample.is_floating_point() else "token ids"
        raise BssError(
            f"params.yaml: network.encoders.{modality}.kind: `{config.kind}` does not take {found}, "
            f"which `{modality}` has."
        )
    if isinstance(config, MlpConfig):
        return Mlp(config, shape)
    if isinstance(config, CnnConfig):
        return Cnn(config, shape, modality)
    if isinstance(config, I3dConfig):
        return I3d(config, shape, modality)
    assert config.kind in FROM_TRANSFORMERS
    try:
        import transformers  # noqa: F401
    except ImportError as error:
        raise BssError(
            f"params.yaml: network.encoders.{modality}.kind: `{config.kind}` needs the package transformers, "
            f"which cannot be imported ({error}). Install it, or choose another kind."
        ) from error
    return _from_transformers(config, shape, modality)


def _from_transformers(config: AnyEncoderConfig, shape: tuple[int, ...], modality: str) -> Encoder:
    if isinstance(config, ResNetConfig):
        from bss.models.encoders.resnet import ResNet

        return ResNet(config, shape, modality)
    if isinstance(config, BertConfig):
        from bss.models.encoders.bert import Bert

        return Bert(config, shape, modality)
    if isinstance(config, VitConfig):
        from bss.models.encoders.vit import Vit

        return Vit(config, shape, modality)
    from bss.models.encoders.clip import ClipImage, ClipText

    if isinstance(config, ClipImageConfig):
        return ClipImage(config, shape, modality)
    assert isinstance(config, ClipTextConfig)
    return ClipText(config, shape, modality)
