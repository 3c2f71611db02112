"""Planning the sequence of each epoch of a sampler."""

from operator import index as whole_number
from typing import Any

import numpy as np
import numpy.typing as npt

from bss.balance.checks import require
from bss.balance.fixed_length import fit_length
from bss.balance.schedulers import Scheduler, Uniform
from bss.balance.score import Floats
from bss.balance.sorting import Indices


class Planner:
    """Draws sequences by a scheduler, whose basis is kept until the scores change.

    Parameters and errors are those of `SequenceSampler`.
    """

    def __init__(
        self,
        n: int,
        scheduler: Scheduler,
        seed: int,
        labels: npt.ArrayLike | None,
        minimum: int,
        num_samples: int | None,
    ) -> None:
        n, seed = whole_number(n), whole_number(seed)
        require(n >= 1, "n", n, "at least 1")
        require(seed >= 0, "seed", seed, "at least 0")
        require(1 <= minimum <= n, "minimum", minimum, f"1 to the {n} samples: lower the batch size, or add data")
        if num_samples is not None:
            num_samples = whole_number(num_samples)
            least = f"{minimum} to the {n} samples" + " (`minimum` is the least)" * (minimum > 1)
            require(minimum <= num_samples <= n, "num_samples", num_samples, least)
        self.n, self.seed, self.num_samples = n, seed, num_samples
        self._scheduler, self._minimum = scheduler, minimum
        self._labels = None if labels is None else np.asarray(labels)
        if self._labels is not None:
            require(self._labels.shape == (n,), "labels", self._labels.shape, f"one integer per sample, [{n}]")
        else:
            require(not scheduler.needs_labels, "labels", None, "given for a stratified ranking")
        self._basis: Any = None  # what sequences are drawn from; None until computed from the current scores

    def forget_scores(self) -> None:
        """Have the next `sequence` drawn from the scores that it is given; until then earlier ones count."""
        self._basis = None

    def uniform(self, epoch: int) -> Indices:
        """Return a uniform shuffle of all samples, as in a warm-up, int64 [n or num_samples]."""
        return self._fit(Uniform().sequence(self.n, epoch, self.seed), epoch)

    def sequence(self, epoch: int, start_epoch: int, scores: Floats | None) -> Indices:
        """Return the sequence of `epoch`, int64; before `start_epoch` it is uniform. `scores` is [n], None if unknown.

        Raises RuntimeError if the scheduler needs scores and there are none.
        """
        if epoch < start_epoch:
            return self.uniform(epoch)
        if scores is None and self._scheduler.needs_scores:
            raise RuntimeError(f"epoch {epoch} follows the warm-up, but nothing was observed during the warm-up")
        if self._basis is None:
            self._basis = self._scheduler.basis(self.n, scores, self.seed, self._labels)
            if (short := self._scheduler.too_few(self.n, self._minimum)) is not None:
                name, value = short
                least = f"the {self._minimum} samples that an epoch needs: lower `{name}` or the batch size"
                require(False, name, value, f"small enough to leave {least}")
        return self._fit(self._scheduler.sequence(self._basis, epoch - start_epoch, self.seed, self._minimum), epoch)

    def _fit(self, sequence: Indices, epoch: int) -> Indices:
        if self.num_samples is None:
            return sequence
        return fit_length(sequence, self.num_samples, self.seed, epoch)
