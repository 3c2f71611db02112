"""From a manifest to a comparison without a line written by hand."""

import json

from clones import clone_project, commit, run
from conftest import make_rows, write_manifest

from bss.config import load_config


def test_init_and_repro_are_all_that_own_data_needs(tmp_path):
    clone_project(tmp_path)
    root = tmp_path / "data" / "pets"
    root.mkdir(parents=True)
    write_manifest(root, [row for row in make_rows(root) if row["split"] != "val"])
    commit(tmp_path, "project")
    output = run(tmp_path, "bss", "init", "--manifest", "data/pets/manifest.csv")
    assert "val carved out of train" in output
    output = run(tmp_path, "dvc", "repro")
    assert "Store of pets: 3 classes, val from train, by group and class" in output
    config = load_config(tmp_path / "params.yaml")
    report = tmp_path / "outputs" / "report"
    compared = json.loads((report / "comparison.json").read_text())
    assert set(compared["schedulers"]) == set(config.schedule.schedulers)
    # Tones, stripes and vectors that tell the class: chance is a third.
    assert compared["schedulers"]["uniform"]["test_acc"]["mean"] > 0.8
    assert "data/pets" in (tmp_path / "dvc.lock").read_text()
    assert "Data and pipelines are up to date." in run(tmp_path, "dvc", "repro")
