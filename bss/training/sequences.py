"""Sequences for training: split into batches, identified by a digest. Needs no torch."""

import hashlib

import numpy as np
import numpy.typing as npt

from bss.errors import BssError


def split_into_batches(
    sequence: npt.NDArray[np.int64], batch_size: int, drop_last: bool = False
) -> list[npt.NDArray[np.int64]]:
    """Cut `sequence` into batches, in order.

    A last batch of a single sample joins the previous one, because batch normalisation cannot train on it, unless
    `batch_size` is 1. With `drop_last`, an incomplete last batch is dropped instead; raises `BssError` if no batch
    is full.
    """
    if drop_last:
        full = len(sequence) // batch_size
        if full == 0:
            raise BssError(
                f"params.yaml: train.drop_last drops all {len(sequence)} samples of an epoch, which do not fill a "
                f"batch of {batch_size}: lower train.batch_size, or set train.drop_last to false."
            )
        return np.split(sequence[: full * batch_size], full)
    starts = list(range(0, len(sequence), batch_size))
    if len(starts) > 1 and batch_size > 1 and len(sequence) - starts[-1] == 1:
        starts.pop()
    ends = [*starts[1:], len(sequence)]
    return [sequence[start:end] for start, end in zip(starts, ends, strict=True)]


def count_steps(samples: int, batch_size: int, drop_last: bool = False) -> int:
    """Return the number of batches that `split_into_batches` makes from `samples` samples."""
    if drop_last:
        return samples // batch_size
    steps = -(-samples // batch_size)
    return steps - 1 if steps > 1 and samples % batch_size == 1 else steps


def sequence_digest(rows: npt.NDArray[np.int64]) -> str:
    """Return the sha256 of a sequence of store rows, as little-endian int64."""
    return hashlib.sha256(np.ascontiguousarray(rows, dtype="<i8").data).hexdigest()
