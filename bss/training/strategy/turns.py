"""A step in turns: several updates by one batch, each of which runs some encoders and trains some parts."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from bss.models.network import IGNORED, MultiModalNetwork, Outputs
from bss.strategies import Turn
from bss.strategies.hooks import FUSION
from bss.training.frozen import evaluating
from bss.training.step import Part, Passed, Step
from bss.training.strategy.run import StrategyRun


def take_turns(
    step: Step, run: StrategyRun, turns: Sequence[Turn], lengths: Sequence[int], loaded: Iterator[Part]
) -> list[Passed]:
    """Train by `turns` on this rank's share of a batch, as `Step` does; its inputs stay in memory meanwhile.

    What is observed of a modality is what its first turn saw, which has the updates of the turns before.
    """
    network = step.network
    parts = [next(loaded) for _ in lengths]
    seen: list[list[Outputs]] = [[] for _ in parts]
    for turn in turns:
        step.optimiser.zero_grad(set_to_none=True)  # also of what only the other turns update
        with run.taking(turn):
            for number, ((inputs, labels), length) in enumerate(zip(parts, lengths, strict=True), 1):
                with step.sharing_dropout(length):
                    ignored = {name: inputs[name] for name in (IGNORED,) if name in inputs}
                    features = run.encode({name: inputs[name] for name in turn.encoders} | ignored)
                outputs = _outputs(network, features, inputs.get(IGNORED))
                last = number == len(lengths) and FUSION in turn.updates
                penalty = network.fusion.penalty() if last else None
                run.backward(inputs, outputs, labels, number, length, sum(lengths), penalty)
                seen[number - 1].append(outputs.detached())
            run.finish_step()
        step.update()
    whole = [_together(network, outputs) for outputs in seen]
    return [(outputs, network.loss(outputs, labels)) for outputs, (_, labels) in zip(whole, parts, strict=True)]


def _outputs(network: MultiModalNetwork, features: dict[str, Tensor], ignored: Tensor | None) -> Outputs:
    """Return the outputs of some modalities; the fused logits are NaN if some are missing."""
    active = network.activate(features)
    logits = network.without_ignored(network.classify(active), ignored)
    some = next(iter(logits.values()))
    fused = network.fuse(active) if len(features) == len(network.encoders) else torch.full_like(some, torch.nan)
    return Outputs(logits, fused, features)


def _together(network: MultiModalNetwork, seen: list[Outputs]) -> Outputs:
    """Return one part's outputs: those of the first turn with all modalities, or else put together from the turns."""
    for outputs in seen:
        if len(outputs.features) == len(network.encoders):
            return outputs
    features = {name: next(o.features[name] for o in seen if name in o.features) for name in network.encoders}
    logits = {name: next(o.logits[name] for o in seen if name in o.logits) for name in network.encoders}
    with torch.no_grad(), evaluating(network.fusion):
        return Outputs(logits, network.fuse(network.activate(features)), features)
