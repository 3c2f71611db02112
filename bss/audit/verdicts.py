"""The posterior over explanations of every sample, from predictions and evidence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax, softmax

from bss.audit.folds import Ints
from bss.audit.predictions import Logits
from bss.balance.auditing import Explanation, audit

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Verdicts:
    """What is believed of n samples; NaN and -1 if no network could judge one."""

    explanations: tuple[Explanation, ...]
    posterior: Floats
    """[n, explanations]."""
    log_odds: Floats
    """[n], that something is wrong."""
    supported: dict[str, Ints]
    """[n] by modality: the class it shows."""
    confidence: dict[str, Floats]
    """[n] by modality: the calibrated probability of that class."""
    suggested: Ints
    """[n]: the class other than the label that all modalities together show."""
    suggested_confidence: Floats
    """[n]: its probability if the label is wrong."""
    temperatures: list[dict[str, float]]
    """Temperatures by modality, one dict per part that was fitted."""

    @property
    def probability(self) -> Floats:
        """[n], the probability that something is wrong."""
        wrong: Floats = self.posterior[:, 1:].sum(axis=1)
        return wrong

    def best(self) -> list[Explanation | None]:
        """Return the likeliest explanation of the likeliest kind of each sample; None if there is no verdict."""
        kinds = list(dict.fromkeys(e.kind for e in self.explanations))
        columns = {kind: [i for i, e in enumerate(self.explanations) if e.kind == kind] for kind in kinds}
        best: list[Explanation | None] = []
        for row in self.posterior:
            if np.isnan(row[0]):
                best.append(None)
                continue
            kind = max(kinds, key=lambda kind: row[columns[kind]].sum())
            best.append(self.explanations[max(columns[kind], key=row.__getitem__)])
        return best


def judge(
    logits: Logits, labels: Ints, empty: Mapping[str, Floats], parts: Sequence[npt.NDArray[np.bool_]]
) -> Verdicts:
    """Return the verdicts on n samples with out-of-fold `logits` [n, classes], NaN for those without any.

    `empty` are probabilities [n] that an input carries nothing, for some modalities. Shares and constants are fitted to
    each of the disjoint `parts` bool [n] by itself, so that test changes nothing of what is said about train.
    """
    n = len(labels)
    known = ~np.isnan(next(iter(logits.values()))[:, 0])
    explanations: tuple[Explanation, ...] = ()
    posterior, log_odds = np.empty((0, 0)), np.full(n, np.nan)
    supported = {name: np.full(n, -1, dtype=np.int64) for name in logits}
    confidence = {name: np.full(n, np.nan) for name in logits}
    suggested, suggested_confidence = np.full(n, -1, dtype=np.int64), np.full(n, np.nan)
    temperatures = []
    for part in parts:
        rows = np.flatnonzero(part & known)
        if not len(rows):
            continue
        own = {name: values[rows] for name, values in logits.items()}
        found = audit(own, labels[rows], empty={name: values[rows] for name, values in empty.items()})
        if not explanations:
            explanations, posterior = found.explanations, np.full((n, len(found.explanations)), np.nan)
        posterior[rows], log_odds[rows] = found.posterior, found.log_odds
        calibrated = {name: log_softmax(z / found.temperatures[name], axis=1) for name, z in own.items()}
        for name, log_p in calibrated.items():
            supported[name][rows] = found.supported[name]
            confidence[name][rows] = np.exp(log_p.max(axis=1))
        suggested[rows], suggested_confidence[rows] = _another_class(calibrated, labels[rows])
        temperatures.append(found.temperatures)
    others = (suggested, suggested_confidence)
    return Verdicts(explanations, posterior, log_odds, supported, confidence, *others, temperatures)


def _another_class(log_p: Mapping[str, Floats], labels: Ints) -> tuple[Ints, Floats]:
    """Return the likeliest class but the label by all of `log_p` [n, classes], and its probability if that is wrong."""
    n, classes = next(iter(log_p.values())).shape
    frequency = (np.bincount(labels, minlength=classes) + 1) / (n + classes)
    together = sum(values - np.log(frequency) for values in log_p.values()) + np.log(frequency)
    together[np.arange(n), labels] = -np.inf
    probability = softmax(together, axis=1)
    return probability.argmax(axis=1), probability.max(axis=1)
