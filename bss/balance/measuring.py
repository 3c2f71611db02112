"""From observations to scores: what a sampler does when a measurement is due."""

import warnings

import numpy as np

from bss.balance.observations import Observations
from bss.balance.schedulers import Scheduler
from bss.balance.score import BalanceScore, Floats

LEAST_OBSERVED = 0.9
"""If a smaller share of the samples is observed between two measurements, the indices may be wrong."""
STACKLEVEL = 5
"""Stack level of the line that calls `set_epoch`, seen from `measured_scores`."""


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
