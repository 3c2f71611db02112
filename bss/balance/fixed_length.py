"""Epochs of fixed length under any scheduler."""

import numpy as np

from bss.balance.draw import generator
from bss.balance.sorting import Indices


def fit_length(sequence: Indices, length: int, seed: int, epoch: int) -> Indices:
    """Return exactly `length` indices of `epoch`'s `sequence`: truncated, or repeated in new random orders until full.

    Each repetition is a full shuffle of `sequence`, the last one truncated: each of its m samples occurs
    ``length // m`` or ``length // m + 1`` times, and the first m are `sequence` itself.

    Parameters
    ----------
    sequence : int64 [m], at least one index.
    length : at least 0.
    seed, epoch : decide the orders of the repetitions.

    Returns
    -------
    int64 [length].
    """
    if len(sequence) >= length:
        return sequence[:length]
    random = generator(seed, "repeat", epoch)
    repeats = -(-length // len(sequence)) - 1
    return np.concatenate([sequence, *(random.permutation(sequence) for _ in range(repeats))])[:length]
