"""The audit: which pairs are wrong, how, and which modality is to blame, from the modalities' own predictions.

Every sample gets a posterior over explanations. With label y, the prediction p_m(c) of modality m and the frequency
f_c of class c among the labels, the likelihood of an explanation, relative to unrelated modalities and label, is

- clean, every modality shows y:        prod over m of p_m(y) / f_y
- contradiction, a shows another class: (1 - p_a(y)) / (1 - f_y), times p_m(y) / f_y of the other modalities
- label, all show one class but not y:  sum over c != y of f_c / (1 - f_y) * prod over m of p_m(c) / f_c
- empty, a carries nothing:             how much likelier its input is if it is empty, times p_m(y) / f_y of the others

The shares of the explanations and a few constants of each modality (a temperature, the rate of its blind errors, and
that of inputs that look empty and are not) are fitted together, by maximum a posteriori. Without the first two the
errors of an overconfident model count as faults. Without the third pictures that look like noise do, such as radar
images, although their predictions fit: what looks empty is empty as far as its predictions are at chance.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from bss.balance.audit_arguments import checked_evidence, checked_labels, checked_mapping, checked_predictions
from bss.balance.one_thread import one_thread

Kind = Literal["clean", "contradiction", "label", "empty"]
Floats = npt.NDArray[np.float64]

FITTED = 20_000
"""More samples than this do not make the shares and constants better; they are fitted to this many, evenly spread."""
VALUES = 2_000_000
"""Numbers (of samples, modalities and classes) whose likelihoods are computed at once: it bounds the memory."""
CHUNK = 50_000
"""The most samples of a part of the verdicts."""
BLIND = -6.0
"""Prior mean of the log odds of a blind error: 0.25 %. Errors and contradictions look alike, so it must be small."""
BLIND_DEVIATION = 0.5
TEMPERATURE_DEVIATION = 1.5
"""Prior deviation of the logarithm of a temperature, around 0. A model near chance needs a high temperature."""
KNOWN_CLEAN = 5.0
"""Prior of the shares: as if so many more samples were known to be clean.

A model near chance is explained by a high temperature, or by contradictions in all but one of its classes: the prior of
the shares must outweigh that of the temperatures.
"""
Z = 1.959963984540054
"""97.5 % point of the normal distribution."""
ALIKE = -9.21
"""Prior mean of the log odds that an input looks empty and is not: 1e-4. No sample is decided by its looks alone."""
ALIKE_DEVIATION = 1.0


Observed = tuple[Tensor, Tensor, Tensor]
"""k samples: logits float64 [modalities, k, classes], labels int64 [k], log odds of emptiness float64 [empty, k]."""


class Explanation(NamedTuple):
    """One way in which a sample may have come about."""

    kind: Kind
    modality: str | None
    """The modality to blame; None for clean samples and wrong labels."""


@dataclass(frozen=True)
class Audit:
    """What is known of n samples: a posterior over explanations, and what was fitted on the way."""

    explanations: tuple[Explanation, ...]
    """The columns of `posterior`; clean is the first."""
    posterior: Floats
    """[n, explanations], rows sum to 1."""
    log_odds: Floats
    """[n], the logarithm of P(something is wrong) / P(clean). Sort by it: probabilities near 1 round to ties."""
    supported: dict[str, npt.NDArray[np.int64]]
    """[n] for each modality: the class that it supports."""
    shares: Floats
    """[explanations], the estimated share of each among the samples."""
    temperatures: dict[str, float]
    """For each modality what its logits were divided by; above 1 for an overconfident model."""

    @property
    def probability(self) -> Floats:
        """[n], the probability that something is wrong with the sample."""
        return self.posterior[:, 1:].sum(axis=1)

    def probability_of(self, kind: Kind) -> Floats:
        """Return the probability of `kind` [n], whichever modality is to blame."""
        columns = [column for column, explanation in enumerate(self.explanations) if explanation.kind == kind]
        return self.posterior[:, columns].sum(axis=1)

    def share_of(self, kind: Kind) -> float:
        """Return the estimated share of samples of `kind`."""
        return float(sum(s for s, e in zip(self.shares, self.explanations, strict=True) if e.kind == kind))

    def ranking(self) -> npt.NDArray[np.int64]:
        """[n], positions of the samples, the most suspicious first."""
        return np.argsort(-self.log_odds, kind="stable")

    def kinds(self) -> list[Kind]:
        """Return the most probable kind of each of the n samples."""
        kinds = list(dict.fromkeys(explanation.kind for explanation in self.explanations))
        best = np.stack([self.probability_of(kind) for kind in kinds], axis=1).argmax(axis=1)
        return [kinds[column] for column in best]

    def blamed(self) -> list[str | None]:
        """Return the modality to blame for each sample, by the likeliest explanation of its kind; None if none is."""
        blamed = []
        for row, kind in zip(self.posterior, self.kinds(), strict=True):
            columns = [column for column, explanation in enumerate(self.explanations) if explanation.kind == kind]
            blamed.append(self.explanations[max(columns, key=row.__getitem__)].modality)
        return blamed


def audit(
    predictions: Mapping[str, npt.ArrayLike],
    labels: npt.ArrayLike,
    *,
    probabilities: bool = False,
    empty: Mapping[str, npt.ArrayLike] | None = None,
) -> Audit:
    """Explain each sample by the predictions of its modalities.

    Parameters
    ----------
    predictions : logits [n, classes] for each of two or more modalities. They must come from networks that did not
        train on the sample (out of fold), or a network that has memorised it agrees with any label.
    labels : int [n], each in [0, classes).
    probabilities : the predictions are probabilities instead, in [0, 1] with rows that sum to 1.
    empty : for some modalities, the probability [n] that the input carries nothing (silence, a black picture), from
        the input itself; predictions alone do not show it.

    Raises
    ------
    ValueError
        Fewer than two modalities or classes, what is no array of numbers (tensors are, also with gradients), arrays of
        different lengths, values out of their range, an unknown modality in `empty`, or probabilities without
        `probabilities`. The message names the argument and the modality.
    """
    logits = checked_predictions(checked_mapping(predictions, "predictions"), probabilities)
    n, classes = next(iter(logits.values())).shape
    y = checked_labels(labels, n, classes)
    evidence = checked_evidence(checked_mapping({} if empty is None else empty, "empty"), logits, n)
    explanations = (
        Explanation("clean", None),
        *(Explanation("contradiction", name) for name in logits),
        Explanation("label", None),
        *(Explanation("empty", name) for name in evidence),
    )
    model = _Model(list(logits), list(evidence), np.bincount(y, minlength=classes), n)
    size = max(1, VALUES // (len(logits) * classes))

    def observed(rows: npt.NDArray[np.int64]) -> Observed:
        z = np.stack([values[rows] for values in logits.values()]).astype(np.float64, copy=False)
        odds = np.stack([values[rows] for values in evidence.values()]) if evidence else np.zeros((0, len(rows)))
        return torch.from_numpy(z), torch.from_numpy(y[rows]), torch.from_numpy(odds)

    with one_thread():
        some = np.linspace(0, n - 1, min(n, FITTED)).round().astype(np.int64)
        model.fit([observed(some[start : start + size]) for start in range(0, len(some), size)])
        size, every = min(size, CHUNK), np.arange(n)
        joint = torch.cat([model.joint(*observed(every[start : start + size])) for start in range(0, n, size)])
        log_odds = torch.logsumexp(joint[:, 1:], dim=1) - joint[:, 0]
    return Audit(
        explanations=explanations,
        posterior=joint.softmax(dim=1).numpy(),
        log_odds=log_odds.numpy(),
        supported={name: values.argmax(axis=1) for name, values in logits.items()},
        shares=model.shares.log_softmax(dim=0).exp().numpy(),
        temperatures=dict(zip(logits, model.temperatures.exp().tolist(), strict=True)),
    )


class _Model:
    """The shares of the explanations and the constants of the modalities, and the likelihoods that follow."""

    def __init__(self, modalities: list[str], emptiness: list[str], counts: npt.NDArray[np.int64], n: int) -> None:
        """Start from mostly clean samples; `counts` [classes] of the labels plus one give the classes' frequencies."""
        self.empty = [modalities.index(name) for name in emptiness]
        self.frequency = torch.from_numpy((counts + 1) / (n + len(counts)))
        faults = len(modalities) + 1 + len(emptiness)
        self.shares = torch.tensor([3.0] + [0.0] * faults, dtype=torch.float64)  # before the softmax
        self.temperatures = torch.zeros(len(modalities), dtype=torch.float64)  # logarithms
        self.blind = torch.full((len(modalities),), BLIND, dtype=torch.float64)  # log odds
        self.alike = torch.full((len(emptiness),), ALIKE, dtype=torch.float64)  # log odds

    def joint(self, logits: Tensor, labels: Tensor, odds: Tensor) -> Tensor:
        """Return log P(explanation, predictions) [n, explanations] up to a constant of each sample.

        `logits` [modalities, n, classes], `labels` [n], `odds` [emptiness, n]: log odds that an input is empty.
        """
        blind = self.blind.sigmoid()[:, None, None]
        p = (logits / self.temperatures.exp()[:, None, None]).softmax(dim=-1)
        p = (1 - blind) * p + blind * self.frequency
        relative = (p / self.frequency).log()  # [modalities, n, classes]
        of_label = labels.expand(len(p), -1)[..., None]
        agrees = relative.gather(-1, of_label)[..., 0]  # [modalities, n]
        denies = ((1 - p.gather(-1, of_label)[..., 0]) / (1 - self.frequency[labels])).log()
        clean = agrees.sum(dim=0)
        another = self.frequency.log() + relative.sum(dim=0)  # [n, classes]
        another = another.scatter(1, labels[:, None], -torch.inf).logsumexp(dim=1)
        # How much likelier an input is if it is empty: of this ratio, `alike` is part of the denominator.
        evidence = -torch.logaddexp(F.logsigmoid(-self.alike)[:, None] - odds, F.logsigmoid(self.alike)[:, None])
        columns = [
            clean,
            *(clean - agrees[m] + denies[m] for m in range(len(p))),
            another - torch.log1p(-self.frequency[labels]),
            *(clean - agrees[m] + likelier for m, likelier in zip(self.empty, evidence, strict=True)),
        ]
        return torch.stack(columns, dim=1) + self.shares.log_softmax(dim=0) - evidence.sum(dim=0)[:, None]

    def fit(self, parts: Sequence[Observed]) -> None:
        """Set shares and constants to their most probable values, given the arguments of `joint` in parts.

        A step that leaves the range of numbers, as predictions near chance may cause, ends the search at the best ones.
        """
        fitted = [self.shares, self.temperatures, self.blind, *([self.alike] if len(self.alike) else [])]
        best, least = [parameter.clone() for parameter in fitted], torch.inf
        for parameter in fitted:
            parameter.requires_grad_()
        optimiser = torch.optim.LBFGS(fitted, max_iter=300, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            nonlocal best, least
            optimiser.zero_grad()
            prior = KNOWN_CLEAN * self.shares.log_softmax(dim=0)[0]
            prior = prior - (self.temperatures / TEMPERATURE_DEVIATION).square().sum() / 2
            prior = prior - ((self.blind - BLIND) / BLIND_DEVIATION).square().sum() / 2
            value = ((self.alike - ALIKE) / ALIKE_DEVIATION).square().sum() / 2 - prior
            value.backward()
            for part in parts:  # each by itself, so that the graph of one is in memory
                unlikely = -self.joint(*part).logsumexp(dim=1).sum()
                unlikely.backward()
                value = value.detach() + unlikely.detach()
            if value < least:
                best, least = [parameter.detach().clone() for parameter in fitted], value.item()
            return value

        optimiser.step(loss)
        for parameter, values in zip(fitted, best, strict=True):
            parameter.requires_grad_(False).copy_(values)


def share(expected: float, n: int) -> dict[str, float]:
    """Return the share of `expected` of `n` samples, and its 95 % interval from sampling alone (Wilson, 1927)."""
    p = expected / n
    middle, width = p + Z**2 / (2 * n), Z * np.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    low, high = (float((middle + sign * width) / (1 + Z**2 / n)) for sign in (-1, 1))
    return {"share": p, "low": max(0.0, low), "high": min(1.0, high)}
