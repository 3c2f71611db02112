"""The comparison in words: cautions, findings, and the seeds that would decide the rest."""

from collections.abc import Iterator
from math import sqrt
from typing import Any

from bss.report.before_after import before_cautions
from bss.report.comparison import ROLES, Comparison
from bss.report.families import FEWEST_SEEDS, SIGNIFICANT
from bss.report.next_steps import FAR_ABOVE, next_steps
from bss.report.seeds import MOST_SEEDS
from bss.report.wording import MOST_LISTED_NAMES, interval, more_seeds, named, points, wanted_seeds


def verdicts(comparison: Comparison) -> list[str]:
    """Return cautions, findings for each scheduler, and what to try next."""
    return cautions(comparison) + findings(comparison) + next_steps(comparison)


def cautions(comparison: Comparison) -> list[str]:
    """Return the reasons to distrust the numbers."""
    lines = []
    if comparison["protocol"] == "published":
        lines.append(
            "Selected on the test split (protocol published): comparable only with published tables, and optimistic."
        )
    if decided := comparison.get("decisions", {}).get("test"):
        counts = ", ".join(f"{count} {kind}" for kind, count in decided.items())
        lines.append(
            f"Decisions changed test samples ({counts}): comparable only with results on the same test samples."
        )
    if early := comparison.get("stopped_early"):
        entries, seeds = comparison["schedulers"], comparison["seeds"]
        ended = ", ".join(
            f"{name} {count} of {seeds} (mean of all: {entries[name]['epochs']['mean']:.1f} epochs)"
            for name, count in early.items()
        )
        lines.append(
            f"Trials stopped early (train.early_stopping): {ended}. Steps and operations only count what was trained, "
            "so rows differ in them, and curves end where the first seed of a row stopped."
        )
    lines += [f"{text}." for text in comparison.get("idle_strategies", ())]
    lines += before_cautions(comparison)
    seeds = comparison["seeds"]
    if seeds < FEWEST_SEEDS:
        lines.append(
            f"Seeds: {seeds}, too few for a verdict, which needs at least {FEWEST_SEEDS}. The smallest p that the "
            f"sign-flip test can reach is 2 / 2^{seeds} = {2 / 2**seeds:.4g}, above {SIGNIFICANT}. "
            f"Run `{more_seeds(comparison, FEWEST_SEEDS)}`."
        )
    elif comparison["correction"] == "none" and len(comparison["schedulers"]) > 2:
        lines.append("Not corrected for multiple comparisons: among many, some are significant by chance.")
    if comparison["protocol"] == "honest":
        lines += _val_cautions(comparison)
    return lines


def _val_cautions(comparison: Comparison) -> Iterator[str]:
    """Return why the validation split may not be suitable to choose the best epoch."""
    entries = comparison["schedulers"]
    means = {name: (entry["val_acc"]["mean"], entry["test_acc"]["mean"]) for name, entry in entries.items()}
    gaps = [f"{name} {100 * v:.1f} / {100 * t:.1f}" for name, (v, t) in means.items() if 100 * (v - t) >= FAR_ABOVE]
    if gaps:
        yield (
            f"Validation accuracy is far above test accuracy ({', '.join(gaps)} %): val does not measure what test "
            "does. Train and val probably share something that test does not have: speakers, videos or near-duplicates "
            "(name them in the manifest's column `group`), or features from a model trained with the labels of "
            "both."
        )
    found = [entry[key]["test_acc"]["difference"] for entry in entries.values() for key, _ in ROLES if key in entry]
    accuracy, samples = means[comparison["baseline"]][0], comparison["val_samples"]
    error = 100 * sqrt(accuracy * (1 - accuracy) / samples)
    largest = max(map(abs, found), default=0.0)
    if found and error > largest:
        yield (
            f"Validation accuracy has a standard error of {error:.1f} points ({samples} samples), more than the "
            f"largest difference found, {largest:.1f}: the selected epochs are partly chance. A larger val split helps."
        )


def findings(comparison: Comparison) -> list[str]:
    """Return the findings for each scheduler except the control; nothing with too few seeds."""
    if comparison["seeds"] < FEWEST_SEEDS:
        return []
    lines = []
    for name, entry in comparison["schedulers"].items():
        parts = [_finding(entry[key]["test_acc"], comparison[role], comparison) for key, role in ROLES if key in entry]
        if parts and name != comparison["control"]:
            lines.append(f"{name}: {'; '.join(parts)}.")
    return lines


def headlines(comparison: Comparison) -> list[str]:
    """Sum up the findings, one sentence for the baseline and one for the control."""
    if comparison["seeds"] < FEWEST_SEEDS:
        return []
    references = [comparison[role] for _, role in ROLES]
    words = {"better": "better", "worse": "worse", "within-margin": f"within {points(comparison['margin'])}"}
    words["inconclusive"] = "inconclusive"
    lines = []
    for key, role in ROLES:
        found: dict[str, list[str]] = {verdict: [] for verdict in words}
        for name, entry in comparison["schedulers"].items():
            if name not in references and key in entry:
                found[entry[key]["test_acc"]["verdict"]].append(name)
        parts = [f"{words[verdict]}: {named(names, MOST_LISTED_NAMES)}" for verdict, names in found.items() if names]
        if parts:
            lines.append(f"Against {comparison[role]}, {'; '.join(parts)}.")
    return lines


def _finding(difference: dict[str, Any], reference: str, comparison: Comparison) -> str:
    margin, verdict = comparison["margin"], difference["verdict"]
    small = -margin < difference["low"] and difference["high"] < margin
    found = {
        "better": f"better than {reference}" + (f", by less than {points(margin)}" if small else ""),
        "worse": f"worse than {reference}" + (f", by less than {points(margin)}" if small else ""),
        "within-margin": f"within {points(margin)} of {reference}",
        "inconclusive": f"inconclusive against {reference}",
    }[verdict]
    p = f"p = {difference['p']:.3f}"
    if difference["p_corrected"] is not None:
        p += f", corrected {difference['p_corrected']:.3f}"
    return f"{found} ({interval(difference)}, {p}{_needs(difference, comparison)})"


def _needs(difference: dict[str, Any], comparison: Comparison) -> str:
    if difference["verdict"] != "inconclusive":
        return ""
    seeds = wanted_seeds(difference, comparison)
    return f", more than {MOST_SEEDS} seeds would be needed" if seeds is None else f", about {seeds} seeds would decide"
