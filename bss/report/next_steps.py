"""What to try next: rules on what was measured, each with the command or the parameter to set."""

from collections.abc import Callable
from itertools import chain, count
from math import ceil

from bss.report.comparison import ROLES, Comparison
from bss.report.families import FEWEST_SEEDS
from bss.report.wording import MOST_LISTED_NAMES, interval, more_seeds, points, wanted_seeds

MOST_STEPS = 5
"""Steps that are shown."""
MOST_LISTED = 64
"""Maximum number of seeds in a suggested command."""
FAR_ABOVE = 10.0
"""From this many points of val above test accuracy, val does not predict test."""
LARGEST_VAL = 0.5
"""Largest `prepare.val_share`."""
NEAR_CHANCE = 5.0
"""Points above chance up to which a network has hardly learned anything."""
HARDLY_SPREAD = 0.05
"""Below this share of the range, the middle half of the scores is hardly spread."""
HARDLY_AGREE = 0.3
"""Below this rank correlation, the scores of two seeds hardly agree."""
SUGGESTED = ("ogm", "mlb", "smp")
"""Strategies to try first: they change only gradients or rates."""


def next_steps(comparison: Comparison) -> list[str]:
    """Return at most `MOST_STEPS` steps, the most urgent first; code is in backticks.

    A comparison without observations has only the command that adds seeds.
    """
    steps = [found for rule in RULES if "observed" in comparison and (found := rule(comparison)) is not None]
    return [*steps[: MOST_STEPS - 1], *more_seeds_step(comparison)]


def nothing_learned(comparison: Comparison) -> str | None:
    """Advise another learning rate if the baseline is near chance."""
    observed = comparison["observed"]
    chance, found = 100 / observed["counts"]["classes"], observed["test"]["mean"]
    if found - chance > NEAR_CHANCE:
        return None
    rate = observed["training"]["learning_rate"]
    return (
        f"{comparison['baseline']} reaches {found:.1f} % on test, and chance is {chance:.1f} %: no order can be judged "
        "before the network learns. Try another learning rate: "
        f"{_run(f'train.optimiser.learning_rate={rate / 3:.2g}')} or {rate * 3:.2g}."
    )


def shared_split(comparison: Comparison) -> str | None:
    """Advise a split by groups if validation is far above test."""
    gap = comparison["observed"]["val_above_test"]
    if comparison["protocol"] != "honest" or gap is None or gap["mean"] < FAR_ABOVE:
        return None
    return (
        f"Validation accuracy of {comparison['baseline']} is {gap['mean']:.1f} points above test. Split train and val "
        "by what is new in test: fill the manifest's column `group` (speaker, video, recording), list no val rows, and "
        "run `dvc repro`. `bss prepare` then splits off whole groups."
    )


def larger_val(comparison: Comparison) -> str | None:
    """Advise a larger val split if its standard error exceeds the largest difference."""
    observed, entries = comparison["observed"], comparison["schedulers"]
    found = [entry[key]["test_acc"]["difference"] for entry in entries.values() for key, _ in ROLES if key in entry]
    largest = max(map(abs, found), default=0.0) / 100
    if comparison["protocol"] != "honest" or largest == 0:
        return None
    accuracy = entries[comparison["baseline"]]["val_acc"]["mean"]
    wanted, val = ceil(accuracy * (1 - accuracy) / largest**2), observed["counts"]["val"]
    if wanted <= val:
        return None
    share = wanted / (observed["counts"]["train"] + val)
    text = (
        f"The {val} validation samples cannot resolve differences of {100 * largest:.1f} points; about {wanted} would"
    )
    if share <= LARGEST_VAL:
        return f"{text}: {_run(f'prepare.val_share={share:.2f}')}, or move rows of the manifest from train to val."
    text += ", which the data cannot spare. More seeds average out the chance of selection"
    seeds = 2 * comparison["seeds"]
    if more_seeds_step(comparison) or seeds > MOST_LISTED:  # one number of seeds is enough
        return f"{text}."
    return f"{text}: `{more_seeds(comparison, seeds)}`"


def wrong_pairs(comparison: Comparison) -> str | None:
    """Advise to look for wrong pairs if trimming is better than keeping."""
    better = [one for one in comparison["observed"]["trimmed"] if one["verdict"] == "better"]
    if not better:
        return None
    best = max(better, key=lambda one: float(one["difference"]))
    return (
        f"{best['scheduler']}, which leaves out the least balanced samples, is better than {best['kept']}, which keeps "
        f"them ({interval(best)}): some of these pairs may be wrong. Check the list of the least balanced samples; "
        "`bss audit` says what is wrong with a pair and which modality to blame (docs/audit.md)."
    )


def at_the_ceiling(comparison: Comparison) -> str | None:
    """Advise harder data if there is less to gain than the margin."""
    found, margin = comparison["observed"]["test"]["mean"], comparison["margin"]
    if 100 - found >= margin:
        return None
    return (
        f"{comparison['baseline']} reaches {found:.2f} % on test: less than the margin of {points(margin)} is left to "
        "gain. Compare on harder data, or with fewer training samples."
    )


def more_epochs(comparison: Comparison) -> str | None:
    """Advise more epochs if accuracy still rises at the end."""
    rise, training = comparison["observed"]["rise"], comparison["observed"]["training"]
    if rise is None or rise["low"] is None or rise["low"] <= 0 or rise["mean"] < comparison["margin"]:
        return None
    settings = [f"train.epochs={_longer(training['epochs'])}"]
    if training["decay_at"]:
        settings.append(f"train.decay.at=[{','.join(str(_longer(at)) for at in training['decay_at'])}]")
    return (
        f"{comparison['baseline']} still improves at the end: the last {rise['epochs']} epochs are {rise['mean']:.1f} "
        f"points above the {rise['epochs']} before on {rise['split']}. Train longer: {_run(*settings)}"
    )


def overfitting(comparison: Comparison) -> str | None:
    """Advise regularisation if the last epoch is worse on test than the selected one."""
    observed = comparison["observed"]
    lost, training = observed["lost_at_end"], observed["training"]
    honest = comparison["protocol"] == "honest"  # otherwise the selected epoch is the best on test by construction
    if not honest or lost["low"] is None or lost["low"] <= 0 or lost["mean"] < comparison["margin"]:
        return None
    decay = 10 * training["weight_decay"] or 0.0005
    return (
        f"{comparison['baseline']} overfits: it loses {lost['mean']:.1f} points on test from the selected epoch "
        f"({observed['selected_epoch']:.0f} on average) to the last ({training['epochs']}). Try fewer epochs, or "
        f"weight decay: {_run(f'train.optimiser.weight_decay={decay:g}')}"
    )


def imbalance(comparison: Comparison) -> str | None:
    """Advise strategies if a modality alone is as good as all together."""
    head = comparison["observed"]["best_head"]
    untried = [kind for kind in SUGGESTED if kind not in comparison["observed"]["strategies"]][:2]
    if head is None or not untried or head["fused_above"]["high"] is None:
        return None
    if head["fused_above"]["high"] >= comparison["margin"]:
        return None
    return (
        f"With {comparison['baseline']}, {head['modality']} alone reaches {head['accuracy']:.1f} % on test, and all "
        f"modalities together {comparison['observed']['test']['mean']:.1f} %: the others add less than "
        f"{points(comparison['margin'])}. They may carry little, or be learned too little. Try strategies that "
        f"rebalance: {_run_strategies(comparison, {kind: [f'kind={kind}'] for kind in untried})}"
    )


def missing_control(comparison: Comparison) -> str | None:
    """Advise to train the control of a strategy that is better than none."""
    matrix = comparison.get("matrix")
    better = (
        []
        if matrix is None
        else [
            cell["strategy"]
            for cell in matrix["cells"].values()
            if cell["effects"].get("strategy", {}).get("verdict") == "better"
            and cell["strategy"] in matrix["missing_controls"]
        ]
    )
    if matrix is None or not better:
        return None
    control = matrix["missing_controls"][better[0]]
    kind, _, setting = control.partition(".")
    settings = [f"kind={kind}", *([setting] if setting else [])]
    return (
        f"{better[0]} is better than {matrix['plain']}, but its simplest explanation, {control}, was not "
        f"trained. Train it: {_run_strategies(comparison, {'control': settings})}"
    )


def missing_budget(comparison: Comparison) -> str | None:
    """Advise plain training at equal compute for a strategy that is better than none and costs more."""
    matrix = comparison.get("matrix")
    if matrix is None:
        return None
    clear = {
        cell["strategy"]
        for cell in matrix["cells"].values()
        if cell["effects"].get("strategy", {}).get("verdict") == "better"
    }
    found = {name: times for name, times in matrix["missing_budgets"].items() if name in clear}
    if not found:
        return None
    name = max(found, key=lambda name: found[name])
    times = ceil(100 * found[name]) / 100
    return (
        f"{name} is better than {matrix['plain']}, but takes {found[name]:.2f} times its floating-point operations, "
        "and plain training with as many was not trained. Train it: "
        f"{_run_strategies(comparison, {'longer': ['kind=longer', f'times={times:g}']})}"
    )


def scores_without_order(comparison: Comparison) -> str | None:
    """Advise something other than an order if none matters and the scores hardly tell samples apart."""
    observed, entries = comparison["observed"], comparison["schedulers"]
    found = [entry["vs_baseline"]["test_acc"]["verdict"] for entry in entries.values() if "vs_baseline" in entry]
    if not found or set(found) & {"better", "worse"} or observed["scores"]["spread"] >= HARDLY_SPREAD:
        return None
    untried = [kind for kind in SUGGESTED if kind not in observed["strategies"]]
    more = {kind: [f"kind={kind}"] for kind in untried[:1]}
    strategy = f", or try a strategy: {_run_strategies(comparison, more)}" if more else "."
    return (
        "No scheduler is better or worse, and the balance scores hardly tell samples apart: the middle half spans "
        f"{100 * observed['scores']['spread']:.1f} % of their range, so an order by them can change little. Look at "
        f"the least balanced samples (docs/audit.md){strategy}"
    )


def unsteady_scores(comparison: Comparison) -> str | None:
    """Advise a longer warm-up if the scores of different seeds hardly agree."""
    agreement = comparison["observed"]["scores"]["agreement"]
    if agreement is None or agreement >= HARDLY_AGREE:
        return None
    epochs = max(2, 2 * comparison["observed"]["training"]["warmup_epochs"])
    return (
        f"The balance scores of different seeds hardly agree (rank correlation {agreement:.2f}): an order by them is "
        f"mostly chance. Measure after a longer warm-up: {_run(f'measure.warmup_epochs={epochs}')}"
    )


def more_seeds_step(comparison: Comparison) -> list[str]:
    """Return the command that adds the seeds to resolve inconclusive results, if they are few enough."""
    if comparison["seeds"] < FEWEST_SEEDS:
        return []  # the caution has the command
    wanted: dict[str, int] = {}
    for name, entry in comparison["schedulers"].items():
        for key, _ in ROLES:
            seeds = wanted_seeds(entry[key]["test_acc"], comparison) if key in entry else None
            if name != comparison["control"] and seeds is not None and seeds <= MOST_LISTED:
                wanted[name] = max(seeds, wanted.get(name, 0))
    if not wanted:
        return []
    most = max(wanted.values())
    names = ", ".join(wanted) if len(wanted) <= MOST_LISTED_NAMES else f"{len(wanted)} schedulers"
    return [f"{most - comparison['seeds']} more seeds would probably decide {names}: `{more_seeds(comparison, most)}`"]


RULES: tuple[Callable[[Comparison], str | None], ...] = (
    nothing_learned,
    shared_split,
    larger_val,
    wrong_pairs,
    at_the_ceiling,
    more_epochs,
    overfitting,
    imbalance,
    missing_control,
    missing_budget,
    scores_without_order,
    unsteady_scores,
)
"""Ordered by urgency: doubts about the numbers come before what could improve them."""


def _run(*settings: str) -> str:
    """Return the command that runs the pipeline with `settings`; ++ also sets a key that params.yaml does not list."""
    return "`dvc exp run " + " ".join(f"-S '++{setting}'" for setting in settings) + "`"


def _run_strategies(comparison: Comparison, more: dict[str, list[str]]) -> str:
    """Return the command that also trains the strategies `more`, names to settings, with the baseline scheduler.

    A name that params.yaml already has gets a number: its settings would change that strategy.
    """
    more = {_new_name(name, comparison["observed"]["names"]): given for name, given in more.items()}
    settings = [f"strategies.{name}.{setting}" for name, given in more.items() for setting in given]
    listed = comparison["observed"]["combinations"]
    if listed is not None:
        scheduler = comparison["baseline"].partition("+")[0]
        settings.append(f"combinations=[{','.join([*listed, *(f'{scheduler}+{name}' for name in more)])}]")
    return _run(*settings)


def _new_name(name: str, taken: list[str]) -> str:
    numbered = (f"{name}-{number}" for number in count(2))
    return next(one for one in chain([name], numbered) if one not in taken)


def _longer(epochs: int) -> int:
    return ceil(1.5 * epochs)
