"""From the logits of all heads to those whose argmax is the prediction."""

from collections.abc import Mapping

import torch
from torch import Tensor

from bss.strategies import Prediction
from bss.strategies.evidence import alpha_of, combined
from bss.strategies.surest import surest


def predicted_logits(
    prediction: Prediction, logits: Mapping[str, Tensor], fused: Tensor, agreement: float = 0.5
) -> Tensor:
    """Return the logits of the prediction, [batch, classes], from unimodal and fused ones of that shape.

    `agreement` is network.agreement.
    """
    if prediction == "fused":
        return fused
    if prediction == "evidence":  # the softmax of these is the expected probability
        return combined([alpha_of(z) for z in (*logits.values(), fused)]).log()
    stacked = torch.stack(list(logits.values()))
    if prediction == "surest":
        return surest(stacked, fused, agreement)
    if prediction == "by-entropy":
        return (entropy_weights(stacked)[:, :, None] * stacked).sum(dim=0)
    total = stacked.sum(dim=0)
    return total if prediction == "unimodal-heads" else total + fused


def entropy_weights(logits: Tensor) -> Tensor:
    """Return the weight of each head, [heads, batch], which falls with its entropy, from `logits` [heads, batch, C].

    ``exp(max H - H_m)``, normalised: that is the softmax of the negative entropies.
    """
    log_p = logits.log_softmax(dim=2)
    entropy = -(log_p.exp() * log_p).sum(dim=2)
    return (-entropy).softmax(dim=0)
