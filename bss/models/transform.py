"""From stored samples to network inputs: parameter-free, batched, on the network's device."""

import math

import torch
from torch import Tensor, nn

from bss.config.schema import Spectrogram

FLOOR = 1e-7
"""Added to the magnitude before the logarithm, as in the published scripts."""


class LogSpectrogram(nn.Module):
    """Waveforms [batch, samples] to log(|STFT| + 1e-7), float32 [batch, 1, bands or n_fft / 2 + 1, frames].

    Periodic Hann window, centred, zero padding. With `bands` the magnitudes are summed over mel-spaced
    triangles first.
    """

    window: Tensor
    filters: Tensor | None

    def __init__(self, spectrogram: Spectrogram, sample_rate: int) -> None:
        super().__init__()
        self.n_fft, self.hop = spectrogram.n_fft, spectrogram.hop
        self.register_buffer("window", torch.hann_window(self.n_fft), persistent=False)
        filters = None if spectrogram.bands is None else mel_filters(spectrogram.bands, self.n_fft, sample_rate)
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        spectrum = torch.stft(
            waveforms, self.n_fft, self.hop, window=self.window, pad_mode="constant", return_complex=True
        ).abs()
        if self.filters is not None:
            spectrum = self.filters @ spectrum
        return torch.log(spectrum + FLOOR)[:, None]


def mel_filters(bands: int, n_fft: int, sample_rate: int) -> Tensor:
    """Return triangular filters [bands, n_fft / 2 + 1], each of sum 1, mel-spaced from 0 Hz to Nyquist.

    A band that is narrower than the distance of two frequencies takes the nearest one.
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
    """Images uint8 [batch, channels, height, width] to float32 in [0, 1]."""

    def forward(self, images: Tensor) -> Tensor:
        return images.float() / 255


class Numbers(nn.Module):
    """Features of any shape as float32."""

    def forward(self, features: Tensor) -> Tensor:
        return features.float()
