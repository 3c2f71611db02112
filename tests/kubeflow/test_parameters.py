import json
from pathlib import Path

import pytest
from conftest import small_tree

from bss.config import config_from_tree, config_to_tree
from bss.config.load import load_config
from bss.deciding import DECIDING, pick
from bss.kubeflow.parameters import config_from_json, config_from_part, config_to_json, stage_part, trial_part
from bss.training.trial_spec import TrialId, all_trials, trial_parameters

BUILT_IN = Path(__file__).parents[2] / "params.yaml"


def assert_same(one, other, stage):
    """What decides `stage` is the same in both configurations."""
    keys = DECIDING[stage].parameters
    assert pick(config_to_tree(one), keys) == pick(config_to_tree(other), keys)


@pytest.mark.parametrize("stage", ["prepare", "audit", "measure", "schedule"])
def test_a_part_gives_the_values_that_its_stage_reads(stage, tree, make_config):
    config = make_config(tree)
    assert_same(config_from_part(stage_part(config, stage)), config, stage)


@pytest.mark.parametrize("name", ["kinetics-sounds", "nvgesture", "twitter2015"])
def test_a_part_of_a_datasets_preset_passes_the_checks_of_its_step(name):
    config = config_from_tree({"dataset": name, "protocol": "published", "prepare": {"root": "x"}}, "params.yaml")
    for stage in ("audit", "measure", "schedule"):
        rebuilt = config_from_part(stage_part(config, stage))
        assert_same(rebuilt, config, stage)


@pytest.mark.parametrize("stage", ["prepare", "audit", "measure", "schedule"])
def test_a_part_of_the_built_in_parameters_passes_the_checks_of_its_step(stage):
    config = load_config(BUILT_IN)
    assert_same(config_from_part(stage_part(config, stage)), config, stage)


def test_the_plan_of_trainings_has_all_that_training_reads(tree, make_config):
    config = make_config(tree)
    planned = config_from_part(stage_part(config, "schedule"))
    assert_same(planned, config, "train")
    for name in config.schedule.schedulers:
        assert trial_part(planned, name, 1) == trial_part(config, name, 1)


def test_what_decides_a_training_is_what_its_stage_reads(tree, make_config):
    decides = trial_parameters(make_config(tree), TrialId("uniform", 0))["train"]
    assert {f"train.{key}" for key in decides} == {
        key for key in DECIDING["train"].parameters if key.startswith("train.")
    }


def test_a_training_with_a_strategy_is_decided_by_it_and_a_plain_one_is_not(tree, make_config):
    crossed = [make_config(tree | {"strategies": {"ogm": {"kind": "ogm", "alpha": alpha}}}) for alpha in (0.1, 0.2)]
    plain = trial_part(make_config(tree), "bss-h", 1)
    assert "strategies" not in json.loads(plain)
    assert [trial_part(config, "bss-h", 1) for config in crossed] == [plain, plain]
    one, other = (trial_part(config, "bss-h", 1, "ogm") for config in crossed)
    assert one != other
    trial = TrialId("bss-h", 1, "ogm")
    assert all_trials(config_from_part(one)) == [trial]
    assert trial_parameters(config_from_part(one), trial) == trial_parameters(crossed[0], trial)


@pytest.mark.parametrize("listed", [["bss-h+ogm", "uniform", "control"], ["all", "uniform+ogm"], ["all+ogm", "all"]])
def test_the_step_schedule_lists_the_combinations_of_the_run(listed, tree, make_config):
    config = make_config(tree | {"strategies": {"ogm": {"kind": "ogm"}}, "combinations": listed})
    assert all_trials(config_from_part(stage_part(config, "schedule"))) == all_trials(config)


def test_a_step_knows_how_many_ranks_it_trains_with(tree, make_config):
    tree["resources"]["staging"] = "s3://bucket/staging"
    tree["train"] |= {"processes": 2, "nodes": 3}
    planned = config_from_part(stage_part(make_config(tree), "schedule"))
    trial = config_from_part(trial_part(planned, "uniform", 0))
    assert (trial.train.processes, trial.train.nodes) == (2, 3)


def changed(tree, key, value):
    tree = json.loads(json.dumps(tree))
    *parents, last = key.split(".")
    target = tree
    for name in parents:
        target = target.setdefault(name, {})
    target[last] = value
    return tree


@pytest.mark.parametrize(
    ("key", "value", "decided"),
    [
        ("compare.resamples", 2000, set()),
        ("tracking.experiment", "other", {"schedule"}),
        ("train.decay.at", [1], {"schedule", "trial"}),
        ("train.epochs", 2, {"schedule", "trial"}),
        ("train.processes", 2, {"schedule", "trial"}),
        ("train.batch_size", 8, {"measure", "schedule", "trial"}),
        ("train.precision", "bf16", {"measure", "schedule", "trial"}),
        ("measure.warmup_epochs", 2, {"measure"}),
        ("measure.precision", "bf16", {"measure", "schedule", "trial"}),
        ("schedule.schedulers.bss-l.beta", 0.5, {"schedule"}),
        ("schedule.schedulers.uniform", {"kind": "uniform"}, set()),
        ("prepare.val_share", 0.3, {"prepare"}),
        ("seeds", [0, 1, 2], {"measure", "schedule"}),
        ("network.encoders.image.features", 4, {"measure", "schedule", "trial"}),
        ("resources.deterministic", "warn", {"measure", "schedule", "trial"}),
    ],
)
def test_only_what_a_stage_reads_decides_it(key, value, decided, tree, make_config):
    def parts(config):
        stages = {stage: stage_part(config, stage) for stage in ("prepare", "measure", "schedule")}
        return stages | {"trial": trial_part(config, "uniform", 0)}

    before, after = parts(make_config(tree)), parts(make_config(changed(tree, key, value)))
    assert {name for name in before if before[name] != after[name]} == decided


def test_only_the_first_seed_logs_its_model(tree, make_config):
    config = make_config(tree | {"tracking": {"models": "first-seed"}})
    models = [json.loads(trial_part(config, "uniform", seed))["tracking"]["models"] for seed in (0, 1)]
    assert models == ["all", "none"]


def test_the_place_of_the_nodes_files_reaches_trainings_on_several_nodes_and_no_others(tree, make_config):
    tree["resources"]["staging"] = "s3://bucket/staging"
    for nodes, staging in ((1, None), (2, "s3://bucket/staging")):
        config = make_config(changed(tree, "train.nodes", nodes))
        planned = config_from_part(stage_part(config, "schedule"))
        assert config_from_part(trial_part(planned, "uniform", 0)).resources.staging == staging
        assert trial_part(planned, "uniform", 0) == trial_part(config, "uniform", 0)


def test_the_whole_configuration_survives_as_json(small_root, make_config):
    config = make_config(small_tree(small_root))
    assert config_from_json(config_to_json(config)) == config


@pytest.mark.parametrize(
    ("modality", "encoder"),
    [
        ({"kind": "text", "tokenizer": "a"}, {"kind": "bert"}),
        ({"kind": "text", "tokenizer": "a"}, {"kind": "clip-text"}),
        ({"kind": "clip"}, {"kind": "i3d"}),
        ({"kind": "frames"}, {"kind": "resnet"}),
        ({"kind": "image"}, {"kind": "vit"}),
        ({"kind": "image"}, {"kind": "clip-image"}),
        ({"kind": "flow"}, {"kind": "i3d"}),
        ({"kind": "image"}, {"kind": "cnn", "crop": {"height": 200, "width": 220, "train": "random"}}),
        ({"kind": "clip", "frames": 20}, {"kind": "i3d", "crop": {"height": 100, "width": 80, "frames": 20}}),
        ({"kind": "frames"}, {"kind": "i3d", "crop": {"height": 224, "width": 224, "evaluation": "centre"}}),
    ],
)
def test_every_kind_of_modality_and_encoder_makes_a_part(modality, encoder, tree, make_config):
    tree["prepare"]["modalities"]["image"], tree["network"]["encoders"]["image"] = modality, encoder
    config = make_config(tree)
    for stage in ("prepare", "measure", "schedule"):
        rebuilt = config_from_part(stage_part(config, stage))
        assert_same(rebuilt, config, stage)
