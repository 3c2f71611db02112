"""Measuring fanned out over seeds and joined again gives what measuring all of them gives."""

import pytest

from bss.errors import BssError
from bss.files import digest_folder
from bss.kubeflow.measurements import join_scores, list_measurements
from bss.kubeflow.parameters import config_from_part
from bss.remote.fetch import DataVersion
from bss.stages.measure import measure

VERSION = DataVersion(repository="", commit="", path="data/pets", digest="d" * 32)


def test_joined_seeds_are_what_the_stage_measures_at_once(pipeline, small_store, tmp_path):
    folder, config = pipeline
    parts = [tmp_path / str(seed) for seed in config.seeds]
    for part, one in zip(parts, list_measurements(config, VERSION), strict=True):
        measure(config_from_part(one["parameters"]), small_store, part)
    join_scores(config, parts[::-1], tmp_path / "scores")
    assert digest_folder(tmp_path / "scores") == digest_folder(folder / "scores")
    with pytest.raises(BssError, match="no scores of seed 1, only of 0"):
        join_scores(config, parts[:1], tmp_path / "fewer")
    assert not (tmp_path / "fewer").exists()


def test_one_more_seed_measures_that_seed_alone(tree, make_config):
    few, more = (make_config(tree | {"seeds": seeds}) for seeds in ([0, 1], [0, 1, 2]))
    assert list_measurements(more, VERSION)[:2] == list_measurements(few, VERSION)


@pytest.mark.parametrize("key", ["network", "prepare", "train"])
def test_what_measuring_reads_decides_it_and_nothing_else(key, tree, make_config):
    changes = {
        "network": {**tree["network"], "loss_weights": {"fused": 2.0}},
        "prepare": {**tree["prepare"], "val_share": 0.4},
        "train": {**tree["train"], "epochs": 9},
    }
    before, after = (list_measurements(make_config(t), VERSION) for t in (tree, tree | {key: changes[key]}))
    assert (before == after) == (key == "train")


def test_more_seeds_than_a_value_of_kubeflow_can_hold_are_refused(tree, make_config):
    with pytest.raises(BssError, match=r"seeds: with the parameters of 500 seeds .*Kubeflow allows 60000"):
        list_measurements(make_config(tree | {"seeds": list(range(500))}), VERSION)
