"""The multi-modal network: encoders, unimodal heads, a fusion head (paper section "Network")."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from bss.balance.criteria import training_loss
from bss.config.encoders import AnyEncoderConfig, BertConfig
from bss.config.load import config_to_tree, validator
from bss.config.own_encoders import HuggingfaceConfig
from bss.config.schema import NetworkConfig
from bss.config.training import Precision
from bss.data.store import Modality, Store
from bss.errors import BssError
from bss.models.encoders.base import Encoder
from bss.models.encoders.build import build_encoder
from bss.models.fusion import build_fusion
from bss.models.heads import Head, build_heads, last_layer
from bss.models.huggingface.backbone import Backbone, Frozen
from bss.models.huggingface.files import Architecture, read_architecture
from bss.models.huggingface.parts import PretrainedParts
from bss.models.inputs.transform import build_crop, build_transform
from bss.models.predicted_logits import predicted_logits

IGNORED = "ignored modalities"
"""Key among the inputs, which no modality can have: bool [batch, modalities], where a sample's modality is ignored."""


@dataclass
class Outputs:
    """The outputs of one forward pass."""

    logits: dict[str, Tensor]
    """Unimodal logits, [batch, classes] per modality."""
    fused: Tensor
    """Logits of the fusion head, [batch, classes]."""
    features: dict[str, Tensor]
    """Encoder features, [batch, features] per modality."""

    def in_fp32(self) -> "Outputs":
        """Return the outputs in float32, in which losses and scores are computed."""
        logits, features = ({name: x.float() for name, x in of.items()} for of in (self.logits, self.features))
        return Outputs(logits, self.fused.float(), features)

    def detached(self) -> "Outputs":
        """Return the outputs without their graph."""
        logits, features = ({name: x.detach() for name, x in of.items()} for of in (self.logits, self.features))
        return Outputs(logits, self.fused.detach(), features)


class MultiModalNetwork(nn.Module):
    """Encoders, heads and fusion for the modalities of one store.

    `transform` turns stored samples into inputs; `forward` takes those.
    """

    def __init__(
        self,
        config: NetworkConfig,
        modalities: Mapping[str, Modality],
        classes: int,
        architectures: Mapping[str, Architecture] = MappingProxyType({}),
    ) -> None:
        """Build it; `architectures` are those of pretrained models, which are read from their folders if not given."""
        super().__init__()
        self.config, self.classes = config, classes
        self.precision: Precision = "fp32"
        encoders = {name: _with_vocabulary(config.encoders[name], m, name) for name, m in modalities.items()}
        models = {
            name: PretrainedParts(encoder, architectures.get(name) or read_architecture(encoder, name), name)
            for name, encoder in encoders.items()
            if isinstance(encoder, HuggingfaceConfig)
        }
        self.transforms = nn.ModuleDict(
            {
                name: models[name].transform(modality)
                if name in models
                else build_transform(encoders[name], modality, name)
                for name, modality in modalities.items()
            }
        )
        crops = {name: build_crop(encoders[name], modality, name) for name, modality in modalities.items()}
        self.crops = nn.ModuleDict({name: crop for name, crop in crops.items() if crop is not None})
        self.augments = any(crop is not None and crop.crop.augments for crop in crops.values())
        """Whether training sees different parts of images than evaluation."""
        zeros = {name: zeros_like_stored(modality) for name, modality in modalities.items()}
        built: dict[str, Encoder] = {}
        for name, stored in zeros.items():
            if name in models:
                built[name] = models[name].encoder(partial(self._input, name, stored))
            else:
                built[name] = build_encoder(encoders[name], self._input(name, stored), name)
        self.encoders = nn.ModuleDict(built)
        widths = {name: encoder.width for name, encoder in built.items()}
        self.heads = build_heads(config.heads, widths, classes)
        self.fusion = build_fusion(config.fusion, built, classes)
        if config.head_initialisation == "xavier":  # last, so that the encoders start as with torch's
            for head in dict.fromkeys(map(last_layer, (*self.heads.values(), self.fusion.head))):
                nn.init.xavier_normal_(head.weight)
                if head.bias is not None:
                    nn.init.zeros_(head.bias)

    def backbone(self, name: str) -> Backbone:
        """Return the pretrained model of modality `name`, whose encoder is of kind `huggingface`."""
        transform, encoder = self.transforms[name], self.encoders[name]
        found = transform.backbone if isinstance(transform, Frozen) else encoder.model
        assert isinstance(found, Backbone)
        return found

    def transform(self, raw: Mapping[str, Any], drawn: npt.NDArray[np.float64] | None = None) -> dict[str, Tensor]:
        """Turn stored samples (tensors [batch, ...], or `Sounds` or `PlacedSounds` of one) into network inputs.

        `drawn` [batch, DRAWS], from `Augmentation.draw`, determines the image augmentation; None disables it.
        """
        return {name: self.transform_one(name, raw[name], drawn) for name in self.transforms}

    def transform_one(self, name: str, stored: Any, drawn: npt.NDArray[np.float64] | None = None) -> Tensor:
        """Do so for one modality `name`."""
        part = self.crops[name](stored, drawn) if name in self.crops else stored
        inputs: Tensor = self.transforms[name](part)
        return inputs

    def _input(self, name: str, stored: Tensor) -> Tensor:
        """Return the input, without the batch, of a batch of one stored sample."""
        return self.transform_one(name, stored)[0]

    def forward(self, inputs: Mapping[str, Tensor], precision: Precision | None = None) -> Outputs:
        """Run encoders and heads on inputs from `transform`, in `precision`; None: in the network's.

        With `IGNORED` among the inputs, features and logits are 0 where a modality is ignored: the fusion sees nothing
        of it, its logits add nothing to the prediction, and its loss is that of guessing, without a gradient.
        """
        if (precision or self.precision) == "fp32":
            return self._run(inputs)
        with torch.autocast(next(iter(inputs.values())).device.type, dtype=torch.bfloat16):
            outputs = self._run(inputs)
        return outputs.in_fp32()

    def encode(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the features, float32, of the modalities in `inputs` alone, computed in the network's precision."""
        with self._autocast(inputs):
            features = {name: encoder(inputs[name]) for name, encoder in self.encoders.items() if name in inputs}
        features = {name: x.float() for name, x in features.items()}
        return self.without_ignored(features, inputs.get(IGNORED))

    def _run(self, inputs: Mapping[str, Tensor]) -> Outputs:
        features = {name: encoder(inputs[name]) for name, encoder in self.encoders.items()}
        features = self.without_ignored(features, inputs.get(IGNORED))
        active = self.activate(features)
        logits = self.without_ignored(self._classify(active), inputs.get(IGNORED))  # heads have biases
        return Outputs(logits, self.fusion(active), features)

    def forward_rows(self, inputs: Mapping[str, Tensor], rows: Mapping[str, Tensor], kept: Tensor) -> Outputs:
        """Run like `forward` on samples some of which show one modality only.

        Parameters
        ----------
        inputs : from `transform`, [batch, ...] per modality.
        rows : the samples that each modality's encoder is run on, int64 [k]; it is not run for one that is left out.
        kept : number of the only modality that a sample shows, negative for all, int64 [batch]; the features of the
            others are zero.
        """
        with self._autocast(inputs):
            features = {}
            for number, (name, encoder) in enumerate(self.encoders.items()):
                found = torch.zeros(len(kept), encoder.width, device=kept.device)  # type: ignore[call-overload]
                if name in rows:
                    encoded = encoder(inputs[name][rows[name]])
                    found = found.to(encoded.dtype).index_copy(0, rows[name], encoded)
                shown = (kept < 0) | (kept == number)
                features[name] = torch.where(shown[:, None], found, torch.zeros_like(found))
            features = self.without_ignored(features, inputs.get(IGNORED))
            active = self.activate(features)
            logits = self.without_ignored(self._classify(active), inputs.get(IGNORED))
            outputs = Outputs(logits, self.fusion(active), features)
        return outputs.in_fp32()

    def activate(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the inputs of heads and fusion, made from the encoders' features."""
        return {name: self.encoders[name].activate(x) for name, x in features.items()}  # type: ignore[operator]

    def classify(self, active: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the unimodal logits, float32, of features from `activate`, computed in the network's precision."""
        with self._autocast(active):
            logits = self._classify(active)
        return {name: z.float() for name, z in logits.items()}

    def classify_by_branch(self, name: str, active: Tensor) -> list[Tensor]:
        """Return the logits, float32, of each branch in use of the head of `name`, from its features of `activate`."""
        head = self.heads[name]
        with self._autocast({name: active}):
            logits = head.each(active) if isinstance(head, Head) else [head(active)]
        return [z.float() for z in logits]

    def fuse(self, active: Mapping[str, Tensor]) -> Tensor:
        """Return the fused logits, float32, of features from `activate`, computed in the network's precision."""
        with self._autocast(active):
            fused: Tensor = self.fusion(active)
        return fused.float()

    def without_ignored(self, values: Mapping[str, Tensor], ignored: Tensor | None) -> dict[str, Tensor]:
        """Return `values` [batch, width] of some modalities, 0 where `ignored` bool [batch, modalities] says so."""
        if ignored is None:
            return dict(values)
        columns = dict(zip(self.encoders, ignored.unbind(dim=1), strict=True))
        return {name: x.masked_fill(columns[name][:, None], 0) for name, x in values.items()}

    def _classify(self, active: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: self.heads[name](x) for name, x in active.items()}

    def _autocast(self, tensors: Mapping[str, Tensor]) -> AbstractContextManager[Any]:
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(next(iter(tensors.values())).device.type, dtype=torch.bfloat16)

    def loss(
        self, outputs: Outputs, labels: Tensor, label_smoothing: float = 0.0, class_weights: Tensor | None = None
    ) -> Tensor:
        """Return each sample's loss, float [batch]; `labels` are int64 [batch], the rest as for `training_loss`."""
        weights = self.config.loss_weights
        given = (outputs.fused, outputs.logits, labels, weights.fused, weights.unimodal)
        return training_loss(*given, label_smoothing, class_weights)

    def scores(self, outputs: Outputs) -> Tensor:
        """Return the logits, put together by network.prediction, whose argmax is the prediction, [batch, classes]."""
        return predicted_logits(self.config.prediction, outputs.logits, outputs.fused, self.config.agreement)


def _with_vocabulary(encoder: AnyEncoderConfig, modality: Modality, name: str) -> AnyEncoderConfig:
    """Return `encoder`; if its vocabulary is null, set it to that of the stored tokens."""
    if not isinstance(encoder, BertConfig) or encoder.vocabulary is not None:
        return encoder
    if modality.vocabulary is None:
        raise BssError(f"params.yaml: network.encoders.{name}.vocabulary is null, but the store of `{name}` has none.")
    return replace(encoder, vocabulary=modality.vocabulary)


def zeros_like_stored(modality: Modality) -> Tensor:
    """Return a batch of one stored sample of zeros, to infer the shape of the network's inputs."""
    return torch.zeros(1, *modality.shape, dtype=getattr(torch, modality.dtype))


def describe_network(config: NetworkConfig, store: Store) -> dict[str, Any]:
    """Return plain values from which `build_network` builds the same network (network.json).

    They do not include pretrained weights: `bss.models.pretrained` loads those before a trial starts.
    """
    modalities = {name: {**asdict(m), "shape": list(m.shape)} for name, m in store.modalities.items()}
    models = {n: encoder for n, encoder in config.encoders.items() if isinstance(encoder, HuggingfaceConfig)}
    architectures = {name: read_architecture(encoder, name) for name, encoder in models.items()}
    network = config_to_tree(config)
    for encoder in network["encoders"].values():
        if "weights" in encoder:
            encoder["weights"] = None
    described = {"network": network, "modalities": modalities, "classes": list(store.classes)}
    return {**described, "architectures": architectures} if architectures else described


def build_network(
    description: Mapping[str, Any], seed: int = 0, device: torch.device | None = None
) -> MultiModalNetwork:
    """Build a freshly initialised network from `describe_network`'s values; `seed` determines the weights.

    Two-dimensional convolutions have channels-last weights, which is faster.
    """
    config = validator(NetworkConfig).validate_python(description["network"])
    modalities = {name: Modality(**{**m, "shape": tuple(m["shape"])}) for name, m in description["modalities"].items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        architectures = description.get("architectures", {})
        network = MultiModalNetwork(config, modalities, len(description["classes"]), architectures)
    for parameter in network.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.to(memory_format=torch.channels_last)
    return network.to(device) if device is not None else network
