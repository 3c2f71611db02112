"""Bootstrap intervals of a mean, 95 %, for many small samples at once: what the t-interval is compared with.

Every sample of a size is resampled by the same index draws, so that a resampled mean is a matrix product.
"""

import numpy as np

from bss.report.statistics import Floats

RESAMPLES = 2000
ENDS = (0.025, 0.975)


def percentile_interval(samples: Floats) -> tuple[Floats, Floats]:
    """Return the quantiles of the resampled means; [samples, n] to two of [samples]."""
    low, high = np.quantile(_resample(samples)[0], ENDS, axis=1)
    return low, high


def bca_interval(samples: Floats) -> tuple[Floats, Floats]:
    """Return the bias-corrected and accelerated interval (Efron, 1987); [samples, n] to two of [samples]."""
    from scipy.special import ndtr, ndtri

    means = np.sort(_resample(samples)[0], axis=1)
    n, mean = samples.shape[1], samples.mean(axis=1, keepdims=True)
    below = np.mean(means < mean, axis=1) + np.mean(means == mean, axis=1) / 2
    bias = ndtri(np.clip(below, 0.5 / RESAMPLES, 1 - 0.5 / RESAMPLES))
    without = (samples.sum(axis=1, keepdims=True) - samples) / (n - 1)
    influence = without.mean(axis=1, keepdims=True) - without
    acceleration = (influence**3).sum(axis=1) / (6 * (influence**2).sum(axis=1) ** 1.5)
    ends = []
    for z in ndtri(ENDS):
        level = ndtr(bias + (bias + z) / (1 - acceleration * (bias + z)))
        place = np.clip(np.round(level * (RESAMPLES - 1)).astype(int), 0, RESAMPLES - 1)
        ends.append(np.take_along_axis(means, place[:, None], axis=1)[:, 0])
    return ends[0], ends[1]


def bootstrap_t_interval(samples: Floats) -> tuple[Floats, Floats]:
    """Return the interval from resampled t-statistics (Efron and Tibshirani, 1993); [samples, n] to two of [samples].

    A resample of equal values has an infinite t.
    """
    means, deviations = _resample(samples)
    n, mean = samples.shape[1], samples.mean(axis=1, keepdims=True)
    away = (means - mean) * np.sqrt(n)
    flat = deviations < 1e-9 * samples.std(axis=1, keepdims=True)
    t = np.where(flat, np.copysign(np.inf, away), away / np.where(flat, 1, deviations))
    low, high = np.quantile(t, ENDS, axis=1, method="nearest")
    error = samples.std(axis=1, ddof=1) / np.sqrt(n)
    return mean[:, 0] - high * error, mean[:, 0] - low * error


def _resample(samples: Floats) -> tuple[Floats, Floats]:
    """Return means and standard deviations (ddof = 1) of the resamples, [samples, resamples] each."""
    n = samples.shape[1]
    picked = np.random.default_rng(0).integers(n, size=(RESAMPLES, n))
    counts = (picked[:, :, None] == np.arange(n)).sum(axis=1).astype(np.float64)
    centred = samples - samples.mean(axis=1, keepdims=True)
    means = centred @ counts.T / n
    variances = np.maximum(centred**2 @ counts.T / n - means**2, 0) * n / (n - 1)
    return means + samples.mean(axis=1, keepdims=True), np.sqrt(variances)
