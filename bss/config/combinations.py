"""Which schedulers are trained with which strategies: the rows of the comparison."""

from typing import TYPE_CHECKING, NamedTuple

from bss.balance.checks import require
from bss.config.strategies import parameter_text, setting_of
from bss.strategies import Strategy
from bss.strategies.none import Plain

if TYPE_CHECKING:
    from bss.config.schema import Config

PLAIN = "none"
"""The strategy of plain training, known to every configuration."""
ALL = "all"
"""Stands for every scheduler in what `combinations` lists."""
COMPARED = frozenset({"prediction_similarity", "logit_similarity"})
"""Criteria of the balance score that compare what the unimodal heads say."""


class Combination(NamedTuple):
    """A scheduler and a strategy, trained together."""

    scheduler: str
    strategy: str = PLAIN

    @property
    def name(self) -> str:
        """The name of its folder, in the report and in params.yaml: ``bss-h+ogm``, and ``bss-h`` for plain training."""
        return self.scheduler if self.strategy == PLAIN else f"{self.scheduler}+{self.strategy}"


def combinations_of(config: "Config") -> list[Combination]:
    """Return what is trained once per seed, in order: what is listed, or each scheduler with each strategy, none first.

    Names of schedulers and strategies have no ``+``, so that each text is one combination at most.
    """
    if config.combinations is not None:
        listed = [Combination(*text.split("+", 1)) for text in config.combinations]
        return [
            Combination(scheduler, strategy)
            for name, strategy in listed
            for scheduler in (config.schedule.schedulers if name == ALL else [name])
        ]
    strategies = dict.fromkeys([PLAIN, *config.strategies])
    return [Combination(scheduler, strategy) for strategy in strategies for scheduler in config.schedule.schedulers]


def strategy_of(config: "Config", name: str) -> Strategy | None:
    """Return the strategy called `name`; None for plain training."""
    return None if name == PLAIN else config.strategies[name]


def epochs_of(config: "Config", name: str) -> int:
    """Return how many epochs a trial with the strategy called `name` has."""
    strategy = strategy_of(config, name)
    return config.train.epochs if strategy is None else strategy.total_epochs(config.train.epochs)


def strategy_warnings(config: "Config") -> list[str]:
    """Return warnings about settings of the trained strategies that are probably mistakes."""
    setting = setting_of(config)
    found = {name: strategy.warning(setting) for name, strategy in _trained(config).items()}
    return [f"strategies.{name}: {text}" for name, text in found.items() if text is not None] + idle_strategies(config)


def idle_strategies(config: "Config") -> list[str]:
    """Return which strategies are trained that act in no epoch of train.epochs, and why.

    They are no error, because short trainings try out parameters that are meant for long ones.
    """
    setting, found = setting_of(config), []
    for name, strategy in _trained(config).items():
        onset = strategy.onset(setting)
        if onset.epoch >= setting.epochs:
            by = f" with {parameter_text(strategy, onset.parameter)}" if onset.parameter else ""
            fix = f"Change `{onset.parameter}` or raise" if onset.parameter else "Raise"
            found.append(
                f"strategies.{name}: `{strategy.kind}` acts in none of the epochs (train.epochs: {setting.epochs}){by}"
                f", so its results say nothing about it. {fix} train.epochs"
            )
    return found


def _trained(config: "Config") -> dict[str, Strategy]:
    """Return the strategies that are trained, by name."""
    names = dict.fromkeys(combination.strategy for combination in combinations_of(config))
    return {name: strategy_of(config, name) or Plain() for name in names}


def check_combinations(config: "Config") -> None:
    """Check that what is listed exists, once, and that scores measured during training come from trained heads."""
    plain = config.strategies.get(PLAIN)
    require(plain is None or plain.kind == PLAIN, f"strategies.{PLAIN}.kind", plain and plain.kind, PLAIN)
    if ALL in config.schedule.schedulers:
        raise ValueError(f"schedule.schedulers.{ALL}: in `combinations` this stands for every scheduler. Rename it.")
    known = {
        "scheduler": list(config.schedule.schedulers),
        "strategy": list(dict.fromkeys([PLAIN, *config.strategies])),
    }
    listed = combinations_of(config)
    wanted = "one or more different ones, each `scheduler`, `scheduler+strategy`, `all` or `all+strategy`"
    require(0 < len(set(listed)) == len(listed), "combinations", list(config.combinations or ()), wanted)
    for combination in listed:
        for kind, name in combination._asdict().items():
            right = f"made of a scheduler, or all, and a strategy; the {kind} is one of {known[kind]}"
            require(name in known[kind], "combinations", combination.name, right)
    setting, compared = setting_of(config), sorted(COMPARED & set(config.measure.score.criteria))
    # Without a weight of their own in the loss, heads count only where they are compared with each other.
    reads_heads = setting.unimodal > 0 or bool(compared)
    for combination in listed:
        entry = config.schedule.schedulers[combination.scheduler]
        if entry.needs_scores and entry.measures_every is None and compared and setting.unimodal == 0:
            raise ValueError(
                f"combinations: the scheduler `{combination.scheduler}` ranks by {compared[0]}, which compares "
                "unimodal heads, but network.loss_weights.unimodal is 0: they are not trained, and what they say would "
                "be noise. Raise it, or set measure.score.criteria to others, such as [training_loss]."
            )
        strategy = strategy_of(config, combination.strategy) or Plain()
        if reads_heads and entry.measures_every is not None and not strategy.trains_heads(setting):
            raise ValueError(
                f"combinations: the scheduler `{combination.scheduler}` measures scores during training, from unimodal "
                f"heads that the strategy `{combination.strategy}` does not train: they would be noise. List under "
                f"`combinations` what to train, without {combination.name}, or let the strategy or "
                "network.loss_weights train the heads."
            )
