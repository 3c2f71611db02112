"""A model's own preprocessing: what its processor does to images, and its feature extractor of sounds."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bss.config.own_encoders import HuggingfaceConfig
from bss.data.sounds import Sounds
from bss.errors import BssError, first_line
from bss.models.huggingface.files import Architecture, model_key
from bss.models.inputs.waveforms import PlacedSounds, Waveforms

EXTRACTORS = ("Wav2Vec2FeatureExtractor", "WhisperFeatureExtractor", "ASTFeatureExtractor")
"""Feature extractors of sounds whose output depends on the waveform alone."""


@dataclass(frozen=True)
class ImageProcessing:
    """How a processor treats images."""

    mean: tuple[float, ...]
    """Mean of pixels in [0, 1], per channel; empty if it does not normalise."""
    deviation: tuple[float, ...]
    height: int | None
    """Height of its output in pixels; None if any."""
    width: int | None
    shortest: int | None
    """Pixels of the shorter side, if it fixes that alone."""


def image_processing(architecture: Architecture, modality: str) -> ImageProcessing | None:
    """Return how the model's processor treats images; None if the model has no processor.

    Raises `BssError` if it scales pixels in another way than to [0, 1] first.
    """
    processor = architecture["processor"]
    if processor is None:
        return None
    factor = processor.get("rescale_factor", 1 / 255)
    if not processor.get("do_rescale", True) or not np.isclose(factor, 1 / 255):
        raise BssError(f"{model_key(modality)}: its processor does not scale pixels by 1 / 255, which bss does.")
    normalises = processor.get("do_normalize", True)
    mean, deviation = (tuple(processor.get(name) or ()) if normalises else () for name in ("image_mean", "image_std"))
    size = processor.get("size") if processor.get("do_resize", True) else None
    if processor.get("do_center_crop", False):
        size = processor.get("crop_size") or size
    if isinstance(size, int):
        size = {"height": size, "width": size}
    size = size or {}
    return ImageProcessing(mean, deviation, size.get("height"), size.get("width"), size.get("shortest_edge"))


class Extracted(nn.Module):
    """Maps stored sounds to the model's inputs with its own feature extractor, which runs on the CPU sound by sound.

    Sounds are filled to the length of the modality first, as for every encoder.
    """

    def __init__(self, architecture: Architecture, modality: str, waveforms: Waveforms) -> None:
        super().__init__()
        self.waveforms = waveforms
        self.extractor = make_extractor(architecture, modality)

    def forward(self, sounds: Sounds | PlacedSounds | Tensor) -> Tensor:
        waveforms: Tensor = self.waveforms(sounds)
        if waveforms.device.type == "meta":  # the check of deterministic operations, which computes nothing
            one = self._extract(np.zeros(waveforms.shape[1], dtype=np.float32))
            return torch.empty(len(waveforms), *one.shape, device="meta")
        found = torch.stack([self._extract(waveform) for waveform in waveforms.cpu().numpy()])
        return found.to(waveforms.device)

    def _extract(self, waveform: Any) -> Tensor:
        rate = self.extractor.sampling_rate  # as the extractor's own, whether or not that has been checked
        found = self.extractor([waveform], sampling_rate=rate, return_tensors="np")
        values: Tensor = torch.from_numpy(np.asarray(found[self.extractor.model_input_names[0]][0], dtype=np.float32))
        return values


def make_extractor(architecture: Architecture, modality: str) -> Any:
    """Return the model's feature extractor of sounds; raises `BssError` if it has none that bss knows."""
    import transformers

    processor, key = architecture["processor"], model_key(modality)
    if processor is None:
        raise BssError(
            f"{key}: preprocessor_config.json is missing; it defines the audio preprocessing. Copy it into the model "
            "folder."
        )
    kind = processor.get("feature_extractor_type")
    if kind not in EXTRACTORS:
        own = kind or processor.get("image_processor_type")
        raise BssError(f"{key}: its feature extractor is {own}; bss takes sounds with {', '.join(EXTRACTORS)}.")
    try:
        return getattr(transformers, kind).from_dict(processor)
    except Exception as error:  # damaged settings raise many types
        raise BssError(f"{key}: preprocessor_config.json does not describe a {kind} ({first_line(error)}).") from error


def normalisation_of(encoder: HuggingfaceConfig, architecture: Architecture, modality: str) -> ImageProcessing | None:
    """Return the processing whose mean and deviation `encoder` uses; None if it names a normalisation itself."""
    if encoder.normalisation is not None:
        return None
    found = image_processing(architecture, modality)
    if found is None:
        raise BssError(
            f"{model_key(modality)}: preprocessor_config.json is missing; it defines how pixels are normalised. Copy "
            f"it into the model folder, or set network.encoders.{modality}.normalisation and preprocessing: unchecked."
        )
    return found
