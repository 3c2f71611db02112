"""Strategies: what changes a step of training besides the order of its samples. Needs torch, numpy and bss.balance."""

from bss.strategies.base import (
    ALL,
    Arranged,
    Context,
    EpochPlan,
    Facts,
    Gradients,
    Group,
    Method,
    Mixed,
    Objective,
    Prediction,
    Seen,
    Setting,
    State,
    Strategy,
    Weights,
    weighted_loss,
)
from bss.strategies.draw import Draw

__all__ = [
    "ALL",
    "Arranged",
    "Context",
    "Draw",
    "EpochPlan",
    "Facts",
    "Gradients",
    "Group",
    "Method",
    "Mixed",
    "Objective",
    "Prediction",
    "Seen",
    "Setting",
    "State",
    "Strategy",
    "Weights",
    "weighted_loss",
]
