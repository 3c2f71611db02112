"""The state of a trial between two steps: enough to resume as if it had never stopped."""

import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bss.balance.sampler import SequenceSampler
from bss.models.network import MultiModalNetwork
from bss.training.averaged import Averaged
from bss.training.distributed.ranks import Ranks, Vote
from bss.training.resume.checkpoints import Checkpoints
from bss.training.strategy.run import StrategyRun

Row = dict[str, Any]


@dataclass
class Records:
    """The results of a training besides the network."""

    history: list[Row] = field(default_factory=list)
    sequences: list[npt.NDArray[np.int64]] = field(default_factory=list)
    measurements: list[tuple[int, npt.NDArray[np.float64], npt.NDArray[np.float64]]] = field(default_factory=list)
    """(epoch, score, smoothed score), the scores [n] in the order of the training split."""
    hidden: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]] = field(
        default_factory=list
    )
    """(positions in train, modality, probability) [k] each of what a strategy hid, one per epoch, if it hides any."""
    measuring_seconds: float = 0.0
    seconds: float = 0.0
    """Seconds that earlier processes spent on this trial."""
    ranks: list[tuple[int, int]] = field(default_factory=list)
    """(steps done, ranks for the following steps), for each change of the number of ranks."""


@dataclass
class Best:
    """The epoch selected so far."""

    accuracy: float = -1.0
    epoch: int = -1
    weights: dict[str, torch.Tensor] = field(default_factory=dict)


@dataclass
class Position:
    """Position of a trial: `step` steps of `epoch` are done; if any, its sequence is planned."""

    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    """Sum of this rank's losses in this epoch."""


class TrainingState:
    """Everything that changes during a trial, and its checkpoints; `save` and `load` are collective.

    `checkpoints` None keeps none; `started` is when this process began with the trial, by time.perf_counter.
    """

    def __init__(
        self,
        network: MultiModalNetwork,
        optimiser: torch.optim.Optimizer,
        sampler: SequenceSampler,
        ranks: Ranks,
        checkpoints: Checkpoints | None,
        started: float,
        strategy: StrategyRun | None = None,
        average: Averaged | None = None,
    ) -> None:
        self.network, self.optimiser, self.sampler = network, optimiser, sampler
        self.ranks, self.checkpoints, self.strategy = ranks, checkpoints, strategy
        self.average = average
        self.device = next(network.parameters()).device
        self.records, self.best, self.position = Records(), Best(), Position()
        self._started = started
        self._vote = Vote(ranks, self.device)
        self._trained: int | None = None

    @property
    def evaluated(self) -> MultiModalNetwork:
        """The network that is evaluated and saved: the average, if there is one."""
        return self.network if self.average is None else self.average.network

    def seconds(self) -> float:
        """Return the seconds spent on this trial so far, over all its processes in turn."""
        return self.records.seconds + time.perf_counter() - self._started

    @contextmanager
    def saved_when_interrupted(self) -> Iterator[None]:
        """If an interruption leaves the block (an epoch) after its last step, save first: it may be evaluating.

        Between steps `after_step` does this. Several ranks do not, because they are interrupted at different points.
        """
        self._trained = None
        try:
            yield
        except KeyboardInterrupt:
            if self.checkpoints is not None and self._trained is not None:
                self.save(self.checkpoints, self._trained)
            raise

    def after_step(self, step: int, loss: Tensor, stop_asked: bool, last: bool) -> None:
        """Average the weights, and save if that is due. If a rank was asked to stop, save and raise KeyboardInterrupt.

        `step` counts the finished steps of the epoch, `last` says whether this was its last; `loss` is the sum
        of this rank's losses in them. With several ranks it happens one step later, except for the last step.
        """
        if self.average is not None:
            self.average.update()
        steps = step + sum(row["schedule/steps"] for row in self.records.history)
        if not self.records.ranks or self.records.ranks[-1][1] != self.ranks.count:
            self.records.ranks.append((steps - 1, self.ranks.count))
        due = self.checkpoints is not None and self.checkpoints.due(steps)
        stop, due = self._vote(stop_asked, due, now=last)
        if self.checkpoints is not None and (stop or due):
            self.position.step, self.position.loss = step, float(loss)
            self.save(self.checkpoints, steps)
            self._vote.forget()
        elif last and self.ranks.count == 1:
            self.position.step, self.position.loss, self._trained = step, float(loss), steps
        if stop:
            raise KeyboardInterrupt

    def save(self, checkpoints: Checkpoints, steps: int) -> None:
        """Write a checkpoint, gathering losses and observations from the ranks."""
        losses = torch.zeros(self.ranks.count, dtype=torch.float64, device=self.device)
        losses[self.ranks.rank] = self.position.loss
        self.ranks.add(losses)
        self.sampler.share()
        if self.strategy is not None:
            self.strategy.share()
        if self.ranks.rank > 0:
            checkpoints.saved(steps)
            return
        state = {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "sampler": self.sampler.state_dict(position=0),
            "strategy": None if self.strategy is None else self.strategy.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "records": {**vars(self.records), "seconds": self.seconds()},
            "best": vars(self.best),
            "position": {"epoch": self.position.epoch, "step": self.position.step},
            "losses": losses.cpu(),
        }
        with self.ranks.undisturbed():
            checkpoints.save(_to_tensors(state), steps)

    def load(self) -> None:
        """Restore the last checkpoint, if there is one, from any number of ranks."""
        state = share_state(None if self.checkpoints is None else self.checkpoints.latest(), self.ranks, self.device)
        if state is None:
            return
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.sampler.load_state_dict(state["sampler"])
        if self.strategy is not None:
            self.strategy.load_state_dict(state["strategy"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.records = Records(**_to_arrays(state["records"]))
        self.best = Best(**state["best"])
        losses = losses_for(state["losses"], self.ranks.count)
        self.position = Position(**state["position"], loss=float(losses[self.ranks.rank]))


def losses_for(losses: Tensor, count: int) -> Tensor:
    """Return sums of losses, float64 [ranks], for `count` ranks; if the number differs, rank 0 gets the total."""
    if len(losses) == count:
        return losses
    return torch.cat([losses.sum()[None], losses.new_zeros(count - 1)])


def share_state(state: dict[str, Any] | None, ranks: Ranks, device: torch.device) -> dict[str, Any] | None:
    """Return rank 0's `state` on all ranks: on other machines its file does not exist."""
    if ranks.count == 1:
        return state
    content = b""
    if ranks.rank == 0 and state is not None:
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getvalue()
    size = torch.tensor([len(content)], device=device)
    torch.distributed.broadcast(size, src=0)
    if int(size) == 0:
        return None
    tensor = torch.empty(int(size), dtype=torch.uint8, device=device)
    if ranks.rank == 0:
        tensor.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
    torch.distributed.broadcast(tensor, src=0)
    shared: dict[str, Any] = torch.load(
        io.BytesIO(tensor.cpu().numpy().tobytes()), weights_only=True, map_location="cpu"
    )
    return shared


def _to_tensors(value: Any) -> Any:
    """Return `value` with arrays as tensors: they load without unpickling."""
    return _convert(value, np.ndarray, lambda array: torch.from_numpy(array.copy()))


def _to_arrays(value: Any) -> Any:
    """Return `value` with tensors as arrays."""
    return _convert(value, Tensor, lambda tensor: tensor.numpy())


def _convert(value: Any, kind: type, convert: Callable[[Any], Any]) -> Any:
    if isinstance(value, kind):
        return convert(value)
    if isinstance(value, dict):
        return {key: _convert(item, kind, convert) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_convert(item, kind, convert) for item in value)
    return value
