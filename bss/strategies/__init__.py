"""Strategies: what changes a step of training besides the order of its samples. Needs torch, numpy and bss.balance."""

from bss.strategies.base import Method, Strategy
from bss.strategies.draw import Draw
from bss.strategies.hooks import (
    ALL,
    Arranged,
    Context,
    EpochPlan,
    Facts,
    Gradients,
    Group,
    Hidden,
    Mixed,
    Objective,
    Onset,
    Prediction,
    Seen,
    Setting,
    Split,
    State,
    Taught,
    Turn,
    Weights,
)
from bss.strategies.losses import weighted_loss

__all__ = [
    "ALL",
    "Arranged",
    "Context",
    "Draw",
    "EpochPlan",
    "Facts",
    "Gradients",
    "Group",
    "Hidden",
    "Method",
    "Mixed",
    "Objective",
    "Onset",
    "Prediction",
    "Seen",
    "Setting",
    "Split",
    "State",
    "Strategy",
    "Taught",
    "Turn",
    "Weights",
    "weighted_loss",
]
