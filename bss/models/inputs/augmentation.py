"""Augmentation draws: they depend only on seed, purpose, epoch and the sample's row in the store."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bss.balance.draw import generator

TRIES = 10
"""Attempts at a random crop before falling back to the centre."""
AREA, RATIO = slice(0, TRIES), slice(TRIES, 2 * TRIES)
TOP, LEFT, FLIP, FIRST = range(2 * TRIES, 2 * TRIES + 4)
"""Columns of a table of draws: area and ratio of each attempt, then position, flip and first frame."""
DRAWS = 2 * TRIES + 4


@dataclass(frozen=True)
class Augmentation:
    """The source of one epoch's draws."""

    seed: int
    purpose: str
    """training or measuring: each has its own draws."""
    epoch: int

    def draw(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return uniform numbers in [0, 1) for the samples at `rows` [k] of the store, [k, DRAWS].

        The draws of a row do not depend on the other rows, their order, the rank or the process.
        """
        random, place = generator(self.seed, f"augmentation {self.purpose}", self.epoch), 0
        bits = random.bit_generator
        assert isinstance(bits, np.random.PCG64)
        drawn = np.empty((len(rows), DRAWS))
        for numbers, row in zip(drawn, rows.tolist(), strict=True):
            bits.advance((row * DRAWS - place) % 2**128)  # each number advances the generator by one step
            random.random(out=numbers)
            place = (row + 1) * DRAWS
        return drawn


def of_each_frame(drawn: npt.NDArray[np.float64], frames: int) -> npt.NDArray[np.float64]:
    """Return draws for `frames` frames per sample, [k * frames, DRAWS], derived from `drawn` [k, DRAWS]."""
    numbers = np.empty((len(drawn), frames, DRAWS))
    for of_sample, row in zip(numbers, drawn, strict=True):
        seed = (row[:2] * 2**53).astype(np.int64).tolist()  # all the bits of two uniform numbers
        np.random.Generator(np.random.PCG64(seed)).random(out=of_sample)
    return numbers.reshape(-1, DRAWS)
