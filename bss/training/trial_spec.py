"""What one trial is: scheduler, strategy and seed, its folder, its plan, and the key of all that decides its result."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from bss.artifacts.plans import Plan, read_plan, seed_path
from bss.config import Config, config_to_tree
from bss.config.combinations import PLAIN, Combination, combinations_of, strategy_of
from bss.data.store import Store
from bss.deciding import TRIAL, code_digest, pick
from bss.errors import BssError
from bss.files import digest_json
from bss.models.pretrained import digest_weights
from bss.provenance import code_version
from bss.training.reproducible import device_type


class TrialId(NamedTuple):
    """What distinguishes a trial from the others of a configuration."""

    scheduler: str
    seed: int
    strategy: str = PLAIN

    def __str__(self) -> str:
        """Return the name in messages, such as ``bss-l seed 0``."""
        return f"{self.row} seed {self.seed}"

    @property
    def row(self) -> str:
        """Which row of the report it belongs to: ``bss-l``, or ``bss-l+ogm`` with a strategy."""
        return Combination(self.scheduler, self.strategy).name

    @property
    def fields(self) -> dict[str, Any]:
        """The fields by name, without the strategy of plain training."""
        fields = self._asdict()
        return fields if self.strategy != PLAIN else {key: fields[key] for key in ("scheduler", "seed")}

    @property
    def path(self) -> str:
        """The folder within a folder of trials, such as ``bss-l/seed=0``; also the name in records of them."""
        return f"{self.row}/seed={self.seed}"

    @property
    def run_name(self) -> str:
        """The name of the MLflow run, such as ``bss-l seed=0``."""
        return self.path.replace("/", " ")


@dataclass(frozen=True)
class Trial:
    """One trial as all its processes know it: described once, where it is started, and passed on; picklable."""

    id: TrialId
    folder: Path
    """Where its results go."""
    plans: Path
    """The folder with the plans of all schedulers."""
    plan_digest: str
    key: str
    """Digest of all that decides the result: parameters, store, plan, code, kind of device, weights."""
    code: str
    """Digest of the package's files that the key was computed with."""
    parameters: dict[str, Any]
    """What `trial_parameters` returns: provenance.json and MLflow record it."""


def all_trials(config: Config) -> list[TrialId]:
    """Return every trial of a configuration, in the order in which they are trained."""
    rows = combinations_of(config)
    return [TrialId(scheduler, seed, strategy) for seed in config.seeds for scheduler, strategy in rows]


def trial_parameters(config: Config, trial: TrialId) -> dict[str, Any]:
    """Return every parameter that decides the result of one trial, as plain values.

    How many ranks train it does not: the steps are the same, and only the order of floating-point sums differs.
    """
    decides = pick(config_to_tree(config), TRIAL)
    measure = decides.pop("measure")
    scheduler = config_to_tree(config.schedule.schedulers[trial.scheduler])
    strategy = strategy_of(config, trial.strategy)
    return {
        "scheduler_name": trial.scheduler,
        "scheduler": scheduler,
        **({} if strategy is None else {"strategy_name": trial.strategy, "strategy": config_to_tree(strategy)}),
        "seed": trial.seed,
        **decides,
        "score": measure.pop("score"),
        **{f"measuring_{key}": value for key, value in measure.items()},
        "sequences_mib": config.tracking.sequences_mib,
    }


def read_trial_plan(config: Config, data: Store, plans: Path, trial: TrialId) -> Plan:
    """Return the plan of one trial from the folder `plans`; raises `BssError` as `read_plan` does."""
    scheduler = config_to_tree(config.schedule.schedulers[trial.scheduler])
    return read_plan(plans, trial.scheduler, trial.seed, data, scheduler)


def describe_trial(config: Config, data: Store, plans: Path, trial: TrialId, folder: Path, plan: Plan) -> Trial:
    """Return the trial that trains by `plan`, which lies in `plans`, on `data` into `folder`.

    The key comes from the code and the weights of this process.
    """
    parameters = trial_parameters(config, trial)
    decides = {
        "parameters": parameters,
        "store": data.digest,
        "plan": plan.digest,
        "code": code_digest("train", used=_modules(config, trial)),
        "device": device_type(config),
        "weights": digest_weights(config.network),
    }
    described = Trial(trial, folder, plans, plan.digest, digest_json(decides), code_version()["digest"], parameters)
    strategy = strategy_of(config, trial.strategy)
    if strategy is None or not strategy.needs_teachers:
        return described
    from bss.training.strategy.teachers import teachers_trial  # which describes a trial without teachers

    decides["teachers"] = teachers_trial(config, data, described)[1].key
    return replace(described, key=digest_json(decides))


def _modules(config: Config, trial: TrialId) -> tuple[str, ...]:
    """Return the modules of the trial's scheduler and strategy: others may change without making it again."""
    strategy = strategy_of(config, trial.strategy)
    entries = (config.schedule.schedulers[trial.scheduler], *(() if strategy is None else (strategy,)))
    return tuple(type(entry).__module__ for entry in entries)


def require_same_plan(trial: Trial, plan: Plan) -> None:
    """Raise `BssError` if `plan` is not the one that `trial` was described with."""
    if plan.digest != trial.plan_digest:
        path = seed_path(trial.plans, trial.id.scheduler, trial.id.seed)
        raise BssError(
            f"{path}: changed since this trial was started (its plan is {plan.digest[:12]}, expected "
            f"{trial.plan_digest[:12]}). Run `bss train` again."
        )
