"""The beginning of a pipeline run: all that can be wrong is found here, before any pod asks for a GPU."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bss.config import Config, config_from_tree, config_to_tree, load_config
from bss.errors import BssError
from bss.kubeflow.parameters import config_to_json, stage_part
from bss.remote.fetch import DataVersion
from bss.training.reproducible import device_type


class Resolved(NamedTuple):
    """What the steps of one run get: JSON texts, and where they come from."""

    parameters: str
    """The whole configuration."""
    prepare: str
    schedule: str
    """What decides these steps, and no more."""
    config: Config
    """The configuration behind them."""


def resolve_config(
    parameters: str, overrides: Sequence[str], schedulers: Sequence[str], seeds: Sequence[float]
) -> Config:
    """Return the configuration of a run from the text of a params.yaml and what is set besides.

    `schedulers` picks some of those in params.yaml, `seeds` replaces its seeds; empty takes all of them.
    Raises `BssError` for every key that is wrong.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "params.yaml"
        path.write_text(parameters, encoding="utf-8")
        config = load_config(path, overrides)
    tree = config_to_tree(config)
    known = tree["schedule"]["schedulers"]
    unknown = [name for name in schedulers if name not in known]
    if unknown:
        raise BssError(f"schedulers: {', '.join(unknown)}: not in params.yaml, which has {', '.join(known)}.")
    if schedulers:
        tree["schedule"]["schedulers"] = {name: known[name] for name in schedulers}
    if seeds:
        # Kubeflow's lists know only floating-point numbers.
        tree["seeds"] = [int(seed) if seed == int(seed) else seed for seed in seeds]
    return config_from_tree(tree, "params.yaml")


def config_for_pods(config: Config, gpus: int, nodes: int) -> Config:
    """Return `config` for training pods with `gpus` GPUs; 0 leaves it as it is.

    With GPUs the device is `cuda`, so that a pod that got none fails instead of training on its CPU for days.
    `nodes` is the train.nodes that the pipeline was compiled for. Raises `BssError` if the parameters want
    another number of GPUs than a pod has, or several nodes of a pipeline for one, or the reverse.
    """
    if (config.train.nodes > 1) != (nodes > 1):
        raise BssError(
            f"train.nodes: {config.train.nodes}, but this pipeline was compiled for {nodes}: a step that trains asks "
            "for other resources than one that starts nodes. Compile it with these parameters, as `bss submit` does."
        )
    if gpus == 0:
        if nodes > 1:
            device_type(config)  # refuses auto: this pod does not see theirs
        return config
    if config.resources.device == "cpu":
        raise BssError(f"resources.device: cpu, but each training pod asks for {gpus} GPU: set train.gpus to 0.")
    if config.train.processes != gpus:
        raise BssError(
            f"train.processes: {config.train.processes}, but each training pod asks for {gpus} GPU: set train.gpus in "
            f"cluster.yaml to {config.train.processes}, or train.processes to {gpus}."
        )
    tree = config_to_tree(config)
    tree["resources"]["device"] = "cuda"
    return config_from_tree(tree, "params.yaml")


def resolve(config: Config, version: DataVersion) -> Resolved:
    """Return the parameters of each step."""
    tree = config_to_tree(config)
    # The data lies in a folder of this name in whichever pod; its place is nobody's business.
    tree["prepare"]["root"] = Path(version.path).name
    if version.repository:
        tree["generate"] = {"digits": None}
    config = config_from_tree(tree, "params.yaml")
    steps = {stage: stage_part(config, stage) for stage in ("prepare", "schedule")}
    return Resolved(config_to_json(config), **steps, config=config)
