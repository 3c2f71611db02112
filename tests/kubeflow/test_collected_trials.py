import json
import shutil

import pytest

from bss.errors import BssError
from bss.kubeflow.parameters import config_from_part, stage_part
from bss.kubeflow.trials import collect_trials, list_trials, take_trial, trial_config
from bss.stages.schedule import schedule
from bss.stages.train import train
from bss.training.trial_spec import TrialId, trial_parameters


@pytest.fixture
def planned(pipeline, small_store, tmp_path):
    """Plans of one's own, the configuration as the step schedule gets it, and the trials that it lists."""
    folder, config = pipeline
    plans = tmp_path / "plans"
    shutil.copytree(folder / "plans", plans)
    config = config_from_part(stage_part(config, "schedule"))
    return plans, config, list_trials(config, small_store, plans)


def test_there_is_a_training_per_seed_and_scheduler(planned):
    _, config, trials = planned
    found = [(trial["scheduler"], trial["seed"]) for trial in trials]
    assert found == [(name, seed) for seed in config.seeds for name in config.schedule.schedulers]
    assert len({trial["digest"] for trial in trials}) == len(trials)


def test_a_training_gets_the_parameters_that_decide_it(planned, pipeline):
    plans, _, trials = planned
    for trial in trials:
        config = trial_config(plans, **trial)
        assert config.seeds == (trial["seed"],)
        listed = TrialId(trial["scheduler"], trial["seed"])
        assert trial_parameters(config, listed) == trial_parameters(pipeline[1], listed)


def test_a_training_with_a_strategy_goes_its_way_through_the_steps(pipeline, tree, make_config, small_store, tmp_path):
    folder, _ = pipeline
    tree = tree | {"seeds": [0], "strategies": {"ogm": {"kind": "ogm"}}, "combinations": ["uniform", "uniform+ogm"]}
    tree["compare"] = {}
    listed = plan(config_from_part(stage_part(make_config(tree), "schedule")), small_store, folder, tmp_path / "plans")
    assert [sorted(one) for one in listed] == [
        ["digest", "scheduler", "seed"],
        ["digest", "scheduler", "seed", "strategy"],
    ]
    for one in listed:
        config = trial_config(tmp_path / "plans", **one)
        trial = TrialId(*(one[name] for name in TrialId._fields if name in one))
        runs = tmp_path / "step" / trial.row
        train(config, small_store, folder / "scores", tmp_path / "plans", runs, [trial])
        take_trial(runs, trial.scheduler, 0, tmp_path / "group" / trial.path, trial.strategy)
    collect_trials([tmp_path / "group"], tmp_path / "runs")
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"uniform", "uniform+ogm"}


def test_one_more_seed_leaves_the_other_trainings_as_they_are(pipeline, tree, make_config, small_store, tmp_path):
    folder, config = pipeline
    before = {(c["scheduler"], c["seed"]): c["digest"] for c in plan(config, small_store, folder, tmp_path / "before")}
    more = make_config(tree | {"seeds": [0]})
    after = plan(more, small_store, folder, tmp_path / "after")
    assert all(before[trial["scheduler"], trial["seed"]] == trial["digest"] for trial in after)


def plan(config, store, folder, plans):
    schedule(config, store, folder / "scores", plans)
    return list_trials(config, store, plans)


def test_plans_of_another_run_are_refused(planned):
    plans, _, trials = planned
    with pytest.raises(BssError, match="these plans belong to another run"):
        trial_config(plans, trials[0]["scheduler"], trials[0]["seed"], "0" * 64)
    with pytest.raises(BssError, match="has no trial of uniform with seed 9"):
        trial_config(plans, "uniform", 9, "0" * 64)


def test_trainings_are_laid_out_as_the_stage_does(pipeline, tmp_path):
    folder, config = pipeline
    # Groups of two trials each, and one of a single trial.
    sources = sorted((folder / "runs").glob("*/seed=*"))
    groups = []
    for number, source in enumerate(sources):
        runs = tmp_path / f"step-{number}"
        shutil.copytree(source, runs / source.parent.name / source.name)
        if number % 2 == 0:
            groups.append(tmp_path / f"model-{number}")
        seed = int(source.name.removeprefix("seed="))
        metrics = take_trial(runs, source.parent.name, seed, groups[-1] / source.parent.name / source.name)
        assert metrics == json.loads((source / "metrics.json").read_text())
    collect_trials(groups, tmp_path / "runs")
    laid_out = {path.relative_to(tmp_path / "runs") for path in (tmp_path / "runs").glob("*/seed=*")}
    assert laid_out == {path.relative_to(folder / "runs") for path in (folder / "runs").glob("*/seed=*")}
    with pytest.raises(BssError, match="a second trial of"):
        collect_trials(groups[:1], tmp_path / "runs")
    shutil.rmtree(groups[0])
    with pytest.raises(BssError, match="not found"):
        collect_trials(groups[:1], tmp_path / "others")
    assert len(config.seeds) * len(config.schedule.schedulers) == len(sources)
