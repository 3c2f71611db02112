"""Transform stored samples into network inputs: parameter-free, batched, on the network's device."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from bss.config.crop import Crop
from bss.config.encoder_inputs import Normalisation, Spectrogram
from bss.config.encoders import AnyEncoderConfig, BertConfig, ClipTextConfig, I3dConfig, PythonConfig
from bss.data.sounds import Sounds
from bss.data.store import Modality
from bss.errors import BssError
from bss.models.inputs.crop import Cropped
from bss.models.inputs.waveforms import PlacedSounds, Waveforms, fill

FLOOR = 1e-7
"""Added to the magnitude before the logarithm, as in the published scripts."""

BLOCK = 256
"""Frames per chunk on a CPU, small enough for its caches."""

MEAN_AND_DEVIATION: dict[Normalisation, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "half": ((0.5,), (0.5,)),
    "none": ((), ()),
}
"""Mean and deviation of pixels in [0, 1], per channel or for all."""


class LogSpectrogram(nn.Module):
    """Maps stored sounds to log(|STFT| + 1e-7), float32 [batch, 1, bands or n_fft / 2 + 1, frames].

    Periodic Hann window, centred, zero padding. With `bands` the magnitudes are summed over mel-spaced
    triangles first. Without them a CPU processes the sounds one by one; magnitude and logarithm are then NumPy's, which
    are several times as fast as torch's and agree within a few units in the last place.
    """

    window: Tensor
    filters: Tensor | None

    def __init__(self, spectrogram: Spectrogram, sample_rate: int, waveforms: Waveforms) -> None:
        super().__init__()
        self.n_fft, self.hop, self.waveforms = spectrogram.n_fft, spectrogram.hop, waveforms
        self.register_buffer("window", torch.hann_window(self.n_fft), persistent=False)
        filters = None if spectrogram.bands is None else mel_filters(spectrogram.bands, self.n_fft, sample_rate)
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, sounds: Sounds | PlacedSounds | Tensor) -> Tensor:
        if self.filters is None and self.window.device.type == "cpu":
            return self._one_by_one(self.waveforms.parts(sounds))
        spectrum = torch.stft(
            self.waveforms(sounds), self.n_fft, self.hop, window=self.window, pad_mode="constant", return_complex=True
        ).abs()
        if self.filters is not None:
            spectrum = self.filters @ spectrum
        return torch.log(spectrum + FLOOR)[:, None]

    def _one_by_one(self, parts: Sequence[Tensor]) -> Tensor:
        half = self.n_fft // 2
        padded = torch.zeros(self.waveforms.length + 2 * half)
        waveform, frames = padded[half : half + self.waveforms.length], padded.unfold(0, self.n_fft, self.hop)
        result = np.empty((len(parts), len(frames), half + 1), dtype=np.float32)
        for part, spectrogram in zip(parts, result, strict=True):
            fill(waveform, part, self.waveforms.short)
            for first in range(0, len(frames), BLOCK):
                magnitude = spectrogram[first : first + BLOCK]
                np.abs(torch.fft.rfft(frames[first : first + BLOCK] * self.window).numpy(), out=magnitude)
                np.add(magnitude, FLOOR, out=magnitude)
                np.log(magnitude, out=magnitude)
        return torch.from_numpy(result).transpose(1, 2)[:, None]


def mel_filters(bands: int, n_fft: int, sample_rate: int) -> Tensor:
    """Return triangular filters [bands, n_fft / 2 + 1], each of sum 1, mel-spaced from 0 Hz to Nyquist.

    A band narrower than the spacing of frequencies uses the nearest one.
    """
    top = 2595 * math.log10(1 + sample_rate / 2 / 700)
    edges = 700 * (10 ** (torch.linspace(0, top, bands + 2, dtype=torch.float64) / 2595) - 1)
    frequencies = torch.linspace(0, sample_rate / 2, n_fft // 2 + 1, dtype=torch.float64)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (frequencies - low) / (middle - low)
    falling = (high - frequencies) / (high - middle)
    filters = torch.minimum(rising, falling).clamp(min=0)
    nearest = (frequencies - middle).abs().argmin(dim=1)
    empty = filters.sum(dim=1) == 0
    filters[empty, nearest[empty]] = 1.0
    return (filters / filters.sum(dim=1, keepdim=True)).float()


class Pixels(nn.Module):
    """Normalises pixels in 0 .. 255, [batch, ..., channels, height, width], to float32 (x / 255 - mean) / deviation."""

    mean: Tensor | None
    deviation: Tensor

    def __init__(self, mean: Sequence[float], deviation: Sequence[float], channels: int) -> None:
        super().__init__()
        # Three-channel statistics do not apply to other images.
        known = len(mean) in (1, channels)
        self.register_buffer("mean", torch.tensor(mean)[:, None, None] if known else None, persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        pixels = images / 255
        return pixels if self.mean is None else pixels.sub_(self.mean).div_(self.deviation)


class Numbers(nn.Module):
    """Copies features of any shape to float32; the memory they were read into is reused."""

    def forward(self, features: Tensor) -> Tensor:
        return features.to(torch.float32, copy=True)


class Flow(nn.Module):
    """Clips optical flow in pixels to [-limit, limit] and divides by limit, float32 of the same shape."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = limit

    def forward(self, flow: Tensor) -> Tensor:
        return flow.float().clamp(-self.limit, self.limit) / self.limit


class Tokens(nn.Module):
    """Token ids [batch, tokens] as int64."""

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens.long()


def build_transform(encoder: AnyEncoderConfig, modality: Modality, name: str) -> nn.Module:
    """Return the module that maps stored samples of the modality `name` to its encoder's inputs.

    Raises `BssError` if a stored token id is not in the encoder's vocabulary.
    """
    if modality.kind == "audio":
        spectrogram = getattr(encoder, "spectrogram", None)
        assert modality.sample_rate is not None
        assert modality.short is not None
        waveforms = Waveforms(modality.shape[0], modality.short)
        return waveforms if spectrogram is None else LogSpectrogram(spectrogram, modality.sample_rate, waveforms)
    if modality.kind in ("image", "frames", "clip"):
        return Pixels(*MEAN_AND_DEVIATION[getattr(encoder, "normalisation", "none")], modality.shape[-3])
    if modality.kind == "text" and isinstance(encoder, BertConfig | ClipTextConfig):
        assert encoder.vocabulary is not None  # the network has filled in the store's
        if modality.largest is not None and modality.largest >= encoder.vocabulary:
            raise BssError(
                f"params.yaml: network.encoders.{name}.vocabulary is {encoder.vocabulary}, but `{name}` has the token "
                f"id {modality.largest}: set it to the tokenizer's vocabulary size."
            )
        return Tokens()
    if modality.kind == "text" and isinstance(encoder, PythonConfig):
        return Tokens()
    if modality.kind == "flow" and isinstance(encoder, I3dConfig):
        return Flow(encoder.flow_limit)
    assert modality.kind in ("features", "flow"), modality.kind
    return Numbers()


def build_crop(encoder: AnyEncoderConfig, modality: Modality, name: str) -> Cropped | None:
    """Return the crop of stored images of the modality `name`, or None if they are used whole.

    Raises `BssError` if stored images are too small for it.
    """
    crop: Crop | None = getattr(encoder, "crop", None)
    if crop is None:
        return None
    try:
        crop.check_fit(modality.kind, modality.shape, f"network.encoders.{name}.crop")
    except ValueError as error:
        raise BssError(f"params.yaml: {error}. Or rerun `bss prepare` with a larger size.") from error
    return Cropped(crop, modality.kind, modality.shape)
