"""LoopCheck: whether a loop trains on the batches that its sampler gave it."""

from collections.abc import Callable

import numpy as np

from bss.balance.sorting import Indices

REPLACED = (
    "the loader does not use this SequenceSampler, or something reorders what it yields. Pass sampler= to the "
    "DataLoader; in the Hugging Face Trainer return it from _get_train_sampler; in Lightning set "
    "Trainer(use_distributed_sampler=False, overfit_batches=0)"
)
SKIPPED = (
    "something between the SequenceSampler and the loop drops batches, as a second sharding does. In Lightning set "
    "Trainer(use_distributed_sampler=False); with Accelerate and the Hugging Face Trainer leave rank= and ranks= out"
)
INDEX = "`index` must be the position in the dataset of the sampler: put WithIndex around Subset and ConcatDataset"

Shown = Callable[[Indices], Indices]
"""Returns the samples that a rank is given at these positions of its epoch, which repeats after its end."""


class LoopCheck:
    """Follows the batches of a loop through the samples that its rank is given."""

    def __init__(self) -> None:
        self.iterated = False
        """Whether anything has iterated the sampler yet."""
        self._at = 0
        self._fresh = True
        self._widest = 0

    def begin(self, start: int) -> None:
        """Expect the batches of an iteration that starts at position `start` of the epoch."""
        self.iterated = True
        self._at, self._fresh = start, True

    def follow(self, batch: Indices, shown: Shown, steps: int, others: int) -> None:
        """Raise RuntimeError unless `batch` comes next.

        Parameters
        ----------
        batch : the samples that the loop trains on, int64 [k].
        shown : what this rank is given. At the end of an epoch libraries fill up with samples of its start.
        steps : how many samples this rank is given in the epoch.
        others : how many batches of other processes may lie between two of this one. The first batch may lie
            anywhere, because trainers resume inside an epoch by skipping batches.
        """
        if not len(batch):
            return
        self._widest = max(self._widest, len(batch))
        reach = steps - 1 if self._fresh else min(steps - 1, others * self._widest)
        found = find_run(shown, batch, self._at, reach)
        if found is None:
            elsewhere = find_run(shown, batch, self._at, steps - 1)
            why = f"are not the next ones: {REPLACED}. {INDEX}" if elsewhere is None else f"come later: {SKIPPED}"
            some = f"{batch[:8].tolist()}{' and more' if len(batch) > 8 else ''}"
            raise RuntimeError(f"the loop trains on the samples {some}, which in this process's sequence {why}")
        self._at, self._fresh = found + len(batch), False


def find_run(shown: Shown, run: Indices, start: int, reach: int) -> int | None:
    """Return the first position in [start, start + reach] from which on `shown` is `run` [k]; None if there is none."""
    places = np.arange(start, start + reach + 1)
    for place in places[shown(places) == run[0]].tolist():
        if np.array_equal(shown(np.arange(place, place + len(run))), run):
            return int(place)
    return None
