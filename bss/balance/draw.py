"""Random draws that are a function of (seed, epoch, purpose) alone."""

import zlib

import numpy as np
import numpy.typing as npt

from bss.balance.ranking import Indices


def generator(seed: int, purpose: str, epoch: int = 0) -> np.random.Generator:
    """Return a generator of its own for each (seed, purpose, epoch), the same on every machine."""
    return np.random.Generator(np.random.PCG64([seed, zlib.crc32(purpose.encode()), epoch]))


def weighted_permutation(log_weights: npt.ArrayLike, random: np.random.Generator) -> Indices:
    """Draw all n indices one after the other without replacement, each with probability ~ exp(log_weight).

    The exact law: sorting n independent keys Exponential(1) / weight draws the same permutation as n
    draws from an urn whose weights are renormalised after each (Efraimidis and Spirakis, 2006). Works in
    logarithms, so weights that differ by hundreds of orders of magnitude neither overflow nor vanish.

    Parameters
    ----------
    log_weights : [n] floats, finite.
    random : the source of randomness; n draws are taken from it.

    Returns
    -------
    int64 [n]: a permutation of 0 .. n - 1.
    """
    log_weights = np.asarray(log_weights, dtype=np.float64)
    if not np.isfinite(log_weights).all():
        raise ValueError("the weights of a draw must be finite and greater than 0")
    with np.errstate(divide="ignore"):  # a standard exponential can be exactly 0: then it comes first
        keys = np.log(random.standard_exponential(len(log_weights))) - log_weights
    return np.argsort(keys, kind="stable").astype(np.int64)
