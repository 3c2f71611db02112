"""Schedulers x strategies: what the order adds, what the strategy adds, and their interaction."""

from collections.abc import Mapping
from typing import Literal

from bss.config.combinations import Combination
from bss.report.statistics import Floats, paired_differences

Effect = Literal["order", "strategy", "interaction", "control", "budget"]
EFFECTS: tuple[Effect, ...] = ("order", "strategy", "interaction", "control", "budget")
"""Each is a family of its own: it answers one question."""


def factorial_differences(
    values: Mapping[Combination, Floats],
    baseline: str,
    plain: str,
    controls: Mapping[str, str] | None = None,
    budgets: Mapping[Combination, str] | None = None,
) -> dict[Effect, dict[Combination, Floats]]:
    """Return the per-seed differences of each effect, float64 [seeds] in the unit of `values` [seeds].

    - ``order``: against the scheduler `baseline` with the same strategy.
    - ``strategy``: against the strategy `plain` with the same scheduler.
    - ``interaction``: how much more the order adds under the strategy than under `plain`; equally, how much more the
      strategy adds under the scheduler than under `baseline`. 0 if the two add up.
    - ``control``: against the strategy that `controls` names for the cell's, with the same scheduler.
    - ``budget``: against the strategy that `budgets` names for the cell, with the same scheduler.

    An effect whose cells are not all in `values` is left out. Raises ValueError for unequal lengths and for numbers
    that are not finite.
    """
    found: dict[Effect, dict[Combination, Floats]] = {effect: {} for effect in EFFECTS}
    for cell, own in values.items():
        same_strategy = values.get(Combination(baseline, cell.strategy))
        same_scheduler = values.get(Combination(cell.scheduler, plain))
        corner = values.get(Combination(baseline, plain))
        if cell.scheduler != baseline and same_strategy is not None:
            found["order"][cell] = paired_differences(own, same_strategy)
        if cell.strategy != plain and same_scheduler is not None:
            found["strategy"][cell] = paired_differences(own, same_scheduler)
        both = cell.scheduler != baseline and cell.strategy != plain
        if both and same_strategy is not None and same_scheduler is not None and corner is not None:
            # Sums first, so that differences that are equal up to rounding become equal.
            found["interaction"][cell] = paired_differences(own + corner, same_strategy + same_scheduler)
        references: tuple[tuple[Effect, str | None], ...] = (
            ("control", (controls or {}).get(cell.strategy)),
            ("budget", (budgets or {}).get(cell)),
        )
        for effect, name in references:
            other = None if name is None else values.get(Combination(cell.scheduler, name))
            if other is not None:
                found[effect][cell] = paired_differences(own, other)
    return found
