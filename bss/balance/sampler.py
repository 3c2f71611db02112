"""SequenceSampler: a scheduler inside any PyTorch DataLoader."""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from operator import index as whole_number
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Sampler

from bss.balance.checks import require, sample_indices
from bss.balance.criteria import observed_criteria
from bss.balance.epoch_watch import EpochWatch, warn_of_repeat
from bss.balance.loop_check import REPLACED, LoopCheck
from bss.balance.measuring import Measuring, given_scores, refuse_partial
from bss.balance.planner import Planner
from bss.balance.position import position_for, steps_of
from bss.balance.sampler_state import check_state, warn_if_partial
from bss.balance.schedulers import Scheduler
from bss.balance.score import BalanceScore, Floats
from bss.balance.sharding import is_sharded_outside, processes
from bss.balance.sorting import Indices

READ_AHEAD = 1 << 16
"""Indices converted to Python integers per chunk: each takes several times its eight bytes."""


class SequenceSampler(Sampler[int]):
    """Yields each epoch's sequence of sample indices; pass it as ``sampler=`` to a DataLoader.

    Call `set_epoch` before each epoch, and `observe` after each batch if the scheduler needs scores
    that were not passed in. The order is that of one global sequence for any number of workers, and
    rank r of R takes every R-th sample of it, so a global batch holds the same samples for any R. With
    several ranks, `set_epoch` is a collective: all ranks call it and exchange their observations.

    Parameters
    ----------
    n : number of training samples.
    scheduler : `Uniform`, `Heuristic` (BSS-H) or `Learned` (BSS-L).
    seed : determines every draw.
    scores : balance scores [n], high = balanced. None: the first `warmup_epochs` epochs are shuffled
        uniformly and observed, and the scheduler starts after them.
    labels : integers [n], needed by a stratified ranking.
    score : how observed criteria are combined into a score.
    warmup_epochs : used when `scores` is None, at least 1.
    minimum : the smallest number of samples per epoch. Pass ``batch_size * ranks`` if the
        loader drops the last batch, or a curriculum's first epochs train on nothing.
    num_samples : samples per epoch, 1 to n, named as in torch's samplers. None: as many as the scheduler
        shows. A number fixes the length of every epoch, and so ``len(loader)``: a longer sequence is truncated, a
        shorter one (an opening curriculum) is repeated in new orders. For trainers that plan their steps from
        ``len(loader)``.
    rank, ranks : this process and the number of processes. If n does not divide evenly, the last ranks
        repeat samples from the start of the sequence, so that all take the same number of steps. A
        loop that accepts unequal shares can slice `sequence` itself.

    Raises
    ------
    ValueError
        A value is out of range, or the number of scores or labels is not n.
    TypeError
        `scheduler` is not a scheduler, or a number is not an integer.
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
        num_samples: int | None = None,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        if not isinstance(scheduler, Scheduler):
            raise TypeError(f"`scheduler` must be a Uniform(), Heuristic() or Learned(), but got: {scheduler!r}")
        self._planner = Planner(n, scheduler, seed, labels, minimum, num_samples)
        n = self._planner.n
        require(ranks >= 1 and 0 <= rank < ranks, "rank", rank, f"in [0, ranks = {ranks})")
        require(warmup_epochs >= 1, "warmup_epochs", warmup_epochs, "at least 1")
        self.n, self.scheduler, self.seed = n, scheduler, self._planner.seed
        self.num_samples, self.minimum = self._planner.num_samples, minimum
        self.score, self.rank, self.ranks = score or BalanceScore(), rank, ranks
        self.scores: Floats | None = None if scores is None else given_scores(scores, n)
        """The current smoothed balance scores [n], or None before the first measurement."""
        self.measured: Floats | None = None
        """The last measurement before smoothing [n], NaN for unobserved samples."""
        self.start_epoch = 0 if scores is not None or not scheduler.needs_scores else warmup_epochs
        self.epoch = -1
        measures = scheduler.measures_every is not None or (scheduler.needs_scores and scores is None)
        self._measuring = Measuring(n if measures else 0, self.score, scheduler, ranks)
        self.observations = self._measuring.observations
        """Empty if no measurement will ever be due."""
        self._shown = False  # whether the current epoch was iterated to its end
        self._position = 0  # indices yielded in the current epoch
        self._resume_at = 0  # where the next iteration starts: at 0 unless a state was loaded
        self._watch = EpochWatch()
        self._loop = LoopCheck()
        self.sequence = self._planner.uniform(0)
        """The global sequence of the current epoch, int64; `Uniform`'s until `set_epoch` is called."""

    def set_epoch(self, epoch: int) -> None:
        """Update the scores from the observations if an update is due, and plan the sequence of `epoch`.

        Calling it again with the same epoch changes nothing, so a loaded position stays. With several ranks, all
        call it together. Warns, once each, if the previous epoch was iterated but not to its end, and if `epoch` lies
        before it. Worker processes read ahead, so they hide an early end by up to a few batches.
        """
        epoch = whole_number(epoch)
        require(epoch >= 0, "epoch", epoch, "at least 0")
        if epoch != self.epoch:
            self._watch.reached(self._position)
            if self._measuring.n and self.ranks == 1 < processes():
                refuse_partial(self.observations, self.epoch, len(np.unique(self.sequence[: self._watch.furthest])))
            if self.epoch >= 0:  # before the first epoch, a loader may be tried on a batch
                self._watch.check(self.epoch, epoch, self._steps(), max(1, self.minimum // self.ranks))
            found = self._measuring.measure_if_due(epoch, self.start_epoch, self.scores)
            if found is not None:
                self.scores, self.measured = found
                self._planner.forget_scores()
            self.epoch = epoch
            self.sequence = self._planner.sequence(epoch, self.start_epoch, self.scores)
            self._resume_at = self._position = 0
            self._shown = False

    def observe(
        self,
        index: npt.ArrayLike | Tensor,
        logits: Mapping[str, Tensor],
        loss: Tensor,
        *,
        features: Mapping[str, Tensor] | None = None,
        gradient_magnitude: Tensor | None = None,
    ) -> None:
        """Record a batch of the training pass, so that scores need no extra pass.

        Raises RuntimeError if nothing has iterated the sampler or called `set_epoch`: a library has replaced it.

        Parameters
        ----------
        index : the samples' indices, int64 [batch].
        logits : unimodal logits per modality, [batch, classes] each.
        loss : the training loss of each sample, [batch], not reduced.
        features : encoder features per modality, [batch, d]; for the criterion feature_similarity.
        gradient_magnitude : [batch]; for the criterion of that name.
        """
        if self._measuring.n:
            with torch.no_grad():
                values = observed_criteria(self.score.criteria, logits, loss, features, gradient_magnitude)
            self.record(index, values)
            if self.epoch < 0 and not self._loop.iterated:
                raise RuntimeError(f"the loop observes samples, but {REPLACED}")

    def check(self, index: npt.ArrayLike | Tensor) -> None:
        """Raise RuntimeError unless the loop trains on what this sampler gave its rank, batch after batch.

        For loops inside a library that may replace, shuffle or shard samplers: call it with every batch, or with the
        batches of all processes together, gathered in the order of the ranks. It costs microseconds. A trainer that
        resumes may skip batches at the start of an iteration.

        Parameters
        ----------
        index : the samples' indices, int64 [batch], in the loader's order.
        """
        others = processes() - 1 if self.ranks == 1 else 0  # a library may shard by batches
        self._loop.follow(sample_indices(index, self.n), self._shown_at, self._steps(), others)

    def record(self, index: npt.ArrayLike | Tensor, values: Mapping[str, npt.ArrayLike | Tensor]) -> None:
        """Record criterion values ([k] each), measured elsewhere, for the samples `index` [k].

        Values on a GPU are fetched when the scores are computed, not now.
        """
        rows = sample_indices(index, self.n)
        for name, column in values.items():
            found = np.shape(column)
            right = f"one value per sample, {rows.shape}{'; is the loss reduced?' if found == () else ''}"
            require(found == rows.shape, name, tuple(found), right)
        self._measuring.record(rows, values, self.epoch)

    def share(self) -> None:
        """Exchange observations between all ranks. Collective: all ranks of the process group call it together.

        Called before `state_dict` inside an epoch, it makes the state of one rank valid for all.
        """
        self._measuring.share()

    def __iter__(self) -> Iterator[int]:
        """Yield this rank's indices of the current epoch, from the loaded position, if any.

        Raises RuntimeError if a library shards a share a second time, or shuffles the sequence. Warns if nobody
        shards it among several processes.
        """
        if not is_sharded_outside(self.ranks) and self.ranks == 1 < processes():
            warnings.warn(
                f"each of {processes()} processes is given every sample: pass rank= and ranks= to the SequenceSampler",
                stacklevel=2,
            )
        if self._shown:
            warn_of_repeat(self.epoch)
        self._watch.reached(self._position)
        start, self._resume_at = self._resume_at, 0
        self._position = start
        self._loop.begin(start)
        shard, steps = self.shard, self._steps()
        for first in range(start, len(shard), READ_AHEAD):
            for index in shard[first : first + READ_AHEAD].tolist():
                self._position += 1
                yield index
        for step in range(max(start, len(shard)), steps):
            self._position += 1
            yield int(self._shown_at(np.array([step]))[0])
        self._shown = True

    def __len__(self) -> int:
        """Return how many indices the next iteration yields on this rank.

        Before the first `set_epoch` that is the length of the longest epoch, afterwards that of the current epoch
        minus what a loaded state has already shown. With `num_samples` it is always that of a full epoch.
        """
        return self._steps() - (self._resume_at if self.num_samples is None else 0)

    def __repr__(self) -> str:
        """Show what determines the order, and the position."""
        whose = f", rank {self.rank} of {self.ranks}" if self.ranks > 1 else ""
        return f"SequenceSampler({self.n}, {self.scheduler}, seed {self.seed}{whose}, epoch {self.epoch})"

    @property
    def shard(self) -> Indices:
        """The share of this rank in `sequence`, every `ranks`-th index: a view, without the last ranks' repeats."""
        return self.sequence[self.rank :: self.ranks]

    def state_dict(self, position: int | None = None) -> dict[str, Any]:
        """Return everything that determines the remaining sequence, for `load_state_dict` in another process.

        Tensors and plain values, so that ``torch.load`` reads it with its safe default. `position` counts the
        samples that this rank's loop has finished in this epoch. None uses the number yielded, which is
        correct without worker processes. Workers read ahead: with them pass ``batches_done * batch_size`` (more
        than the epoch has means its end). Observations of other ranks are included after `share`, and between
        two epochs if nothing was observed since `set_epoch`.
        """
        position = self._position if position is None else whole_number(position)
        require(position >= 0, "position", position, "at least 0")
        return {
            **self._identity(),
            "rank": self.rank,
            "ranks": self.ranks,
            "epoch": self.epoch,
            "position": min(position, self._steps()),
            "start_epoch": self.start_epoch,
            "scores": None if self.scores is None else torch.tensor(self.scores),
            "sequence": torch.tensor(self.sequence),
            **self._measuring.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a `state_dict`.

        The number of ranks may differ if it evenly divides what the epoch has shown, which holds
        after full batches of the same global size. Warns if the state is missing other ranks' observations.

        Raises ``ValueError`` if the state is invalid or belongs to another dataset, scheduler, seed or score.
        """
        state = {"num_samples": None, **state}  # states saved before the option existed
        check_state(state, self._identity())
        sequence = torch.as_tensor(state["sequence"]).clone().numpy()
        self._watch = EpochWatch()
        position = position_for(self.ranks, int(state["position"]), int(state["ranks"]), len(sequence))
        warn_if_partial(state, self.rank, self.ranks)
        self.epoch, self.start_epoch = int(state["epoch"]), int(state["start_epoch"])
        self.scores = None if state["scores"] is None else torch.as_tensor(state["scores"]).clone().numpy()
        self._measuring.load_state_dict(state)
        self._planner.forget_scores()
        self.sequence, self._shown = sequence, False
        self._resume_at = self._position = position

    def _shown_at(self, places: Indices) -> Indices:
        """Return this rank's indices at `places` of the epoch, which repeats after its end."""
        return self.sequence[(places % self._steps() * self.ranks + self.rank) % len(self.sequence)]

    def _steps(self) -> int:
        return steps_of(len(self.sequence), self.ranks)

    def _identity(self) -> dict[str, Any]:
        return {
            "n": self.n,
            "seed": self.seed,
            "num_samples": self.num_samples,
            "scheduler": {"name": type(self.scheduler).__name__, **asdict(self.scheduler)},
            "score": asdict(self.score),
        }
