"""The comparison in one sentence."""

from bss.report.comparison import ROLES, Comparison
from bss.report.families import FEWEST_SEEDS
from bss.report.wording import named, points


def headline(comparison: Comparison) -> str:
    """Return the verdict at the selected epoch in one sentence; baseline and control are no candidates."""
    seeds = comparison["seeds"]
    if seeds < FEWEST_SEEDS:
        return f"No verdict: {FEWEST_SEEDS} or more seeds are needed, there {'is' if seeds == 1 else 'are'} {seeds}."
    parts = [part for key, role in ROLES if (part := _against(comparison, key, role))]
    if not parts:
        return f"Nothing to compare with {comparison['baseline']}."
    return "; ".join(parts) + "."


def _against(comparison: Comparison, key: str, role: str) -> str | None:
    """Return the clause on one reference, or None if no scheduler is compared with it."""
    references = (comparison["baseline"], comparison["control"])
    found = {
        name: entry[key]["test_acc"]
        for name, entry in comparison["schedulers"].items()
        if key in entry and name not in references
    }
    if not found:
        return None
    best_first = sorted(found, key=lambda name: -found[name]["difference"])
    better = [name for name in best_first if found[name]["verdict"] == "better"]
    words = {
        "worse": "worse",
        "within-margin": f"within {points(comparison['margin'])}",
        "inconclusive": "inconclusive",
    }
    counts = {word: sum(one["verdict"] == verdict for one in found.values()) for verdict, word in words.items()}
    rest = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    subject = f"{named(better)} {'is' if len(better) == 1 else 'are'}" if better else "no scheduler is shown to be"
    if not better and key == ROLES[0][0]:
        subject = subject.capitalize()
    return f"{subject} better than {comparison[role]}" + (f" ({rest})" if rest else "")
