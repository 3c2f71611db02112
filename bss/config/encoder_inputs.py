"""What encoders share about their inputs: how pixels are normalised, and the spectrogram of sounds."""

from dataclasses import dataclass
from typing import Literal

from bss.balance.checks import require

Normalisation = Literal["imagenet", "clip", "half", "none"]
"""How pixels in [0, 1] are normalised: ImageNet's or CLIP's mean and deviation per channel (images of three
channels; others keep [0, 1]), "half" to [-1, 1] whatever the channels, or not at all."""


@dataclass(frozen=True)
class Spectrogram:
    """Log-magnitude spectrogram of a waveform: log(|STFT| + 1e-7), Hann window, centred."""

    n_fft: int = 512
    """Window length in samples."""
    hop: int = 256
    """Step between windows in samples."""
    bands: int | None = None
    """Mel bands; null keeps all n_fft / 2 + 1 frequencies."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.n_fft >= 16, "n_fft", self.n_fft, "at least 16")
        require(self.hop >= 1, "hop", self.hop, "at least 1")
        right = f"null or 1 to n_fft / 4 = {self.n_fft // 4}"
        require(self.bands is None or 1 <= self.bands <= self.n_fft // 4, "bands", self.bands, right)
