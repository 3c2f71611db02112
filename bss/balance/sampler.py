"""SequenceSampler: a scheduler inside any PyTorch DataLoader."""

from collections.abc import Iterator, Mapping, Sized
from dataclasses import asdict
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from bss.balance.checks import require
from bss.balance.criteria import feature_similarity, logit_similarity, prediction_similarity
from bss.balance.observations import Observations
from bss.balance.schedulers import Heuristic, Learned, Scheduler, Uniform
from bss.balance.score import BalanceScore, Floats, smooth
from bss.balance.sorting import Indices

READ_AHEAD = 1 << 16
"""Indices that are turned into Python's own integers at a time: each takes several times its eight bytes."""


class SequenceSampler(Sampler[int]):
    """Yields each epoch's sequence of sample indices, for a DataLoader's ``sampler=``.

    Call `set_epoch` before each epoch, and `observe` after each batch where the scheduler needs scores
    that it was not given. The order is that of one global sequence whatever the number of workers, and
    rank r of R takes every R-th sample of it, so a global batch holds the same samples for any R.

    Parameters
    ----------
    n : number of training samples.
    scheduler : `Uniform`, `Heuristic` (BSS-H) or `Learned` (BSS-L).
    seed : decides every draw.
    scores : balance scores [n], high = balanced. None: the first `warmup_epochs` epochs are shuffled
        uniformly and observed, and the scheduler starts after them.
    labels : integers [n], needed by a stratified ranking.
    score : how observed criteria become a score.
    warmup_epochs : used when `scores` is None, at least 1.
    minimum : the least number of samples an epoch may show. Give ``batch_size * ranks`` where the
        loader drops the last batch, or a young curriculum trains on nothing.
    rank, ranks : this process and how many there are. Where n does not divide evenly the last ranks
        repeat samples from the beginning of the sequence, so that all make the same number of steps. A
        loop that can do with shares of different size cuts them from `sequence` itself.

    Raises
    ------
    ValueError
        A value out of its range, or scores or labels for another number of samples.
    """

    def __init__(
        self,
        n: int,
        scheduler: Scheduler,
        seed: int,
        *,
        scores: npt.ArrayLike | None = None,
        labels: npt.ArrayLike | None = None,
        score: BalanceScore | None = None,
        warmup_epochs: int = 3,
        minimum: int = 1,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        require(n >= 1, "n", n, "at least 1")
        require(seed >= 0, "seed", seed, "at least 0")
        require(ranks >= 1 and 0 <= rank < ranks, "rank", rank, f"in [0, ranks = {ranks})")
        require(warmup_epochs >= 1, "warmup_epochs", warmup_epochs, "at least 1")
        require(1 <= minimum <= n, "minimum", minimum, f"1 to the {n} samples: lower the batch size, or add data")
        self.n, self.scheduler, self.seed = n, scheduler, seed
        self.score = score or BalanceScore()
        self.minimum, self.rank, self.ranks = minimum, rank, ranks
        self.labels = None if labels is None else np.asarray(labels)
        if self.labels is not None:
            require(len(self.labels) == n, "labels", f"{len(self.labels)} labels", f"one per sample ({n})")
        self.scores: Floats | None = None
        """The smoothed balance scores [n] in force, or None before the first measurement."""
        self.measured: Floats | None = None
        """The last measurement before smoothing [n], NaN where a sample was not observed."""
        self.start_epoch = 0 if scores is not None or isinstance(scheduler, Uniform) else warmup_epochs
        self.epoch = -1
        self._measures = isinstance(scheduler, Learned) or (isinstance(scheduler, Heuristic) and scores is None)
        self.observations = Observations(n if self._measures else 0, self.score.criteria)
        """Of no sample where no measurement will ever be due."""
        self._ranking: Indices | None = None
        self._position = 0  # indices yielded in the current epoch
        self._resume_at = 0  # where the next iteration starts: after 0 indices, but for a loaded state
        if scores is not None:
            given = np.array(scores, dtype=np.float64)
            right = f"{n} finite numbers, one per sample: scores of this dataset and no other"
            require(given.shape == (n,) and bool(np.isfinite(given).all()), "scores", given.shape, right)
            self.scores = given
        self.sequence = Uniform().sequence(n, 0, seed)
        """The global sequence of the current epoch, int64; `Uniform`'s until `set_epoch` is called."""

    def set_epoch(self, epoch: int) -> None:
        """Take what was observed into the scores where that is due, and plan the sequence of `epoch`.

        Calling it again with the same epoch changes nothing, so a loaded position stays.
        """
        require(epoch >= 0, "epoch", epoch, "at least 0")
        if epoch != self.epoch:
            if self._measuring_is_due(epoch):
                self._measure()
            self.epoch = epoch
            self.sequence = self._plan(epoch)
            self._resume_at = self._position = 0

    def observe(
        self,
        index: npt.ArrayLike | Tensor,
        logits: Mapping[str, Tensor],
        loss: Tensor,
        *,
        features: Mapping[str, Tensor] | None = None,
        gradient_magnitude: Tensor | None = None,
    ) -> None:
        """Record a batch of the training pass, so that scores cost no pass of their own.

        Parameters
        ----------
        index : the samples' indices, int64 [batch].
        logits : unimodal logits per modality, [batch, classes] each.
        loss : the training loss of each sample, [batch], not reduced.
        features : encoder features per modality, [batch, d]; for the criterion feature_similarity.
        gradient_magnitude : [batch]; for the criterion of that name.
        """
        if not self._measures:
            return
        values: dict[str, Tensor] = {}
        with torch.no_grad():
            for name in self.score.criteria:
                if name == "training_loss":
                    values[name] = loss
                elif name == "prediction_similarity":
                    values[name] = prediction_similarity(logits)
                elif name == "logit_similarity":
                    values[name] = logit_similarity(logits)
                elif name == "feature_similarity" and features is not None:
                    values[name] = feature_similarity(features)
                elif name == "gradient_magnitude" and gradient_magnitude is not None:
                    values[name] = gradient_magnitude
                else:
                    raise ValueError(f"the score uses `{name}`: pass it to observe()")
        self.record(index, values)

    def record(self, index: npt.ArrayLike | Tensor, values: Mapping[str, npt.ArrayLike | Tensor]) -> None:
        """Record criterion values ([k] each) that were measured elsewhere for the samples `index` [k].

        Values on a GPU are fetched when the scores are computed, not now.
        """
        rows = np.asarray(index, dtype=np.int64).reshape(-1)
        inside = len(rows) == 0 or (rows.min() >= 0 and rows.max() < self.n)
        require(inside, "index", [*rows[:3]], f"within 0 .. {self.n - 1}")
        for name, column in values.items():
            found = np.shape(column)
            require(found == rows.shape, name, found, f"one value per sample, {rows.shape}; is the loss reduced?")
        if self._measures:
            self.observations.record(rows, values, self.epoch)

    def __iter__(self) -> Iterator[int]:
        """Yield this rank's indices of the current epoch, from the position that was loaded, if any."""
        start, self._resume_at = self._resume_at, 0
        self._position = start
        sequence, shard, steps = self.sequence, self.shard, len(self)
        for first in range(start, len(shard), READ_AHEAD):
            for index in shard[first : first + READ_AHEAD].tolist():
                self._position += 1
                yield index
        for step in range(max(start, len(shard)), steps):
            self._position += 1
            yield int(sequence[(step * self.ranks + self.rank) % len(sequence)])

    def __len__(self) -> int:
        """Return how many indices the next iteration yields on this rank."""
        return -(-len(self.sequence) // self.ranks) - self._resume_at

    @property
    def shard(self) -> Indices:
        """What this rank takes of `sequence`, every `ranks`-th: a view, without what the last ranks repeat."""
        return self.sequence[self.rank :: self.ranks]

    def state_dict(self, position: int | None = None) -> dict[str, Any]:
        """Return everything that decides what comes next, for `load_state_dict` in another process.

        `position` counts the samples of this rank that the loop has finished in this epoch. None takes
        those that were yielded, which is right without worker processes; workers read ahead, so with
        them pass ``batches_done * batch_size``.
        """
        return {
            **self._identity(),
            "ranks": self.ranks,
            "epoch": self.epoch,
            "position": self._position if position is None else position,
            "start_epoch": self.start_epoch,
            "scores": None if self.scores is None else self.scores.copy(),
            "sequence": self.sequence.copy(),
            "values": {name: column.copy() for name, column in self.observations.values.items()},
            "observed": self.observations.epochs.copy(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken; the number of ranks may differ only between epochs.

        Raises ``ValueError`` when the state is of another dataset, scheduler, seed or score.
        """
        for name, mine in self._identity().items():
            if state[name] != mine:
                raise ValueError(f"this state was saved with {name} = {state[name]!r}, but the sampler has {mine!r}")
        position = int(state["position"])
        if position and state["ranks"] != self.ranks:
            raise ValueError(f"a state inside an epoch of {state['ranks']} ranks cannot go on with {self.ranks}")
        self.epoch, self.start_epoch = int(state["epoch"]), int(state["start_epoch"])
        self.scores = None if state["scores"] is None else np.array(state["scores"], dtype=np.float64)
        self.sequence = np.array(state["sequence"], dtype=np.int64)
        for name, column in self.observations.values.items():
            column[:] = state["values"][name]
        self.observations.epochs[:] = state["observed"]
        self._ranking = None
        self._resume_at = self._position = position

    def _identity(self) -> dict[str, Any]:
        return {
            "n": self.n,
            "seed": self.seed,
            "scheduler": {"name": type(self.scheduler).__name__, **asdict(self.scheduler)},
            "score": asdict(self.score),
        }

    def _measuring_is_due(self, epoch: int) -> bool:
        if isinstance(self.scheduler, Uniform) or epoch < max(1, self.start_epoch):
            return False
        if isinstance(self.scheduler, Heuristic):
            return self.scores is None
        return (epoch - self.start_epoch) % self.scheduler.every == 0

    def _measure(self) -> None:
        observations = self.observations
        if self.ranks > 1 and torch.distributed.is_available() and torch.distributed.is_initialized():
            observations.exchange()
        if not observations.fresh:
            if self.scores is None:
                raise RuntimeError(
                    "no scores and nothing observed: call sampler.observe(index, logits, loss) after each "
                    "batch, or pass scores="
                )
            return
        if self.ranks > 1 and not observations.seen.all() and not torch.distributed.is_initialized():
            raise RuntimeError(
                f"{self.ranks} ranks without a process group: call torch.distributed.init_process_group, "
                "or record() every sample on every rank"
            )
        # All samples as a slice: indexing by it copies nothing.
        seen = slice(None) if observations.seen.all() else observations.seen
        measured = self.score({name: column[seen] for name, column in observations.values.items()})
        self.measured = np.full(self.n, np.nan)
        self.measured[seen] = measured
        if isinstance(self.scheduler, Learned) and self.scores is not None:
            self.scores[seen] = smooth(self.scores[seen], measured, self.scheduler.beta)
        else:
            # A sample that was never observed (a loader that drops the last batch) stands in the middle.
            self.scores = np.full(self.n, float(np.median(measured)))
            self.scores[seen] = measured
        observations.clear()

    def _plan(self, epoch: int) -> Indices:
        if isinstance(self.scheduler, Uniform) or epoch < self.start_epoch:
            return Uniform().sequence(self.n, epoch, self.seed)
        if self.scores is None:
            raise RuntimeError(f"epoch {epoch} comes after the warm-up, but nothing was observed in it")
        since = epoch - self.start_epoch
        if isinstance(self.scheduler, Learned):
            return self.scheduler.sequence(self.scores, since, self.seed)
        if self._ranking is None:
            self._ranking = self.scheduler.rank(self.scores, self.seed, self.labels)
            least = f"the {self.minimum} samples that an epoch needs: lower `trim` or the batch size"
            require(
                len(self._ranking) >= self.minimum,
                "trim",
                self.scheduler.trim,
                f"small enough to leave {least}",
            )
        return self.scheduler.sequence(self._ranking, since, self.seed, self.minimum)


class SizedDataset(Sized, Protocol):
    """A map-style dataset."""

    def __getitem__(self, index: int) -> Any:
        """Return one sample."""


class WithIndex(Dataset[tuple[Any, ...]]):
    """A map-style dataset whose samples begin with their index: ``(index, *sample)``."""

    def __init__(self, dataset: SizedDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        sample = self.dataset[index]
        return (index, *sample) if isinstance(sample, tuple) else (index, sample)
