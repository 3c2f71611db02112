"""Random draws that depend only on (seed, epoch, purpose)."""

import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from bss.balance.sorting import Floats, Indices, stable_argsort

CHUNK = 1 << 18
"""Keys per chunk: one chunk is drawn while the previous one is processed."""


def generator(seed: int, purpose: str, epoch: int = 0) -> np.random.Generator:
    """Return an independent generator for each (seed, purpose, epoch), the same on every machine."""
    return np.random.Generator(np.random.PCG64([seed, zlib.crc32(purpose.encode()), epoch]))


def weighted_permutation(log_weights: npt.ArrayLike, random: np.random.Generator) -> Indices:
    """Draw all n indices sequentially without replacement, each with probability ~ exp(log_weight).

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
    return stable_argsort(_draw_keys(log_weights, random))


def _draw_keys(log_weights: Floats, random: np.random.Generator) -> Floats:
    """Return ``log(Exponential(1)) - log_weight``; one thread draws, another does the arithmetic."""
    keys = np.empty(len(log_weights))

    def finish(part: slice) -> None:
        with np.errstate(divide="ignore"):  # a standard exponential can be exactly 0: then it comes first
            np.log(keys[part], out=keys[part])
        keys[part] -= log_weights[part]

    if len(keys) <= CHUNK:  # faster than starting a thread
        random.standard_exponential(out=keys)
        finish(slice(None))
        return keys
    with ThreadPoolExecutor(1) as pool:
        finished = []
        for start in range(0, len(keys), CHUNK):
            part = slice(start, start + CHUNK)
            random.standard_exponential(out=keys[part])
            finished.append(pool.submit(finish, part))
        for future in finished:
            future.result()
    return keys
