"""A pretrained model with pooling: inputs of one modality to one vector per sample."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from bss.config.own_encoders import HuggingfaceConfig, Lora
from bss.errors import BssError, first_line
from bss.models.encoders.base import frame_by_frame
from bss.models.encoders.transformer import ATTENTION
from bss.models.huggingface.files import Architecture, find_model, model_key
from bss.models.huggingface.lora import adapter_modules, add_adapters

TOWERS = {"image": "vision_model", "frames": "vision_model", "clip": "vision_model", "text": "text_model"}
"""The part of a model of several modalities that encodes one kind."""
RANDOM = (
    *("layerdrop", "encoder_layerdrop", "decoder_layerdrop", "drop_path_rate"),
    *("mask_time_prob", "mask_feature_prob"),
)
"""Settings of draws other than dropout, which bss could not repeat for any number of ranks: set to 0."""
BLOCKS = ("num_hidden_layers", "encoder_layers")
"""Settings with the number of a model's blocks."""


class Backbone(nn.Module):
    """Inputs [batch, ...] to float [batch, width]: a model of transformers, and pooling."""

    def __init__(self, encoder: HuggingfaceConfig, architecture: Architecture, kind: str, modality: str) -> None:
        super().__init__()
        self.pooling, self.kind, self.key = encoder.pooling, kind, model_key(modality)
        self.model = encoder_part(build_model(encoder, architecture, modality), kind)
        self.model.requires_grad_(False)
        if kind == "text":
            always_build_masks()
        self.takes_video = hasattr(self.model.config, "num_frames")

    def forward(self, inputs: Tensor) -> Tensor:
        if self.kind == "text":
            # A text of only padding attends to its first token.
            attended = (inputs != 0) | (torch.arange(inputs.shape[1], device=inputs.device) == 0)
            return self._pooled(self.model(input_ids=inputs, attention_mask=attended.long()), attended)
        if self.kind == "audio":
            return self._pooled(self.model(inputs))
        if self.takes_video:
            return self._pooled(self.model(pixel_values=inputs))
        return frame_by_frame(lambda images: self._pooled(self.model(pixel_values=images)), inputs)

    def _pooled(self, outputs: Any, attended: Tensor | None = None) -> Tensor:
        if self.pooling == "pooler":
            pooled: Tensor | None = getattr(outputs, "pooler_output", None)
            if pooled is None:
                raise BssError(f"{self._pooling_key()}: {type(self.model).__name__} has no pooler: use mean or cls.")
            return pooled.flatten(1)
        states: Tensor = outputs.last_hidden_state
        if states.dim() == 4:  # [batch, channels, height, width]
            if self.pooling == "cls":
                raise BssError(f"{self._pooling_key()}: {type(self.model).__name__} has no first token: use mean.")
            return states.mean(dim=(2, 3))
        if self.pooling == "cls":
            return states[:, 0]
        if attended is None:
            return states.mean(dim=1)
        weights = attended.to(states.dtype)[:, :, None]
        return (states * weights).sum(dim=1) / weights.sum(dim=1)

    def _pooling_key(self) -> str:
        return self.key.removesuffix("model") + "pooling"


class Frozen(nn.Module):
    """A backbone without gradients, always in eval mode, which encodes the inputs that `inputs` makes.

    A CPU encodes the samples one by one, so that a sample's bits do not depend on the others of its batch.
    """

    def __init__(self, inputs: nn.Module, backbone: Backbone) -> None:
        super().__init__()
        self.inputs, self.backbone = inputs, backbone.eval()

    def train(self, mode: bool = True) -> "Frozen":
        """Stay in eval mode."""
        return super().train(False)

    def forward(self, stored: Any) -> Tensor:
        inputs: Tensor = self.inputs(stored)
        with torch.no_grad():
            if inputs.device.type != "cpu":
                return self.backbone(inputs).float()
            return torch.cat([self.backbone(one[None]) for one in inputs]).float()


def always_build_masks() -> None:
    """Let transformers build the mask of plain attention even if no token is padding.

    It would look at the mask's values to leave it out, which per-sample gradients and meta tensors do not allow.
    """
    from transformers import AttentionMaskInterface
    from transformers.masking_utils import eager_mask

    def build(*arguments: Any, **keywords: Any) -> Any:
        return eager_mask(*arguments, **{**keywords, "allow_is_bidirectional_skip": False})

    AttentionMaskInterface.register(ATTENTION, build)


def build_model(encoder: HuggingfaceConfig, architecture: Architecture, modality: str) -> Any:
    """Return the freshly initialised model of `architecture`, in float32, with every random setting but dropout at 0.

    Raises `BssError` if transformers cannot build it.
    """
    from transformers import AutoConfig, AutoModel

    settings = copy.deepcopy(architecture["model"])
    try:
        if "auto_map" in settings and encoder.remote_code:
            config = AutoConfig.from_pretrained(find_model(encoder, modality), trust_remote_code=True)
        else:
            settings.pop("auto_map", None)
            config = AutoConfig.for_model(settings.pop("model_type"), **settings)
        for part in (config, *(getattr(config, f"{name}_config", None) for name in ("text", "vision", "audio"))):
            for name in RANDOM:
                if getattr(part, name, None):
                    setattr(part, name, 0.0)
            if getattr(part, "apply_spec_augment", False):
                part.apply_spec_augment = False
        return AutoModel.from_config(
            config, attn_implementation=ATTENTION, dtype=torch.float32, trust_remote_code=encoder.remote_code
        )
    except Exception as error:  # unknown or damaged settings raise many types
        raise BssError(
            f"{model_key(modality)}: {encoder.model}: AutoModel cannot build it ({first_line(error)})."
        ) from error


def encoder_part(whole: Any, kind: str) -> nn.Module:
    """Return the part of a model that encodes one kind of modality: an encoder without decoder, one of two towers."""
    tower: nn.Module | None = getattr(whole, TOWERS.get(kind, ""), None)
    if tower is not None:
        return tower
    part: nn.Module = whole.get_encoder() if getattr(whole.config, "is_encoder_decoder", False) else whole
    return part


def set_trainable(backbone: Backbone, config: HuggingfaceConfig, modality: str) -> None:
    """Let gradients reach what `config` says."""
    trainable = config.trainable
    if trainable == "lora":
        add_adapters(backbone.model, config.lora or Lora(), modality)
        return
    if trainable == "all":
        backbone.model.requires_grad_(True)
        return
    last = int(trainable.partition(":")[2])
    blocks, follows = _blocks(backbone.model), False
    key = f"params.yaml: network.encoders.{modality}.trainable"
    if blocks is None:
        raise BssError(
            f"{key}: {trainable}: {type(backbone.model).__name__} is not one list of blocks: use all or none."
        )
    name, layers = blocks
    if last > len(layers):
        raise BssError(f"{key}: {trainable}: {type(backbone.model).__name__} has {len(layers)} blocks.")
    trained = {id(p) for layer in list(layers)[-last:] for p in layer.parameters()}
    own = {id(p) for p in layers.parameters()}
    for parameter_name, parameter in backbone.model.named_parameters():
        follows |= parameter_name.startswith(f"{name}.")
        parameter.requires_grad_(id(parameter) in trained or (follows and id(parameter) not in own))


def evaluated_modules(model: nn.Module) -> set[nn.Module]:
    """Return the modules of `model` that stay in eval mode.

    They are those that have parameters, none of them trained, with all in them; of a model with adapters, all but
    these.
    """
    if adapters := adapter_modules(model):
        return set(model.modules()) - set(adapters)
    frozen = (m for m in model.modules() if any(True for _ in m.parameters()) and not _trained(m))
    return {inner for module in frozen for inner in module.modules()}


def _trained(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())


def _blocks(model: nn.Module) -> tuple[str, nn.ModuleList] | None:
    count = next((n for name in BLOCKS if (n := getattr(model.config, name, None)) is not None), None)
    found = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.ModuleList) and len(m) == count]
    return max(found, key=lambda item: sum(p.numel() for p in item[1].parameters()), default=None)
