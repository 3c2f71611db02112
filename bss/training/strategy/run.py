"""A strategy at work: its state, the plan of the epoch, and its part of each step."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bss.balance.draw import generator
from bss.models.inputs.to_device import moved, to_device
from bss.models.network import IGNORED, MultiModalNetwork, Outputs
from bss.strategies import (
    Arranged,
    Context,
    Draw,
    EpochPlan,
    Facts,
    Gradients,
    Group,
    Seen,
    Setting,
    Split,
    Strategy,
    Turn,
    Weights,
)
from bss.training.distributed.ranks import Ranks
from bss.training.frozen import evaluating, parts_of, without_gradient
from bss.training.network_parts import add_gradients, gradients_by_group, modules_of
from bss.training.observed import Observed
from bss.training.predicting import NONE
from bss.training.strategy.kept_modalities import part_of, rows_to_encode
from bss.training.strategy.more_passes import encode_again, taught_by
from bss.training.targets import PLAIN, Targets


class StrategyRun:
    """`strategy` in one trial of `network`, whose steps call `backward` per part of a batch, then `finish_step`.

    Gradients are averaged over the ranks here, and not by DistributedDataParallel, which wants a gradient of every
    parameter.
    """

    def __init__(
        self,
        strategy: Strategy,
        setting: Setting,
        network: MultiModalNetwork,
        ranks: Ranks,
        seed: int,
        teachers: MultiModalNetwork | None = None,
        labels: npt.NDArray[np.int64] = NONE,
        targets: Targets = PLAIN,
    ) -> None:
        """Start it; `labels` are those of train, for strategies that judge its samples."""
        assert (teachers is not None) == strategy.taught
        self.strategy, self.network, self.ranks, self.seed, self.teachers = strategy, network, ranks, seed, teachers
        self.device, self.targets = next(network.parameters()).device, targets
        self.encode: Callable[[Mapping[str, Tensor]], dict[str, Tensor]] = network.encode
        """What turns call; may be replaced by a compiled one."""
        self.step = 0
        """Step of the epoch, from 0; random draws depend on it."""
        state = moved(strategy.start(setting, self.modules, network.classes), self.device)
        self.context = Context(setting, state, 0, EpochPlan(), strategy.weights(setting), self._total)
        self.context.labels = labels
        width = strategy.observes(setting, network.classes)
        self.observed = Observed(len(labels), width, ranks, self.device) if width else None
        self.positions = NONE
        """What the epoch shows, in train, over all ranks."""
        self.arranged: Arranged | None = None
        self.read = 0
        """Samples that passed the network in eval mode before the epoch, for its plan."""
        self.place = 0
        """Samples of the epoch that are done, over all ranks."""
        self._gathered: Tensor | None = None
        self._apart: list[dict[Group, list[Tensor]]] = []

    @property
    def modules(self) -> dict[Group, nn.Module]:
        """The network's parts; found again each time, because batch normalisation inside them may be replaced."""
        return modules_of(self.network)

    def rate(self, group: dict[str, Any]) -> float:
        """Return the factor of the learning rate of one of `parameter_groups` in this epoch."""
        return self.context.plan.rates.get(group["modality"], 1.0)

    def begin_epoch(self, epoch: int, facts: Callable[[str], Facts]) -> None:
        """Plan `epoch`; `facts` reads those of a split. All ranks call it together."""
        self.context.epoch = epoch
        read = {split: facts(split) for split in self.strategy.wanted(self.context)}
        self._follow(self.strategy.plan(self.context, read, self.modules))

    def adapt(self, batch: Callable[[Split], Callable[[], Seen]]) -> None:
        """Let the strategy adapt to drawn batches; `batch` gives what sees one of a split. All ranks call it."""
        if self.strategy.adapts(self.context):
            self.strategy.adapt(self.context, {"train": batch("train"), "val": batch("val")}, self.modules)

    def forget(self, optimiser: torch.optim.Optimizer) -> None:
        """Drop the optimiser's state of what the plan restarts; called once, before the first step of the epoch."""
        for group in self.context.plan.restarted:
            for parameter in self.modules[group].parameters():
                optimiser.state.pop(parameter, None)

    def begin_step(self, step: int, steps: int) -> tuple[Turn, ...]:
        """Begin step number `step`, from 0, of the epoch's `steps`; return its turns."""
        self.step, self.context.progress = step, step / steps
        return self.strategy.turns(self.context)

    def arrange(
        self,
        sequence: npt.NDArray[np.int64],
        measured: Callable[[Callable[[Seen], Tensor]], npt.NDArray[np.float64]],
    ) -> None:
        """Decide what the epoch shows; `measured` applies a function to all of train. All ranks call it together."""
        context, strategy = self.context, self.strategy
        found = None
        if strategy.measures(context):
            found = measured(lambda seen: strategy.measure(context, seen))
        elif self.observed is not None:
            found = self.observed.take()
        random = generator(self.seed, "strategy arrangement", context.epoch)
        self.arranged = strategy.arrange(context, sequence, found, random)
        context.state = moved(context.state, self.device)  # what is decided on the host, steps read on the device

    def shown(self, sequence: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the positions in train that the epoch shows; the schedule's are `sequence`."""
        return sequence if self.arranged is None else self.arranged.positions

    @contextmanager
    def freezing(self) -> Iterator[None]:
        """Freeze what the plan of the epoch says, in the block."""
        modules = self.modules
        for group in self.context.plan.frozen:
            for module in modules[group].modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        with without_gradient([p for group in self.context.plan.frozen for p in modules[group].parameters()]):
            yield

    @contextmanager
    def taking(self, turn: Turn) -> Iterator[None]:
        """Let only what `turn` updates learn, in the block."""
        modules = self.modules
        learning = {x for group in turn.updates for x in parts_of(modules[group])}
        rest = [x for group in modules for x in parts_of(modules[group]) if x not in learning]
        self.context.turn = turn
        layers = [x for x in rest if isinstance(x, nn.Module)]
        parameters = [x for x in rest if isinstance(x, nn.Parameter)]
        try:
            with evaluating(*layers), without_gradient(parameters):
                yield
        finally:
            self.context.turn = None

    def forward(self, call: Callable[..., Outputs], inputs: dict[str, Tensor], length: int) -> Outputs:
        """Run the network, by `call`, on the next part of a batch, or on what its `length` samples show."""
        kept = part_of(self.arranged, self.place, length)
        if kept is None:
            return call(inputs)
        rows = rows_to_encode(self.network, kept, self.ranks)
        mine = to_device(self.device, self.ranks.share(kept))
        return self.network.forward_rows(
            inputs, {name: to_device(self.device, index) for name, index in rows.items()}, mine
        )

    def backward(
        self,
        inputs: Mapping[str, Tensor],
        outputs: Outputs,
        labels: Tensor,
        number: int,
        length: int,
        size: int,
        penalty: Tensor | None,
    ) -> None:
        """Add the gradients of part `number` of a batch of `size` samples, `length` of them in the part."""
        features = self.network.activate(outputs.features)
        ignored = inputs.get(IGNORED)
        given = {name: inputs[name] for name in features}
        kept = part_of(self.arranged, self.place, length)
        mine = None if kept is None else to_device(self.device, self.ranks.share(kept))
        index = self.ranks.share(self.positions[self.place : self.place + length])
        seen = Seen(
            *(features, outputs.logits, outputs.fused, labels, self.network.fuse),
            branches=lambda name, x: self._branches(name, x, ignored),
            taught=None if self.teachers is None else taught_by(self.teachers, given, ignored),
            kept=mine,
            ignored=ignored,
            positions=to_device(self.device, index) if self.strategy.placed else None,
            label_smoothing=self.targets.label_smoothing,
            class_weights=self.targets.class_weights,
            inputs=given,
            encode=lambda x: encode_again(self.network, x, ignored),
        )
        self.place += length
        if self.observed is not None:
            with torch.no_grad():
                self.observed.record(index, self.strategy.measure(self.context, seen), self.context.epoch)
        with torch.no_grad():
            gathered = self.strategy.gather(self.context, seen)
        if gathered is not None:
            self._gathered = gathered if self._gathered is None else self._gathered + gathered
        self.context.draw = self._draw(number, length)
        mixed = self.strategy.mix(self.context, seen, self.context.draw)
        if mixed is not None:
            gone = ignored if mixed.ignored is None else mixed.ignored
            logits = self._classify(mixed.features, gone) if mixed.heads else seen.logits
            fused = self.network.fuse(mixed.features)
            seen = replace(seen, features=mixed.features, logits=logits, fused=fused, targets=mixed.targets)
        together = penalty
        apart = 0
        for objective in self.strategy.objectives(self.context, seen):
            loss = objective.loss.sum() / (size / self.ranks.count)
            if objective.apart:
                self._keep_apart(apart, gradients_by_group(loss, self.modules, objective.updates))
                apart += 1
            elif objective.updates is not None:
                add_gradients(loss, self.modules, objective.updates)
            else:
                together = loss if together is None else loss + together
        if together is not None and together.requires_grad:
            together.backward()

    def finish_step(self) -> None:
        """Average the gradients over the ranks and let the strategy change them."""
        self.ranks.average([p.grad for p in self.network.parameters() if p.grad is not None])
        for kept in self._apart:
            self.ranks.average([gradient for found in kept.values() for gradient in found])
        if self._gathered is not None:
            self.ranks.add(self._gathered)
        with torch.no_grad():
            gradients = Gradients(self.modules, tuple(self._apart))
            self.strategy.after(self.context, self._gathered, gradients, self._draw(0, 0))
        self._gathered, self._apart = None, []

    def state_dict(self) -> dict[str, Any]:
        """Return the state that determines the next steps, besides the network and the optimiser."""
        plan = self.context.plan
        weights = None if plan.weights is None else [plan.weights.fused, dict(plan.weights.unimodal)]
        frozen = [list(group) for group in plan.frozen]
        kept = {"weights": weights, "rates": dict(plan.rates), "frozen": frozen}
        shown = None if self.arranged is None else [self.arranged.positions, self.arranged.kept]
        found = {"state": self.context.state, "epoch": self.context.epoch, "plan": kept, "shown": shown}
        observed = None if self.observed is None else self.observed.state_dict()
        return {**found, "read": self.read, "observed": observed}

    def share(self) -> None:
        """Exchange observations between the ranks, before `state_dict`. Collective."""
        if self.observed is not None:
            self.observed.share()

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Return to the state of `state_dict`."""
        self.context.state, self.context.epoch = moved(saved["state"], self.device), saved["epoch"]
        plan = saved["plan"]
        weights = None if plan["weights"] is None else Weights(*plan["weights"])
        frozen: Any = tuple(tuple(group) for group in plan["frozen"])
        self._follow(EpochPlan(weights, plan["rates"], frozen))
        self.read, shown = saved["read"], saved["shown"]
        self.arranged = None if shown is None else Arranged(*(np.asarray(column) for column in shown))
        if self.observed is not None:
            self.observed.load_state_dict(saved["observed"])

    def _follow(self, plan: EpochPlan) -> None:
        self.context.plan = plan
        self.context.weights = plan.weights or self.strategy.weights(self.context.setting)

    def _classify(self, features: Mapping[str, Tensor], ignored: Tensor | None) -> dict[str, Tensor]:
        return self.network.without_ignored(self.network.classify(features), ignored)

    def _branches(self, name: str, features: Tensor, ignored: Tensor | None) -> list[Tensor]:
        found = self.network.classify_by_branch(name, features)
        return [self.network.without_ignored({name: logits}, ignored)[name] for logits in found]

    def _total(self, tensor: Tensor) -> Tensor:
        total = tensor.detach().clone()
        self.ranks.add(total)
        return total

    def _draw(self, number: int, length: int) -> Draw:
        epoch, ranks = self.context.epoch, self.ranks
        return Draw(self.seed, epoch, self.step, self.device, number, length, ranks.rank, ranks.count)

    def _keep_apart(self, number: int, found: dict[Group, list[Tensor]]) -> None:
        if number == len(self._apart):
            self._apart.append(found)
            return
        for group, gradients in found.items():
            torch._foreach_add_(self._apart[number][group], gradients)
