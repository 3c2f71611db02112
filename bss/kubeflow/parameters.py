"""The part of the parameters that decides a stage.

Kubeflow reuses a step if its input values are the same. So each step gets only the parameters that its stage
reads: a change of `compare` must not cause training. Omitted parameters are filled in with
values that the stage does not use.
"""

import json

from bss.config import Config, config_from_tree, config_to_tree
from bss.config.combinations import PLAIN, Combination, combinations_of
from bss.config.training import RESOURCES
from bss.deciding import DECIDING, Tree, pick

RANKS = tuple(f"train.{key}" for key in RESOURCES)
"""Hardware of trials: steps need it, and are not reused if it differs."""


def config_to_json(config: Config) -> str:
    """Return the whole configuration as JSON, the inverse of `config_from_json`."""
    return json.dumps(config_to_tree(config), sort_keys=True)


def config_from_json(text: str) -> Config:
    """Return the configuration that `config_to_json` wrote."""
    return config_from_tree(json.loads(text), "parameters of this run")


def stage_part(config: Config, stage: str) -> str:
    """Return as JSON what decides `stage`: the parameters it reads and, if it runs networks, the device.

    The plan of `schedule` lists the trials, so its part includes that of `train`, with the names for which
    ``all`` in `combinations` stands.
    """
    keys = DECIDING[stage].parameters
    if stage == "schedule":
        keys = (*keys, *DECIDING["train"].parameters, *RANKS)
    part = pick(config_to_tree(config), keys)
    if stage in ("audit", "measure", "schedule"):
        part["resources"] = _device(config)
    if stage == "schedule":
        part["resources"] |= _staging(config)
        if config.combinations is not None:
            part["combinations"] = [combination.name for combination in combinations_of(config)]
    return json.dumps(part, sort_keys=True)


def measuring_part(config: Config, seed: int) -> str:
    """Return as JSON what decides measuring with one seed."""
    part = json.loads(stage_part(config, "measure"))
    return json.dumps(part | {"seeds": [seed]}, sort_keys=True)


def trial_part(config: Config, scheduler: str, seed: int, strategy: str = PLAIN) -> str:
    """Return as JSON what decides one trial, without other schedulers, strategies and seeds.

    It says whether this trial's model is logged.
    """
    part = pick(config_to_tree(config), (*DECIDING["train"].parameters, *RANKS, f"schedule.schedulers.{scheduler}"))
    known = part.pop("strategies")
    del part["combinations"]
    if strategy != PLAIN:
        part["strategies"], part["combinations"] = {strategy: known[strategy]}, [Combination(scheduler, strategy).name]
    models = config.tracking.models
    if models == "first-seed":
        models = "all" if seed == config.seeds[0] else "none"
    part["seeds"] = [seed]
    part["tracking"] = {
        "enabled": config.tracking.enabled,
        "models": models,
        "sequences_mib": config.tracking.sequences_mib,
        "strict": config.tracking.strict,
        "system_metrics": config.tracking.system_metrics,
    }
    part["resources"] = {**_device(config), "jobs": 1, **_staging(config)}
    if config.resources.checkpoints.store is not None:  # a pod loses its disk, so checkpoints matter only then
        part["resources"]["checkpoints"] = config_to_tree(config.resources.checkpoints)
    return json.dumps(part, sort_keys=True)


def _device(config: Config) -> Tree:
    """Return the device, and how nondeterministic operations are handled there unless they are errors."""
    resources = config.resources
    allowed = {} if resources.deterministic == "error" else {"deterministic": resources.deterministic}
    return {"device": resources.device, **allowed}


def _staging(config: Config) -> Tree:
    """Return the S3 URL from which several nodes get their files; irrelevant for one node."""
    return {"staging": config.resources.staging} if config.train.nodes > 1 else {}


def config_from_part(text: str) -> Config:
    """Return the configuration for one stage from the JSON of `stage_part` or `trial_part`.

    Raises `BssError` if a value does not match the schema.
    """
    part = json.loads(text)
    modalities = part.get("prepare", {}).get("modalities")
    encoders = part.get("network", {}).get("encoders")
    if modalities is None:
        modalities = {name: _any_modality(e) for name, e in encoders.items()} if encoders else _ANY_TWO
    if encoders is None:
        encoders = {name: _any_encoder(m) for name, m in modalities.items()}
    schedulers = part.get("schedule", {}).get("schedulers", {"uniform": {"kind": "uniform"}})
    tree = {
        **part,
        "prepare": {"root": ".", **part.get("prepare", {}), "modalities": modalities},
        "network": {**part.get("network", {}), "encoders": encoders},
        "schedule": {"schedulers": schedulers},
        "train": {"optimiser": {"kind": "sgd"}, **part.get("train", {})},
        "compare": {"baseline": next(iter(part.get("combinations") or schedulers))},
    }
    return config_from_tree(tree, "parameters of this step")


_ANY_TWO: Tree = {"first": {"kind": "features"}, "second": {"kind": "features"}}
_TEXT: Tree = {"kind": "text", "tokenizer": "any"}
_MODALITIES: dict[str, Tree] = {
    "bert": _TEXT,
    "clip-text": _TEXT,
    "i3d": {"kind": "frames"},
    "vit": {"kind": "image"},
    "clip-image": {"kind": "image"},
}
"""Maps an encoder kind to a modality it accepts; all others accept features."""


def _any_modality(encoder: Tree) -> Tree:
    if encoder.get("spectrogram"):
        return {"kind": "audio"}
    crop = encoder.get("crop")
    if crop is None:
        return _MODALITIES.get(encoder["kind"], {"kind": "features"})
    size = {"height": crop["height"], "width": crop["width"]}
    if crop.get("per_frame"):
        return {"kind": "frames", **size}
    if crop.get("frames") is not None:
        return {"kind": "clip", "frames": crop["frames"], **size}
    return _MODALITIES.get(encoder["kind"], {"kind": "image"}) | size


def _any_encoder(modality: Tree) -> Tree:
    if modality["kind"] == "text":
        return {"kind": "bert"}
    return {"kind": "mlp", "spectrogram": {} if modality["kind"] == "audio" else None}
