"""Training steps: optimiser, one epoch over a sequence."""

import copy
from collections.abc import Callable
from contextlib import closing, nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from bss.config.training import AdamConfig, AdamWConfig, OptimiserConfig
from bss.models.encoders.pretrained_model import PretrainedModel
from bss.models.encoders.python_module import PythonModule
from bss.models.inputs.augmentation import Augmentation
from bss.models.network import MultiModalNetwork, Outputs
from bss.training.distributed.dropout import dropout_of, dropout_over
from bss.training.distributed.ranks import ALONE, Ranks
from bss.training.samples.split_data import SplitData
from bss.training.step import Step
from bss.training.step_graph import StepGraph
from bss.training.strategy.kept_modalities import observe_whole, part_of
from bss.training.strategy.run import StrategyRun
from bss.training.strategy.turns import take_turns
from bss.training.targets import PLAIN, Targets

Indices = npt.NDArray[np.int64]


def make_optimiser(
    network: nn.Module, config: OptimiserConfig, groups: list[dict[str, Any]] | None = None
) -> torch.optim.Optimizer:
    """Return the optimiser for the parameters of `network`, in parameter `groups` of torch's form; None: in one.

    Encoders with a learning rate of their own get groups of their own. A group's ``factor`` is its learning rate over
    that of `config`.
    """
    rate, decay = config.learning_rate, config.weight_decay
    given = [{"params": list(network.parameters())}] if groups is None else groups
    own = own_rates(network) if isinstance(network, MultiModalNetwork) else {}
    parameters = [part for group in given for part in _split_by_rate(group, own, rate)]
    if isinstance(config, AdamWConfig):
        return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay, fused=True)
    if isinstance(config, AdamConfig):
        return torch.optim.Adam(parameters, lr=rate, weight_decay=decay, fused=True)
    return torch.optim.SGD(parameters, lr=rate, momentum=config.momentum, weight_decay=decay, fused=True)


def own_rates(network: MultiModalNetwork) -> dict[nn.Parameter, float]:
    """Return the learning rate of each parameter whose encoder has its own; that of its linear layer is the common."""
    rates: dict[nn.Parameter, float] = {}
    for name, encoder in network.encoders.items():
        own: float | None = getattr(network.config.encoders[name], "learning_rate", None)
        if own is not None and isinstance(encoder, PythonModule | PretrainedModel):
            rates |= dict.fromkeys(encoder.model.parameters(), own)
    return rates


def _split_by_rate(group: dict[str, Any], rates: dict[nn.Parameter, float], common: float) -> list[dict[str, Any]]:
    """Return `group` as one group per learning rate of its trained parameters, in their order."""
    parts: dict[float, list[nn.Parameter]] = {}
    for parameter in group["params"]:
        if parameter.requires_grad:
            parts.setdefault(rates.get(parameter, common), []).append(parameter)
    return [{**group, "params": own, "lr": rate, "factor": rate / common} for rate, own in parts.items()]


def settle_order_of_sums(network: MultiModalNetwork, wrapped: nn.Module, data: SplitData, ranks: Ranks) -> None:
    """Pass a small batch through `wrapped` and back, with no update, so that all steps add gradients in one order.

    DistributedDataParallel rebuilds its buckets after its first backward pass, and the position in a
    bucket determines the order in which gradients of more than two ranks are added. A trial that resumes
    would repeat that first pass, unlike one that never stopped.
    """
    if ranks.count <= 2 or wrapped is network:  # which averages by itself, in one message
        return
    before = copy.deepcopy(network.state_dict())
    network.train()
    ((inputs, labels),) = data.batches([ranks.share(np.arange(2 * ranks.count))])
    network.loss(wrapped(inputs), labels).sum().backward()
    network.zero_grad(set_to_none=True)
    network.load_state_dict(before)  # batch-norm statistics have changed


def split_into_parts(batch: Indices, accumulate: int) -> list[Indices]:
    """Split a global `batch` into `accumulate` parts, or fewer if parts would have under 2 samples.

    The ranks share each part, so that batch normalisation sees the same samples for any number of ranks.
    """
    return np.array_split(batch, max(1, min(accumulate, len(batch) // 2)))


def train_epoch(
    network: MultiModalNetwork,
    optimiser: torch.optim.Optimizer,
    data: SplitData,
    batches: list[Indices],
    observe: Callable[[Indices, Outputs, Tensor], None] | None = None,
    wrapped: nn.Module | None = None,
    ranks: Ranks = ALONE,
    done: tuple[int, float] = (0, 0.0),
    after_step: Callable[[int, Tensor], None] | None = None,
    *,
    seed: int,
    epoch: int,
    accumulate: int = 1,
    graph: StepGraph | None = None,
    strategy: StrategyRun | None = None,
    clip: float | None = None,
    before_step: Callable[[int], None] | None = None,
    targets: Targets = PLAIN,
) -> float:
    """Train on the global `batches` (positions in `data`) in order; return the mean training loss per sample.

    Each rank takes its share of each batch's `accumulate` parts through `wrapped` (`Ranks.wrap` of `network`;
    None: `network` itself); the update minimises the mean loss over the global batch. `observe(index, outputs, loss)`
    is called for each part with the outputs and losses of the training pass itself, detached, which the next step may
    overwrite; the losses are the configured ones, whatever `strategy` and `targets` train on, and samples with a hidden
    modality are left out. `graph` launches the steps it can. `clip` is the greatest norm of a step's gradient. `done`
    is the number of batches already done and the sum of this rank's losses in them; `after_step` is called after each
    batch with both, `before_step` before each with the number done. Dropout draws depend on `seed`, `epoch`, the step
    and the position in the batch; augmentation draws on `seed`, `epoch` and the sample.

    On a GPU the host runs ahead: nothing in a step waits for a result.
    """
    network.train()
    first, loss_so_far = done
    total = torch.tensor(loss_so_far, dtype=torch.float64, device=data.device)
    left = [split_into_parts(batch, accumulate) for batch in batches[first:]]
    place = sum(len(batch) for batch in batches[:first])
    if strategy is not None:
        strategy.place, strategy.positions = place, np.concatenate(batches)
    shares = [ranks.share(part) for parts in left for part in parts]
    loaded = data.batches(shares, Augmentation(seed, "training", epoch))
    call = network if wrapped is None else wrapped
    take = Step(network, call, optimiser, ranks, dropout_over(network, ranks), strategy, clip, targets)
    # A stopped trial leaves no prefetching thread, not even to the garbage collector.
    with (
        dropout_of(seed, "training", epoch) as seed_step,
        closing(loaded),
        nullcontext() if graph is None else graph.epoch(),
        nullcontext() if strategy is None else strategy.freezing(),
    ):
        for step, parts in enumerate(left, first + 1):
            seed_step(step - 1)
            if before_step is not None:
                before_step(step - 1)
            turns = () if strategy is None else strategy.begin_step(step - 1, len(batches))
            lengths = [len(part) for part in parts]
            if turns and strategy is not None:
                passed = take_turns(take, strategy, turns, lengths, loaded)
            else:
                passed = take(lengths, loaded) if graph is None else graph.step(take, lengths, loaded)
            for part, (outputs, loss) in zip(parts, passed, strict=True):
                if observe is not None:
                    kept = None if strategy is None else part_of(strategy.arranged, place, len(part))
                    observe_whole(
                        observe, ranks.share(part), outputs, loss, None if kept is None else ranks.share(kept)
                    )
                place += len(part)
                total += loss.sum()
            if after_step is not None:
                after_step(step, total)
    ranks.add(total)
    return float(total) / sum(len(batch) for batch in batches)
