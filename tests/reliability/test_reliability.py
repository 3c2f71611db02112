"""The campaign of `make reliability`, in a form that takes seconds."""

import json

import pytest
from conftest import small_tree
from kills import kill_campaign
from record import soak_tree
from soak import Usage, check, fit, soak

from bss.config import config_from_tree, config_to_tree


@pytest.mark.process
def test_killed_at_any_moment_it_ends_with_the_same_bytes(small_root, small_store, tmp_path):
    done = kill_campaign(small_tree(small_root), small_store, tmp_path, kills=6)
    assert sum(done.values()) >= 6
    assert len(done) >= 2


@pytest.mark.process
def test_many_trainings_in_one_tree_do_not_grow(database, small_root, small_store, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    params = tmp_path / "params.json"
    params.write_text(json.dumps(config_to_tree(config_from_tree(soak_tree(small_tree(small_root), 6), "params.yaml"))))
    growth = soak(params, small_store, tmp_path)
    assert growth.trials == 30
    assert growth.handles <= 0.5
    assert growth.threads <= 0.2


def test_what_grows_is_found():
    steady = [Usage(1000 + i % 3, 20 + i % 2, 5) for i in range(100)]
    check(fit(steady))
    for growing in (
        [u._replace(kib=u.kib + 200 * i) for i, u in enumerate(steady)],
        [u._replace(handles=u.handles + i) for i, u in enumerate(steady)],
        [u._replace(threads=u.threads + i // 10) for i, u in enumerate(steady)],
    ):
        with pytest.raises(AssertionError):
            check(fit(growing))
