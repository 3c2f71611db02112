"""Start of a pipeline run: detect errors before any pod requests a GPU."""

import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from bss.config import Config, config_from_tree, config_to_tree, load_config
from bss.config.combinations import PLAIN, combinations_of
from bss.errors import BssError
from bss.kubeflow.parameters import config_to_json, stage_part
from bss.remote.fetch import DataVersion
from bss.remote.s3_files import SCHEME
from bss.training.reproducible import device_type

RESOLVED = ("parameters", "overrides", "schedulers", "seeds", "strategies")
"""Parameters of the pipeline that `resolve_config` takes, in its order."""


class Resolved(NamedTuple):
    """Inputs of the steps of one run: JSON texts, and their configuration."""

    parameters: str
    """The whole configuration."""
    prepare: str
    audit: str
    schedule: str
    """Only what decides these steps."""
    config: Config
    """The configuration behind them."""


def resolve_config(
    parameters: str,
    overrides: Sequence[str],
    schedulers: Sequence[str],
    seeds: Sequence[float],
    strategies: Sequence[str] = (),
) -> Config:
    """Return the configuration of a run from the text of a params.yaml and overrides.

    `schedulers` and `strategies` (``none`` for plain training) select from the combinations of params.yaml, `seeds`
    replaces its seeds; empty keeps all of them. Raises `BssError` for every key that is wrong.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "params.yaml"
        path.write_text(parameters, encoding="utf-8")
        config = load_config(path, overrides)
    tree = config_to_tree(config)
    known = tree["schedule"]["schedulers"]
    _require_known("schedulers", schedulers, known)
    _require_known("strategies", strategies, dict.fromkeys([PLAIN, *tree["strategies"]]))
    if schedulers:
        tree["schedule"]["schedulers"] = {name: known[name] for name in schedulers}
    if strategies or (schedulers and tree["combinations"] is not None):
        tree["combinations"] = [
            row.name
            for row in combinations_of(config)
            if (not schedulers or row.scheduler in schedulers) and (not strategies or row.strategy in strategies)
        ]
        if not tree["combinations"]:
            raise BssError(
                "combinations: no entry in params.yaml matches both the requested schedulers and strategies. "
                "Add one, or set combinations=null, which trains every scheduler with every strategy."
            )
    if seeds:
        # Kubeflow lists support only floating-point numbers.
        tree["seeds"] = [int(seed) if seed == int(seed) else seed for seed in seeds]
    return config_from_tree(tree, "params.yaml")


def _require_known(what: str, asked: Sequence[str], known: Collection[str]) -> None:
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise BssError(f"{what}: {', '.join(unknown)}: not in params.yaml, which has {', '.join(known)}.")


def config_for_pods(config: Config, gpus: int, nodes: int, audits: bool = False) -> Config:
    """Return `config` for training pods with `gpus` GPUs; 0 leaves it unchanged.

    With GPUs the device is `cuda`, so that a pod that got none fails instead of training on its CPU for days.
    `nodes` is the train.nodes that the pipeline was compiled for, `audits` its audit.enabled. Raises `BssError` if the
    parameters want another number of GPUs than a pod has, several nodes of a pipeline for one, an audit of a pipeline
    without one, or the reverse.
    """
    if config.audit.enabled != audits:
        step = "the step audit" if audits else "no step audit"
        raise BssError(
            f"audit.enabled: {str(config.audit.enabled).lower()}, but this pipeline has {step}. Compile it "
            "with these parameters, or use `bss submit`."
        )
    if (config.train.nodes > 1) != (nodes > 1):
        raise BssError(
            f"train.nodes: {config.train.nodes}, but this pipeline was compiled for {nodes}: a training step requests "
            "different resources than one that starts nodes. Compile it with these parameters, or use `bss submit`."
        )
    if gpus == 0:
        if nodes > 1:
            device_type(config)  # rejects auto: this pod cannot see their GPUs
        return config
    if config.resources.device == "cpu":
        raise BssError(f"resources.device: cpu, but each training pod requests {gpus} GPU: set train.gpus to 0.")
    if config.train.processes != gpus:
        raise BssError(
            f"train.processes: {config.train.processes}, but each training pod requests {gpus} GPU: set train.gpus in "
            f"cluster.yaml to {config.train.processes}, or train.processes to {gpus}."
        )
    tree = config_to_tree(config)
    tree["resources"]["device"] = "cuda"
    return config_from_tree(tree, "params.yaml")


def resolve(config: Config, version: DataVersion) -> Resolved:
    """Return the parameters of each step."""
    tree = config_to_tree(config)
    on_s3 = version.path.startswith(SCHEME)
    if not on_s3:  # in every pod the data is in a folder of this name; its full path must not decide anything
        tree["prepare"]["root"] = Path(version.path).name
    if version.repository or on_s3:
        tree["generate"] = {"digits": None}
    config = config_from_tree(tree, "params.yaml")
    steps = {stage: stage_part(config, stage) for stage in ("prepare", "audit", "schedule")}
    return Resolved(config_to_json(config), **steps, config=config)
