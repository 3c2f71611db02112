"""How often intervals cover the truth and verdicts are false, by simulation: shares, no timings."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.process import PROJECT
from benchmarks.resampled_intervals import bca_interval, bootstrap_t_interval, percentile_interval
from bss.report.families import SIGNIFICANT, decide
from bss.report.markdown import markdown_table
from bss.report.seeds import seeds_to_show
from bss.report.statistics import Floats, max_t_p, sign_flip_p, t_interval

PAGE = PROJECT / "docs" / "statistics.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
METHODS: dict[str, Callable[[Floats], tuple[Floats, Floats]]] = {
    "percentile bootstrap": percentile_interval,
    "BCa bootstrap": bca_interval,
    "bootstrap-t": bootstrap_t_interval,
    "t": t_interval,
}
LAWS: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Floats]] = {
    "normal": lambda random, shape: random.standard_normal(shape),
    "skewed (exponential)": lambda random, shape: random.standard_exponential(shape) - 1,
    "very skewed (log-normal)": lambda random, shape: random.lognormal(size=shape) - np.exp(0.5),
    "heavy tails (t, 3 degrees)": lambda random, shape: random.standard_t(3, size=shape),
}
"""Laws of a paired difference with mean 0."""
SEEDS = (4, 5, 6, 8, 10, 20)
FAMILY_SEEDS = (6, 8, 10, 12)
SCHEDULERS = 8
"""Compared with one baseline."""
EFFECTS = (1.5, 1.0, 0.8)
"""Of one scheduler among `SCHEDULERS`, in standard deviations of its paired differences."""
RESAMPLES = 2000
"""Sign vectors of the tests with more than 16 seeds."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate; print the tables, and with ``--record`` write them into docs/statistics.md."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.interval_coverage", description=__doc__)
    parser.add_argument("--simulations", type=int, default=6000, help="default: %(default)s")
    parser.add_argument("--record", action="store_true", help="write docs/statistics.md")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page with the markers")
    options = parser.parse_args(arguments)
    text = tables(options.simulations)
    print(text)
    if options.record:
        page = options.page.read_text(encoding="utf-8")
        head, (_, tail) = page.split(BEGIN)[0], page.split(BEGIN)[1].split(END)
        options.page.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}", encoding="utf-8")


def tables(simulations: int) -> str:
    """Return all tables with a line on what each shows."""
    error = 100 * np.sqrt(0.05 * 0.95 / simulations)
    parts = [
        f"`python -m benchmarks.interval_coverage --record`, {simulations:,} simulations of each cell: a share of 5 or "
        f"95 % has a standard error of {error:.1f} points.",
        "Coverage of the mean by intervals of nominal 95 %, in %; in brackets the median width over that of the "
        "t-interval:",
        coverage_table(simulations),
        f"{SCHEDULERS} schedulers against one baseline, all of them equal: comparisons in which at least one is called "
        "better or worse, in %:",
        false_verdict_table(simulations),
        f"The same with two of the {SCHEDULERS} better by 1.5 standard deviations of the differences: share of the two "
        "that is found, and comparisons in which one of the others is called better or worse, in %:",
        power_table(simulations),
        "False `within the margin`, if the true difference is as large as the margin (half the standard deviation, so "
        f"that intervals fit), in %: of one scheduler, and of at least one of {SCHEDULERS}:",
        margin_table(simulations),
        f"How often the planned number of seeds shows the difference it is planned for (80 % wanted), in %, for one "
        f"scheduler alone and for one of {SCHEDULERS}:",
        plan_table(max(1, simulations // 6)),
    ]
    return "\n\n".join(parts)


def coverage_table(simulations: int) -> str:
    """Return the table of every interval on every law."""
    rows: list[list[str]] = []
    for law, draw in LAWS.items():
        _say(f"coverage, {law}")
        cells: dict[str, list[str]] = {method: [law, method] for method in METHODS}
        for n in SEEDS:
            differences = draw(np.random.default_rng(n), (simulations, n))
            widths = {}
            for method, interval in METHODS.items():
                low, high = interval(differences)
                widths[method] = np.median(high - low)
                cells[method].append(f"{100 * np.mean((low <= 0) & (high >= 0)):.1f}")
            for method, width in widths.items():
                cells[method][-1] += f" ({width / widths['t']:.2f})"
        rows += cells.values()
    return markdown_table(["differences", "interval", *(f"{n} seeds" for n in SEEDS)], rows)


def families(simulations: int, n: int, effects: Sequence[float]) -> np.ndarray:
    """Return paired differences of schedulers that share a baseline, sd 1: float64 [simulations, schedulers, n]."""
    runs = np.random.default_rng(n).normal(0, np.sqrt(0.5), (simulations, len(effects) + 1, n))
    differences: Floats = runs[:, 1:] - runs[:, :1] + np.asarray(effects)[:, None]
    return differences


def holm(p: Floats) -> Floats:
    """Return Holm's step-down correction of `p` [rows]."""
    order = np.argsort(p, kind="stable")
    corrected: Floats = np.maximum.accumulate(np.minimum(1, p[order] * np.arange(len(p), 0, -1)))
    return corrected[np.argsort(order)]


RULES: dict[str, Callable[[Floats], Floats]] = {
    "none": lambda differences: sign_flip_p(differences, RESAMPLES),
    "Holm": lambda differences: holm(sign_flip_p(differences, RESAMPLES)),
    "max-t": lambda differences: max_t_p(differences, RESAMPLES),
}
"""Correction to p-values of differences [rows, n]; none and max-t are those of `compare.correction`."""


def shown(differences: Floats, rule: Callable[[Floats], Floats]) -> np.ndarray:
    """Return which of `differences` [simulations, rows, n] the verdict calls better or worse: [simulations, rows]."""
    low, high = t_interval(differences)
    p = [rule(family) for family in differences]
    words = [[decide(*row, margin=0.0) for row in zip(*rows, strict=True)] for rows in zip(low, high, p, strict=True)]
    return np.isin(words, ["better", "worse"])


def false_verdict_table(simulations: int) -> str:
    """Return the share of pure-noise comparisons with a false verdict, by rule; the first row is the earlier rule."""
    rows = {"percentile bootstrap and sign-flip p": ["percentile bootstrap and sign-flip p"]}
    rows |= {rule: [f"t and sign-flip p, correction {rule}"] for rule in RULES}
    for n in FAMILY_SEEDS:
        _say(f"false verdicts, {n} seeds")
        differences = families(simulations, n, [0.0] * SCHEDULERS)
        low, high = percentile_interval(differences.reshape(-1, n))
        excluded = ((low > 0) | (high < 0)).reshape(differences.shape[:2])
        raw = np.array([sign_flip_p(family, RESAMPLES) <= SIGNIFICANT for family in differences])
        found = {"percentile bootstrap and sign-flip p": excluded & raw}
        found |= {name: shown(differences, rule) for name, rule in RULES.items()}
        for name, verdicts in found.items():
            rows[name].append(f"{100 * verdicts.any(axis=1).mean():.1f}")
    return markdown_table(["rule", *(f"{n} seeds" for n in FAMILY_SEEDS)], list(rows.values()))


def power_table(simulations: int) -> str:
    """Return what the corrections find of two true differences, and their false verdicts beside them."""
    rows = {rule: [rule] for rule in RULES}
    for n in FAMILY_SEEDS:
        _say(f"power, {n} seeds")
        differences = families(simulations, n, [1.5] * 2 + [0.0] * (SCHEDULERS - 2))
        for name, rule in RULES.items():
            verdicts = shown(differences, rule)
            found, false = verdicts[:, :2].mean(), verdicts[:, 2:].any(axis=1).mean()
            rows[name].append(f"{100 * found:.1f}, {100 * false:.1f}")
    return markdown_table(["correction", *(f"{n} seeds" for n in FAMILY_SEEDS)], list(rows.values()))


def margin_table(simulations: int) -> str:
    """Return how often intervals of 95 and 90 % lie within a margin that the true difference just reaches."""
    seeds, margin = (8, 12, 20, 40), 0.5
    rows = []
    for level in (0.95, 0.9):
        row = [f"{100 * level:.0f} %"]
        for n in seeds:
            low, high = t_interval(families(simulations, n, [margin] * SCHEDULERS), level)
            within = (-margin < low) & (high < margin)
            row.append(f"{100 * within.mean():.1f}, {100 * within.any(axis=1).mean():.1f}")
        rows.append(row)
    return markdown_table(["interval", *(f"{n} seeds" for n in seeds)], rows)


def plan_table(simulations: int) -> str:
    """Return the power that the planned seeds have in the end."""
    rows = []
    for effect in EFFECTS:
        row = [f"{effect:g}"]
        for schedulers in (1, SCHEDULERS):
            n = seeds_to_show(effect, 1.0, SIGNIFICANT, schedulers)
            assert n is not None
            _say(f"plans, {n} seeds")
            verdicts = shown(families(simulations, n, [effect] + [0.0] * (schedulers - 1)), RULES["max-t"])
            row += [str(n), f"{100 * verdicts[:, 0].mean():.1f}"]
        rows.append(row)
    head = ["difference / sd", "seeds, alone", "shown", f"seeds, one of {SCHEDULERS}", "shown"]
    return markdown_table(head, rows)


def _say(what: str) -> None:
    print(f"interval_coverage: {what} ...", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
