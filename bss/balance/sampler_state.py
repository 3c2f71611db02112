"""Checks of a sampler's saved state, before anything of it is loaded."""

import warnings
from collections.abc import Mapping
from typing import Any

from bss.balance.checks import require

STATE = (
    *("rank", "ranks", "shared", "epoch", "position", "start_epoch"),
    *("scores", "sequence", "values", "observed"),
)
"""Keys of a sampler's state, besides those that identify the sampler."""


def check_state(state: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` unless `state` is complete and was saved by a sampler of this `identity`."""
    missing = [name for name in (*identity, *STATE) if name not in state]
    require(not missing, "state", sorted(state), f"what state_dict() returned, with {', '.join(missing)}")
    for name, mine in identity.items():
        if state[name] != mine:
            raise ValueError(f"this state was saved with {name} = {state[name]!r}, but the sampler has {mine!r}")


def warn_if_partial(state: Mapping[str, Any], rank: int, ranks: int) -> None:
    """Warn if `state` is missing observations of ranks other than the `rank` of `ranks` that loads it."""
    if not state["shared"] and (state["rank"], state["ranks"]) != (rank, ranks):
        warnings.warn(
            f"this state holds only the observations of rank {state['rank']} of {state['ranks']}; scores of the "
            "other samples will be stale: call sampler.share() on every rank before state_dict()",
            stacklevel=3,  # the line that calls load_state_dict
        )
