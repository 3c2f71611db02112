"""One pass over a split that measures every criterion of every sample."""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bss.artifacts.scores import Columns
from bss.balance.criteria import (
    confidence,
    feature_similarity,
    gradient_magnitude,
    logit_similarity,
    prediction_similarity,
)
from bss.balance.draw import generator
from bss.config import Config
from bss.config.training import Precision
from bss.errors import BssError
from bss.models.inputs.augmentation import Augmentation
from bss.models.network import MultiModalNetwork, Outputs
from bss.training.distributed.dropout import dropout_of, dropout_over
from bss.training.distributed.ranks import ALONE, Ranks
from bss.training.samples.split_data import Inputs, SplitData
from bss.training.sequences import split_into_batches

BATCH = 256
"""Maximum number of samples per step of a pass in eval mode, where the batch does not influence results."""

BATCH_BYTES = {"cuda": 64 << 20, "cpu": 8 << 20}
"""Maximum bytes of inputs per step of such a pass, unless one sample is larger: feature maps are many times as large,
and a CPU gains nothing from larger steps."""

GRADIENT_BYTES = 1 << 30
"""Maximum bytes of per-sample gradients in memory at once, unless one sample's are larger."""

Batches = list[npt.NDArray[np.int64]]


def batches_of_all(data: SplitData) -> Batches:
    """Return all positions in `data` as batches for a pass in eval mode."""
    return batches_of(data, np.arange(len(data)))


def batches_of(data: SplitData, positions: npt.NDArray[np.int64]) -> Batches:
    """Return `positions` in `data`, in their order, as batches for a pass in eval mode."""
    size = max(1, min(BATCH, BATCH_BYTES[data.device.type] // max(1, data.sample_bytes)))
    return np.array_split(positions, -(-len(positions) // size))


def batches_in_train_mode(config: Config, samples: int, seed: int, epoch: int) -> Batches:
    """Return all positions 0 .. samples - 1 as the batches of a pass in train mode, by the section `measure`."""
    shuffled = config.measure.order == "shuffled"
    order = generator(seed, "measuring", epoch).permutation(samples) if shuffled else np.arange(samples)
    return split_into_batches(order, config.measure.batch_size or config.train.batch_size)


def measure(
    network: MultiModalNetwork,
    data: SplitData,
    criteria: tuple[str, ...],
    batches: Batches | None = None,
    precision: Precision | None = None,
) -> Columns:
    """Measure the samples at the positions `batches` (None: all) in eval mode, without gradient or augmentation.

    `precision` is that of the pass, None: the network's; gradients always use fp32.

    Returns
    -------
    float64 arrays [n], NaN where nothing was measured: each of `criteria`, ``confidence``, and per modality
    m ``loss_m`` (cross-entropy of its head), ``p_true_m`` (probability of the label) and ``predicted_m``
    (class).
    """
    network.eval()
    batches = batches_of_all(data) if batches is None else batches
    return _pass(network, data, criteria, batches, data.batches(batches), precision)


def measure_in_train_mode(
    network: MultiModalNetwork,
    data: SplitData,
    criteria: tuple[str, ...],
    batches: Batches,
    seed: int,
    epoch: int,
    ranks: Ranks = ALONE,
    precision: Precision | None = None,
) -> Columns:
    """Measure like the authors' scripts: in train mode, which updates batch-norm statistics, with augmentation.

    `batches` are positions that together contain every sample once; each rank measures its share of each. The draws of
    dropout and augmentation depend on `seed`, `epoch` and, for dropout, on step and position in the batch. The
    criterion gradient_magnitude is undefined if batch normalisation mixes samples; it is measured in eval mode.
    """
    network.train()
    shares = [ranks.share(batch) for batch in batches]
    loaded = data.batches(shares, Augmentation(seed, "measuring", epoch))
    sharing_dropout = dropout_over(network, ranks)

    def steps(seed_step: Callable[[int], None]) -> Generator[tuple[Inputs, Tensor], None, None]:
        for step, (batch, found) in enumerate(zip(batches, loaded, strict=True)):
            seed_step(step)
            with sharing_dropout(len(batch)):
                yield found

    # The context restores generators and dropout even if the pass fails.
    with dropout_of(seed, "measuring", epoch) as seed_step, closing(steps(seed_step)) as drawn:
        try:
            columns = _pass(network, data, criteria, shares, drawn, precision)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise BssError(
                f"params.yaml: measure.batch_size: batch normalisation cannot measure batches of {len(batches[0])} "
                "sample in train mode with this network: raise it to 2 or more."
            ) from error
    network.eval()
    return columns


def _pass(
    network: MultiModalNetwork,
    data: SplitData,
    criteria: tuple[str, ...],
    batches: Batches,
    loaded: Iterator[tuple[Inputs, Tensor]],
    precision: Precision | None,
) -> Columns:
    _check_widths(network, criteria)
    found: dict[str, list[Tensor]] = {}
    for inputs, labels in loaded:
        with torch.no_grad():
            facts = _facts(network, network(inputs, precision), labels, criteria)
        if "gradient_magnitude" in criteria:
            facts["gradient_magnitude"] = _gradients(network, inputs, labels)
        for name, values in facts.items():
            found.setdefault(name, []).append(values)
    columns: Columns = {}
    for name, parts in found.items():  # now, because every earlier step would wait for the GPU
        columns[name] = np.full(len(data), np.nan)
        columns[name][np.concatenate(batches)] = torch.cat(parts).double().cpu().numpy()
    return columns


def _check_widths(network: MultiModalNetwork, criteria: tuple[str, ...]) -> None:
    widths = {name: encoder.width for name, encoder in network.encoders.items()}
    if "feature_similarity" in criteria and len(set(widths.values())) > 1:
        raise BssError(
            "params.yaml: measure.score.criteria: `feature_similarity` needs features of one length, but the "
            f"encoders have {widths}: set network.encoders.<modality>.features."
        )


def _facts(
    network: MultiModalNetwork, outputs: Outputs, labels: Tensor, criteria: tuple[str, ...]
) -> dict[str, Tensor]:
    facts = {"confidence": confidence(outputs.logits)}
    if "training_loss" in criteria:
        facts["training_loss"] = network.loss(outputs, labels)
    if "prediction_similarity" in criteria:
        facts["prediction_similarity"] = prediction_similarity(outputs.logits)
    if "logit_similarity" in criteria:
        facts["logit_similarity"] = logit_similarity(outputs.logits)
    if "feature_similarity" in criteria:
        facts["feature_similarity"] = feature_similarity(outputs.features)
    for name, logits in outputs.logits.items():
        log_p = logits.float().log_softmax(dim=1).gather(1, labels[:, None])[:, 0]
        facts[f"loss_{name}"] = -log_p
        facts[f"p_true_{name}"] = log_p.exp()
        facts[f"predicted_{name}"] = logits.argmax(dim=1)
    return facts


def _gradients(network: MultiModalNetwork, inputs: dict[str, Tensor], labels: Tensor) -> Tensor:
    training, precision = network.training, network.precision
    network.eval()
    network.precision = "fp32"  # in 16 bits vmap rejects batch normalisation, whose statistics have 32

    def sample_loss(call: Callable[..., Any], one: Mapping[str, Tensor], label: Tensor) -> Tensor:
        return network.loss(call(one), label)[0]

    per_sample = sum(p.numel() * p.element_size() for p in network.parameters() if p.requires_grad)
    chunk = max(1, GRADIENT_BYTES // per_sample)
    magnitudes = gradient_magnitude(network, sample_loss, inputs, labels, chunk)
    network.train(training)
    network.precision = precision
    return magnitudes
