"""The balance core: criteria, score, pacing, schedulers and sampler. Needs only torch and numpy.

Whatever needs torch is imported lazily: the schema and the schedulers work without it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bss.balance.pacing import Pacing
from bss.balance.schedulers import Heuristic, Learned, Scheduler, Uniform
from bss.balance.score import BalanceScore, smooth

if TYPE_CHECKING:
    from bss.balance.auditing import Audit, audit
    from bss.balance.criteria import (
        confidence,
        feature_similarity,
        gradient_magnitude,
        logit_similarity,
        prediction_similarity,
        training_loss,
    )
    from bss.balance.sampler import SequenceSampler
    from bss.balance.with_index import WithIndex

__all__ = [
    "Audit",
    "BalanceScore",
    "Heuristic",
    "Learned",
    "Pacing",
    "Scheduler",
    "SequenceSampler",
    "Uniform",
    "WithIndex",
    "audit",
    "confidence",
    "feature_similarity",
    "gradient_magnitude",
    "logit_similarity",
    "prediction_similarity",
    "smooth",
    "training_loss",
]


def __getattr__(name: str) -> Any:
    """Import the attribute `name` on first access."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    homes = {"Audit": "auditing", "audit": "auditing", "SequenceSampler": "sampler", "WithIndex": "with_index"}
    home = homes.get(name, "criteria")
    return getattr(import_module(f"bss.balance.{home}"), name)


def __dir__() -> list[str]:
    """Return all lazy names, for completion."""
    return __all__
