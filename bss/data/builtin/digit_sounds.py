"""Synthetic spoken-digit-like sounds: formants over a voice, and noise bands for the consonants.

Nobody would take it for real speech, but it has what makes real speech hard: speakers differ in pitch,
vocal tract and speed, no two sounds of a speaker are the same, and there is noise.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SAMPLE_RATE = 8000
"""Hz."""
SECONDS = 0.6
"""Length of every sound."""

Signal = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Segment:
    """One sound within a digit: voice and noise for a share of its duration."""

    formants: tuple[float, float, float]
    """Resonances of the vocal tract in Hz."""
    voice: float
    """Amplitude of the voiced part."""
    noise: float
    """Amplitude of the noise."""
    band: tuple[float, float]
    """Centre and width of the noise in Hz."""
    length: float
    """Duration relative to the other segments."""


def vowel(f1: float, f2: float, f3: float, length: float = 1.0) -> Segment:
    """Return a voiced segment with the given formants."""
    return Segment((f1, f2, f3), 1.0, 0.0, (2000, 1000), length)


def fricative(centre: float, width: float, loudness: float, voice: float = 0.0, length: float = 0.7) -> Segment:
    """Return a noise band, with a little voice for v and z."""
    return Segment((300, 1400, 2500), voice, loudness, (centre, width), length)


def stop(centre: float) -> list[Segment]:
    """Return silence and a short burst."""
    return [Segment((400, 1500, 2500), 0, 0, (centre, 500), 0.3), fricative(centre, 900, 0.8, length=0.25)]


AH, AW, IH, EH = vowel(640, 1190, 2390), vowel(570, 840, 2410), vowel(390, 1990, 2550), vowel(530, 1840, 2480)
EE, OO, OH, A = vowel(270, 2290, 3010), vowel(300, 870, 2240), vowel(450, 900, 2400), vowel(730, 1090, 2440)
R, W, N = (
    vowel(350, 1100, 1600, 0.6),
    vowel(300, 650, 2200, 0.6),
    Segment((250, 1300, 2200), 0.5, 0, (2000, 800), 0.7),
)
S, F = fricative(3600, 700, 0.5), fricative(2600, 2200, 0.22)
V, Z = fricative(2400, 2000, 0.12, voice=0.5, length=0.5), fricative(3400, 800, 0.25, voice=0.4)

DIGITS: tuple[tuple[Segment, ...], ...] = (
    (Z, IH, R, OH),
    (W, AH, N),
    (*stop(3300), OO, OO),
    (F, R, EE, EE),
    (F, AW, R),
    (F, A, IH, V),
    (S, IH, *stop(1900), S),
    (S, EH, V, AH, N),
    (EH, EE, *stop(3300)),
    (N, A, IH, N),
)
"""The segments of zero to nine."""


@dataclass(frozen=True)
class Speaker:
    """The constants of one speaker."""

    name: str
    pitch: float
    """Fundamental frequency in Hz."""
    tract: float
    """Factor on all formants; higher for a shorter vocal tract."""
    speed: float
    """Factor on the speaking rate."""
    breath: float
    """Noise mixed into the voice."""


def make_speaker(name: str, random: np.random.Generator) -> Speaker:
    """Draw a speaker: low pitch goes with a long vocal tract."""
    height = random.uniform(0, 1)
    pitch = 95 * 2 ** (1.1 * height) * random.uniform(0.93, 1.07)
    tract = 0.88 + 0.28 * height + random.uniform(-0.03, 0.03)
    return Speaker(name, pitch, tract, random.uniform(0.8, 1.25), random.uniform(0.01, 0.06))


def speak(digit: int, speaker: Speaker, random: np.random.Generator) -> Signal:
    """Return one sound of `digit` (0 to 9) by `speaker`, float64 [4800] with a root mean square of 0.1."""
    segments = DIGITS[digit]
    n = round(SAMPLE_RATE * SECONDS)
    spoken = min(n, round(n * random.uniform(0.62, 0.8) / speaker.speed))
    start = random.integers(0, n - spoken + 1)
    lengths = np.array([s.length for s in segments]) * random.uniform(0.7, 1.4, len(segments))
    centres = (np.cumsum(lengths) - lengths / 2) / lengths.sum() * spoken
    time = np.arange(spoken)

    def track(values: list[float]) -> Signal:
        return np.interp(time, centres, values)

    tract = speaker.tract * random.uniform(0.94, 1.06)
    formants = [track([s.formants[i] * tract * random.uniform(0.93, 1.07) for s in segments]) for i in range(3)]
    pitch = speaker.pitch * random.uniform(0.9, 1.1) * track(list(random.uniform(0.92, 1.08, len(segments))))
    fade = np.minimum(1, np.minimum(time, spoken - 1 - time) / (0.02 * SAMPLE_RATE))
    voiced = track([s.voice for s in segments]) * _voice(pitch, formants)
    voiced += speaker.breath * random.standard_normal(spoken) * np.abs(voiced).mean() * 5
    hiss = np.zeros(spoken)
    for i, segment in enumerate(segments):
        if segment.noise:
            loudness = track([segment.noise if j == i else 0.0 for j in range(len(segments))])
            hiss += loudness * _band_noise(spoken, *segment.band, random)
    sound = np.zeros(n)
    sound[start : start + spoken] = fade * (voiced + hiss)
    return 0.1 * sound / np.sqrt(np.mean(sound**2))


def _voice(pitch: Signal, formants: list[Signal]) -> Signal:
    """Sum the harmonics of `pitch` [n] in Hz, each as loud as the formants ([n] in Hz each) make it."""
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    harmonics = np.arange(1, int(0.95 * SAMPLE_RATE / 2 / pitch.max()) + 1)[:, None]
    frequencies = harmonics * pitch
    loudness = sum(
        gain / (1 + ((frequencies - f) / width) ** 2)
        for f, gain, width in zip(formants, (1.0, 0.6, 0.3), (70, 100, 150), strict=True)
    )
    voice: Signal = (loudness * np.sin(harmonics * phase)).sum(axis=0)
    return voice / np.sqrt(np.mean(voice**2))


def _band_noise(n: int, centre: float, width: float, random: np.random.Generator) -> Signal:
    """Return noise around `centre` Hz, float64 [n] with a root mean square of 1."""
    spectrum = np.fft.rfft(random.standard_normal(n))
    spectrum *= np.exp(-0.5 * ((np.fft.rfftfreq(n, 1 / SAMPLE_RATE) - centre) / (width / 2)) ** 2)
    noise = np.fft.irfft(spectrum, n)
    return noise / np.sqrt(np.mean(noise**2))
