"""Facts of single inputs that show that one carries nothing: level, flatness, contrast, correlation, number of tokens.

Pure functions of stored arrays. `emptiness` turns them into the probability that `bss.balance.audit` takes as evidence.
"""

from collections.abc import Iterable, Mapping
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
LIMITS: dict[str, tuple[float, float]] = {
    "level_dbfs": (-60.0, -3.0),
    "flatness": (0.98, 0.005),
    "contrast": (0.01, -0.001),
    "correlation": (2.0, -0.5),
    "spread": (1e-6, -1e-7),
    "tokens": (0.5, -0.05),
}
"""For each fact the value at which an input is as likely empty as not, and the scale of the logistic around it: with a
negative one lower values are emptier. If 0 is emptiest, the scale is a tenth of the value: a constant input is empty
beyond doubt, whatever its network predicts. 1 % of full scale is a black picture with sensor noise. Of 20
pictures of white noise, 19 have a correlation within 2."""


def level_dbfs(sound: Floats) -> float:
    """Return the root mean square of a sound [samples] in [-1, 1], in dB of full scale, at least `QUIETEST`."""
    power = float(np.mean(np.square(sound, dtype=np.float64)))
    return max(QUIETEST, 10 * np.log10(power)) if power > 0 else QUIETEST


def flatness(sound: Floats) -> float:
    """Return the spectral flatness of a sound [samples] relative to white noise: about 1 for that, near 0 for tones.

    The geometric over the arithmetic mean of Welch's power spectrum (Johnston, 1988), divided by what is expected for
    white noise and as many windows: exp(digamma(k) - log(k)). Silence, and a sound of under 4 samples, is 1.
    """
    from scipy.signal import welch
    from scipy.special import digamma

    window = min(WINDOW, len(sound))
    if window < 4:
        return 1.0
    _, power = welch(sound, nperseg=window, detrend="constant")
    power = power[1:]  # without the constant part
    mean = power.mean()
    if not mean > 0:
        return 1.0
    windows = 1 + 2 * (len(sound) - window) // window  # they overlap by half
    of_noise = np.exp(digamma(windows) - np.log(windows))
    return float(np.exp(np.mean(np.log(np.maximum(power, 1e-12 * mean)))) / mean / of_noise)


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
    pairs = [centred[..., 1:] * centred[..., :-1], centred[..., 1:, :] * centred[..., :-1, :]]
    count = sum(products.size for products in pairs)
    if not count or not power > 1e-9:
        return 0.0
    return float(abs(sum(products.sum() for products in pairs)) / power / np.sqrt(count))


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
        return {"level_dbfs": [level_dbfs(sound) for sound in sounds], "flatness": [flatness(s) for s in sounds]}
    if modality.kind == "text":
        lengths = (stored != 0).sum(axis=1)
        last = stored[np.arange(len(stored)), np.maximum(lengths, 1) - 1]
        return {"first": stored[:, 0], "last": last, "lengths": lengths}
    if stored.dtype == np.uint8:
        return {"contrast": [contrast(sample) for sample in stored], "correlation": [correlation(s) for s in stored]}
    return {"spread": [spread(sample) for sample in stored]}


def emptiness(facts: Mapping[str, Floats]) -> Floats:
    """Return the probability [n] that an input carries nothing: that of its most telling fact."""
    from scipy.special import expit

    each = [expit((values - LIMITS[name][0]) / LIMITS[name][1]) for name, values in facts.items()]
    most: Floats = np.max(each, axis=0)
    return most
