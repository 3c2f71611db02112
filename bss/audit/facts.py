"""Facts of single inputs that show that one carries nothing: level, flatness, contrast, noise, number of tokens.

Pure functions of stored arrays. `emptiness` turns them into the probability that `bss.balance.audit` takes as evidence.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from bss.data.sounds import Sounds, to_float
from bss.data.store import Modality

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

QUIETEST = -120.0
"""Level of digital silence, dBFS."""
WINDOW = 256
"""Samples per spectrum of the flatness."""
OF_OVERLAP = (1 / 6) ** 2
"""Correlation of the power of a frequency in two Hann windows that overlap by half (Welch, 1967)."""
OF_NEIGHBOURS = ((2 / 3) ** 2, (1 / 6) ** 2)
"""Correlation of the powers of neighbouring frequencies, and of those two apart, under a Hann window."""
REMNANT = 0.01
"""Power of an input under white noise of 20 dB more. It lowers the flatness by no more than this share: the geometric
mean of a spectrum cannot fall if power is added, and the arithmetic mean rises by what is added. It raises the
correlation of adjacent pixels by no more than this."""
LIMITS: dict[str, tuple[float, float]] = {
    "level_dbfs": (-60.0, -3.0),
    "whiteness": (-4.0, 0.5),
    "contrast": (0.01, -0.001),
    "noise": (0.0, 1.0),
    "spread": (1e-6, -1e-7),
    "tokens": (0.5, -0.05),
}
"""For each fact the value at which an input is as likely empty as not, and the scale of the logistic around it: with a
negative one lower values are emptier. If 0 is emptiest, the scale is a tenth of the value: a constant input is empty
beyond doubt, whatever its network predicts. 1 % of full scale is a black picture with sensor noise. `noise` is a
logarithm of odds itself. Other facts are only shown."""


def level_dbfs(sound: Floats) -> float:
    """Return the root mean square of a sound [samples] in [-1, 1], in dB of full scale, at least `QUIETEST`."""
    power = float(np.mean(np.square(sound, dtype=np.float64)))
    return max(QUIETEST, 10 * np.log10(power)) if power > 0 else QUIETEST


def flatness(sound: Floats) -> float:
    """Return the spectral flatness of a sound [samples] relative to white noise: about 1 for that, near 0 for tones.

    The geometric over the arithmetic mean of Welch's power spectrum (Johnston, 1988), divided by what is expected for
    white noise and k independent windows: exp(digamma(k) - log(k)). Silence, and a sound of under 4 samples, is 1.
    """
    from scipy.signal import welch
    from scipy.special import digamma

    window, windows, frequencies = _spectrum_of(len(sound))
    if window < 4:
        return 1.0
    _, power = welch(sound, nperseg=window, detrend="constant")
    power = power[1 : 1 + frequencies]
    mean = power.mean()
    if not mean > 0:
        return 1.0
    of_noise = np.exp(digamma(windows) - np.log(windows))
    return float(np.exp(np.mean(np.log(np.maximum(power, 1e-12 * mean)))) / mean / of_noise)


@lru_cache(maxsize=4096)  # most sounds of a dataset have a few lengths
def flatness_deviation(samples: int) -> float:
    """Return the standard deviation of the flatness of white noise of so many samples, at least 1.

    The power at a frequency is gamma distributed with shape k, so that the variance of log(power) - power / mean is
    trigamma(k) - 1 / k; to first order the logarithm of the flatness is the mean of that over the frequencies. That
    it is quadratic in the power makes the correlation of neighbours that of the powers squared.
    """
    from scipy.special import polygamma

    _, windows, frequencies = _spectrum_of(samples)
    together = 1 + 2 * sum(correlation**2 for correlation in OF_NEIGHBOURS)
    return float(np.sqrt((polygamma(1, windows) - 1 / windows) * together / frequencies))


def _spectrum_of(samples: int) -> tuple[int, float, int]:
    """Return the length of a window, as how many independent windows they count, and the number of frequencies.

    Neither the constant part nor half the sample rate is among these: they vary more than the others.
    """
    window = min(WINDOW, samples)
    count = 1 + 2 * (samples - window) // window  # they overlap by half
    independent = count / (1 + 2 * OF_OVERLAP * (count - 1) / count)
    return window, independent, max(1, (window - 1) // 2)


def whiteness(flat: float, samples: int) -> float:
    """Return by how many standard deviations the flatness `flat` of so many samples is above that of drowned inputs.

    Zero is what white noise with `REMNANT` of something else has on average at least. White noise alone has more, the
    longer it is; what is far below -3 is not white.
    """
    return (flat - (1 - REMNANT)) / flatness_deviation(samples)


def contrast(pixels: npt.NDArray[np.uint8]) -> float:
    """Return the standard deviation of the values of one picture or clip, as a share of full scale, in [0, 0.5]."""
    return float(pixels.std(dtype=np.float64) / 255)


def correlation(pixels: npt.NDArray[np.uint8]) -> float:
    """Return by how many standard deviations the correlation of adjacent pixels differs from that of white noise.

    `pixels` are those of one picture or clip, [..., channels, height, width]. The channels are averaged first, because
    those of a grey picture are copies. White noise has a correlation of about 0, with the deviation 1 / sqrt(pairs of
    pixels) (Moran, 1950, for a grid). A constant picture, and one of a single pixel, is 0.
    """
    grey = pixels.mean(axis=-3, dtype=np.float64)
    centred = grey - grey.mean(axis=(-2, -1), keepdims=True)
    power = np.square(centred).mean()
    count = pairs_of(pixels.shape)
    if not count or not power > 1e-9:
        return 0.0
    products = np.sum(centred[..., 1:] * centred[..., :-1]) + np.sum(centred[..., 1:, :] * centred[..., :-1, :])
    return float(abs(products) / power / np.sqrt(count))


def noise(deviations: float, pairs: int) -> float:
    """Return the logarithm of how much likelier white noise than a picture has such a correlation of adjacent pixels.

    `deviations` is that of `correlation`, `pairs` their number, at least 1. Noise with `REMNANT` of something else has
    a correlation within that, and the normal deviation 1 / sqrt(pairs) beyond it. Pictures are smooth: theirs, in
    [0, 1], is taken to have the density 2 r, and near 0, where chance decides, that at one deviation. So the
    correlation at which both are as likely falls as pictures grow, and a few pixels prove little.
    """
    beyond = max(0.0, deviations - REMNANT * np.sqrt(pairs))
    return float(np.log(pairs / max(1.0, deviations)) - (beyond**2 + np.log(2 * np.pi)) / 2)


def pairs_of(shape: tuple[int, ...]) -> int:
    """Return the number of pairs of adjacent pixels in a picture or clip of `shape` [..., channels, height, width]."""
    height, width = shape[-2:]
    return int(np.prod(shape[:-3])) * (height * (width - 1) + (height - 1) * width)


def spread(values: npt.NDArray[Any]) -> float:
    """Return the standard deviation of the numbers of one sample."""
    return float(values.std(dtype=np.float64))


def count_tokens(first: Ints, last: Ints, lengths: Ints) -> Floats:
    """Return how many tokens each text has, float64 [n], without marks of begin and end.

    `first` and `last` are the texts' outer tokens, `lengths` their numbers of tokens, int64 [n] each. A token that all
    texts begin or end with is a mark of the tokenizer, which empty texts have too.
    """
    many = len(lengths) > 1 and lengths.max() > 1
    marks = int(many and len(np.unique(first)) == 1) + int(many and len(np.unique(last)) == 1)
    return np.maximum(lengths - marks, 0).astype(np.float64)


def facts_of(modality: Modality, blocks: Iterable[npt.NDArray[Any] | Sounds]) -> dict[str, Floats]:
    """Return the facts of n stored samples, float64 [n] each, from `blocks` of them as `Store.read` returns them."""
    found: dict[str, list[npt.NDArray[Any]]] = {}
    for block in blocks:
        for name, values in _of_block(modality, block).items():
            found.setdefault(name, []).append(np.asarray(values))
    facts = {name: np.concatenate(parts) for name, parts in found.items()}
    return {"tokens": count_tokens(**facts)} if modality.kind == "text" else facts


def _of_block(modality: Modality, stored: npt.NDArray[Any] | Sounds) -> Mapping[str, Any]:
    if isinstance(stored, Sounds):
        sounds = [to_float(part).astype(np.float64) for part in np.split(stored.values, stored.ends[:-1])]
        flat = [flatness(sound) for sound in sounds]
        white = [whiteness(value, len(sound)) for value, sound in zip(flat, sounds, strict=True)]
        return {"level_dbfs": [level_dbfs(sound) for sound in sounds], "flatness": flat, "whiteness": white}
    if modality.kind == "text":
        lengths = (stored != 0).sum(axis=1)
        last = stored[np.arange(len(stored)), np.maximum(lengths, 1) - 1]
        return {"first": stored[:, 0], "last": last, "lengths": lengths}
    if stored.dtype == np.uint8:
        related, pairs = [correlation(sample) for sample in stored], pairs_of(stored.shape[1:])
        facts = {"contrast": [contrast(sample) for sample in stored], "correlation": related}
        return facts | ({"noise": [noise(deviations, pairs) for deviations in related]} if pairs else {})
    return {"spread": [spread(sample) for sample in stored]}


def emptiness(facts: Mapping[str, Floats]) -> Floats:
    """Return the probability [n] that an input carries nothing: that of its most telling fact."""
    from scipy.special import expit

    each = [expit((facts[name] - limit) / scale) for name, (limit, scale) in LIMITS.items() if name in facts]
    most: Floats = np.max(each, axis=0)
    return most
