"""Measuring fanned out over seeds and joined again gives what measuring all of them gives."""

import json

import pytest

from bss.data.fetch import DataVersion
from bss.errors import BssError
from bss.files import digest_folder
from bss.kubeflow.measurings import join_scores, list_measurings, measuring_config
from bss.stages.measure import measure

VERSION = DataVersion(repository="", commit="", path="data/pets", digest="d" * 32)


@pytest.fixture
def listed(pipeline, tmp_path):
    """The configuration, the file of the measurings, and their list."""
    path = tmp_path / "measurings.json"
    return pipeline[1], path, list_measurings(pipeline[1], VERSION, path)


def test_joined_seeds_are_what_the_stage_measures_at_once(listed, pipeline, small_store, tmp_path):
    config, path, measurings = listed
    for one in measurings:
        measure(measuring_config(path, **one), small_store, tmp_path / str(one["seed"]))
    parts = [tmp_path / str(seed) for seed in reversed(config.seeds)]
    join_scores(config, parts, tmp_path / "scores")
    assert digest_folder(tmp_path / "scores") == digest_folder(pipeline[0] / "scores")
    with pytest.raises(BssError, match="no scores of seed 1, but of 0"):
        join_scores(config, parts[1:], tmp_path / "fewer")
    assert not (tmp_path / "fewer").exists()


def test_one_more_seed_measures_that_seed_alone(listed, tree, make_config, tmp_path):
    more = make_config(tree | {"seeds": [0, 1, 2]})
    longer = list_measurings(more, VERSION, tmp_path / "more.json")
    assert longer[:2] == listed[2]
    assert longer[2]["seed"] == 2


@pytest.mark.parametrize("key", ["network", "prepare", "train"])
def test_what_measuring_reads_decides_it_and_nothing_else(key, listed, tree, make_config, tmp_path):
    changes = {
        "network": {**tree["network"], "loss_weights": {"fused": 2.0}},
        "prepare": {**tree["prepare"], "val_share": 0.4},
        "train": {**tree["train"], "epochs": 9},
    }
    changed = list_measurings(make_config(tree | {key: changes[key]}), VERSION, tmp_path / "changed.json")
    assert (changed == listed[2]) == (key == "train")


def test_measurings_of_another_run_are_refused(listed):
    _, path, measurings = listed
    with pytest.raises(BssError, match="this file is of another run"):
        measuring_config(path, 0, "0" * 64)
    with pytest.raises(BssError, match=r"has no seed=7, but seed=0, seed=1"):
        measuring_config(path, 7, measurings[0]["digest"])


def test_the_list_is_short_whatever_the_parameters(listed):
    assert len(json.dumps(listed[2] * 100)) < 65536
