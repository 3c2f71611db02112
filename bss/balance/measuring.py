"""From observations to scores: what a sampler does when a measurement is due."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bss.balance.checks import require
from bss.balance.observations import Observations
from bss.balance.schedulers import Scheduler
from bss.balance.score import BalanceScore, Floats
from bss.balance.sorting import Indices

LEAST_OBSERVED = 0.9
"""If a smaller share of the samples is observed between two measurements, the indices may be wrong."""
STACKLEVEL = 4
"""Stack level of the line that calls `set_epoch`, seen from `measured_scores`."""


class Measuring:
    """Measures the balance scores of n samples from the observations of training passes; with n = 0 it never does."""

    def __init__(self, n: int, score: BalanceScore, scheduler: Scheduler, ranks: int) -> None:
        self.n = n
        self.observations = Observations(n, score.criteria)
        self._score, self._scheduler, self._ranks = score, scheduler, ranks
        self._shared = True  # whether all ranks have the same observations

    def record(self, rows: Indices, values: Mapping[str, npt.ArrayLike | Tensor], epoch: int) -> None:
        """Record criterion values ([k] each) of the samples `rows` [k], observed in `epoch`."""
        if self.n:
            self.observations.record(rows, values, epoch)
            self._shared = self._ranks == 1

    def share(self) -> None:
        """Exchange observations between all ranks, which call it together."""
        if self.n and self._ranks > 1:
            self.observations.exchange()
            self._shared = True

    def measure_if_due(self, epoch: int, start_epoch: int, before: Floats | None) -> tuple[Floats, Floats] | None:
        """Measure before `epoch` as `measured_scores` does, and forget the observations.

        None if the scheduler, which starts at `start_epoch`, wants no measurement now, or nothing was observed. Raises
        RuntimeError if there are no scores `before` either, or if the ranks cannot exchange observations.
        """
        every = self._scheduler.measures_every
        due = before is None if every is None else (epoch - start_epoch) % every == 0
        if not (due and self._scheduler.needs_scores and epoch >= max(1, start_epoch)):
            return None
        grouped = torch.distributed.is_available() and torch.distributed.is_initialized()
        if grouped:
            self.share()
        if not self.observations.fresh:
            if before is None:
                raise RuntimeError(
                    "no scores and nothing observed: call sampler.observe(index, logits, loss) after each "
                    "batch, or pass scores="
                )
            return None
        if self._ranks > 1 and not self.observations.seen.all() and not grouped:
            raise RuntimeError(
                f"{self._ranks} ranks without a process group: call torch.distributed.init_process_group, "
                "or record() every sample on every rank"
            )
        found = measured_scores(self.observations, self._score, self._scheduler, before, epoch)
        self.observations.clear()
        self._shared = True
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return the observations, and whether they are those of all ranks."""
        values = {name: torch.tensor(column) for name, column in self.observations.values.items()}
        return {"shared": self._shared, "values": values, "observed": torch.tensor(self.observations.epochs)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Return to a `state_dict`; other keys are ignored."""
        for name, column in self.observations.values.items():
            column[:] = state["values"][name]
        self.observations.epochs[:] = state["observed"]
        self._shared = bool(state["shared"])


def given_scores(scores: npt.ArrayLike, n: int) -> Floats:
    """Return a copy of `scores` as float64 [n]; raise ``ValueError`` unless it is n finite numbers."""
    given = np.array(scores, dtype=np.float64)
    require(given.shape == (n,), "scores", given.shape, f"{n} numbers, one per sample of this dataset")
    wrong = np.flatnonzero(~np.isfinite(given))
    require(not len(wrong), "scores", wrong[:3].tolist(), "finite numbers; they are not at these positions")
    return given


def measured_scores(
    observations: Observations, score: BalanceScore, scheduler: Scheduler, before: Floats | None, epoch: int
) -> tuple[Floats, Floats]:
    """Return the scores after a measurement and the measurement itself, [n] each.

    Parameters
    ----------
    observations : of all ranks; at least one sample has been observed.
    before : the current scores [n], which unobserved samples keep; None: those get the median.
    epoch : the one that is planned next, for the warning about many unobserved samples.

    Returns
    -------
    The smoothed scores, and the measurement before smoothing, NaN for unobserved samples.
    """
    n = len(observations.seen)
    share = float(observations.seen.mean())
    if share < LEAST_OBSERVED:
        warnings.warn(
            f"only {share:.0%} of the samples were observed before epoch {epoch}; the others keep the score that "
            "they had, or get the median. Is `index` the position in the dataset, as from WithIndex? With "
            "several processes: does each sampler have its `rank` and `ranks`?",
            stacklevel=STACKLEVEL,
        )
    # All samples as a slice: indexing by it copies nothing.
    seen = slice(None) if observations.seen.all() else observations.seen
    values = score({name: column[seen] for name, column in observations.values.items()})
    measured = np.full(n, np.nan)
    measured[seen] = values
    if before is None:
        # A sample that was never observed (a loader that drops the last batch) gets the median.
        scores = np.full(n, float(np.median(values)))
    else:
        scores = before
        values = scheduler.smooth(before[seen], values)
    scores[seen] = values
    return scores, measured


def refuse_partial(observations: Observations, epoch: int, shown: int) -> None:
    """Raise RuntimeError if less than `LEAST_OBSERVED` of the `shown` samples of `epoch` were observed, but some were.

    For a process of several that does not exchange observations with the others.
    """
    observed = int((observations.epochs == epoch).sum())
    if 0 < observed < LEAST_OBSERVED * shown:
        raise RuntimeError(
            f"this process observed only {observed} of the {shown} samples of epoch {epoch}, because a library "
            "shards its loader, so the processes would measure different scores. Gather the batches before observing: "
            "index, logits, loss = accelerator.gather((index, logits, loss)). Or keep the loader out of "
            "accelerator.prepare() and pass rank= and ranks= to the SequenceSampler"
        )
