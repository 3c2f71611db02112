"""The balance core: criteria, score, pacing, schedulers and sampler. Needs torch and numpy alone."""

from bss.balance.criteria import (
    confidence,
    feature_similarity,
    gradient_magnitude,
    logit_similarity,
    prediction_similarity,
    training_loss,
)
from bss.balance.pacing import Pacing
from bss.balance.sampler import SequenceSampler, WithIndex
from bss.balance.schedulers import Heuristic, Learned, Scheduler, Uniform
from bss.balance.score import BalanceScore, smooth

__all__ = [
    "BalanceScore",
    "Heuristic",
    "Learned",
    "Pacing",
    "Scheduler",
    "SequenceSampler",
    "Uniform",
    "WithIndex",
    "confidence",
    "feature_similarity",
    "gradient_magnitude",
    "logit_similarity",
    "prediction_similarity",
    "smooth",
    "training_loss",
]
