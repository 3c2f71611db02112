"""Criteria: per-sample measures of balance (paper section "Multi-perspective measurer")."""

from collections.abc import Callable, Iterable, Mapping
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bss.balance.checks import require


def mean_cosine(vectors: Mapping[str, Tensor]) -> Tensor:
    """Return the cosine similarity of the modalities' vectors, averaged over all pairs of modalities.

    Parameters
    ----------
    vectors : two or more modalities, each a float tensor [batch, d] with the same d.

    Returns
    -------
    float tensor [batch] in [-1, 1].

    Raises
    ------
    ValueError
        Fewer than two modalities, or vectors of different shapes or without a batch.
    """
    shapes = {name: tuple(vector.shape) for name, vector in vectors.items()}
    if len(vectors) < 2:
        raise ValueError(f"a similarity needs two or more modalities, but got: {sorted(vectors)}")
    if len(set(shapes.values())) > 1:
        raise ValueError(f"a similarity needs vectors of one shape for all modalities, but got: {shapes}")
    if len(next(iter(shapes.values()))) < 2:
        raise ValueError(f"a similarity needs a vector per sample, [batch, d], but got: {shapes}")
    pairs = [F.cosine_similarity(u, v, dim=-1) for u, v in combinations(vectors.values(), 2)]
    return torch.stack(pairs).mean(dim=0)


def prediction_similarity(logits: Mapping[str, Tensor]) -> Tensor:
    """Return the mean pairwise cosine of the unimodal softmaxes, [batch] in [0, 1] (paper, sim_i).

    `logits` holds [batch, classes] per modality. Two nearly uniform softmaxes have a cosine close to 1
    whatever class they prefer, so an untrained network looks balanced: see `confidence`.
    """
    return mean_cosine({name: z.float().softmax(dim=-1) for name, z in logits.items()})


def logit_similarity(logits: Mapping[str, Tensor]) -> Tensor:
    """Return the mean pairwise cosine of the logits, [batch] in [-1, 1] (the scripts' NVGesture BSS-H)."""
    return mean_cosine({name: z.float() for name, z in logits.items()})


def feature_similarity(features: Mapping[str, Tensor]) -> Tensor:
    """Return the mean pairwise cosine of the encoders' features ([batch, d] each), [batch] in [-1, 1]."""
    return mean_cosine({name: x.float() for name, x in features.items()})


def training_loss(
    fused: Tensor,
    logits: Mapping[str, Tensor],
    labels: Tensor,
    fused_weight: float,
    unimodal_weight: float,
    label_smoothing: float = 0.0,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Return the paper's l_total, float [batch].

    ``fused_weight * CE(fused) + unimodal_weight * sum of CE(modality)``; `fused` and each of
    `logits` are [batch, classes]; `labels` are int64 [batch]. Smoothing in [0, 1) and `class_weights` [classes] are
    those of torch's cross_entropy; scores are computed without either.
    """

    def entropy(z: Tensor) -> Tensor:
        return F.cross_entropy(z, labels, class_weights, reduction="none", label_smoothing=label_smoothing)

    unimodal = torch.stack([entropy(z) for z in logits.values()]).sum(dim=0)
    return fused_weight * entropy(fused) + unimodal_weight * unimodal


def gradient_magnitude(
    network: nn.Module,
    sample_loss: Callable[[Callable[[Mapping[str, Tensor]], object], Mapping[str, Tensor], Tensor], Tensor],
    inputs: Mapping[str, Tensor],
    labels: Tensor,
    chunk: int | None = None,
) -> Tensor:
    """Return the L2 norm of each sample's gradient with respect to all trainable parameters, float [batch].

    Parameters
    ----------
    network : in eval mode, so that batch normalisation does not mix the samples.
    sample_loss : ``sample_loss(call, inputs, labels) -> scalar`` for a batch of one, where ``call`` runs
        the network on inputs.
    inputs : tensors [batch, ...] per modality.
    labels : int64 [batch].
    chunk : number of samples whose gradients are held in memory at once; None: the whole batch.

    Raises
    ------
    ValueError
        The network is in train mode.
    """
    if network.training:
        raise ValueError("gradient_magnitude needs the network in eval mode: call network.eval() first")
    if len(labels) == 0:  # vmap cannot infer shapes from an empty batch
        return torch.zeros(0, device=labels.device)
    trainable = {name: p.detach() for name, p in network.named_parameters() if p.requires_grad}
    fixed = dict(network.named_buffers())

    def loss_of_one(parameters: dict[str, Tensor], one: dict[str, Tensor], label: Tensor) -> Tensor:
        def call(batch: Mapping[str, Tensor]) -> object:
            return torch.func.functional_call(network, (parameters, fixed), (batch,))

        return sample_loss(call, {name: x[None] for name, x in one.items()}, label[None])

    def magnitude(one: dict[str, Tensor], label: Tensor) -> Tensor:
        gradients = torch.func.grad(loss_of_one)(trainable, one, label)
        return torch.stack([g.square().sum() for g in gradients.values()]).sum().sqrt()

    magnitudes: Tensor = torch.func.vmap(magnitude, chunk_size=chunk)(dict(inputs), labels)
    return magnitudes


def confidence(logits: Mapping[str, Tensor]) -> Tensor:
    """Return the largest class probability, averaged over modalities, [batch] in [1 / classes, 1].

    Near 1 / classes the softmaxes are nearly uniform, and prediction similarity is uninformative.
    """
    return torch.stack([z.float().softmax(dim=-1).amax(dim=-1) for z in logits.values()]).mean(dim=0)


def observed_criteria(
    names: Iterable[str],
    logits: Mapping[str, Tensor],
    loss: Tensor,
    features: Mapping[str, Tensor] | None = None,
    magnitude: Tensor | None = None,
) -> dict[str, Tensor]:
    """Return the criteria `names`, [batch] each, from values that a training pass computes anyway.

    Raises ``ValueError`` if an input that one of them needs is missing.
    """
    require(isinstance(logits, Mapping), "logits", type(logits), "a mapping of modality to its logits [batch, classes]")
    values: dict[str, Tensor] = {}
    for name in names:
        if name == "training_loss":
            values[name] = loss
        elif name == "prediction_similarity":
            values[name] = prediction_similarity(logits)
        elif name == "logit_similarity":
            values[name] = logit_similarity(logits)
        elif name == "feature_similarity" and features is not None:
            values[name] = feature_similarity(features)
        elif name == "gradient_magnitude" and magnitude is not None:
            values[name] = magnitude
        else:
            raise ValueError(f"the score uses `{name}`: pass it to observe()")
    return values
