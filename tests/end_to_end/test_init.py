"""From a manifest to a comparison without a line written by hand."""

import json
import shutil
import subprocess

import pytest
from clones import PROJECT, clone_project, commit, forking_environment, run
from conftest import make_rows, write_manifest

from bss.config import load_config
from bss.config.combinations import combinations_of
from bss.data.store import Store
from bss.files import digest_file

pytestmark = pytest.mark.process


def test_init_and_repro_are_all_that_own_data_needs(tmp_path):
    clone_project(tmp_path)
    root = tmp_path / "data" / "pets"
    root.mkdir(parents=True)
    write_manifest(root, [row for row in make_rows(root) if row["split"] != "val"])
    commit(tmp_path, "project")
    output = run(tmp_path, "bss", "init", "--manifest", "data/pets/manifest.csv")
    assert "val split off from train" in output
    assert "First comparison: 7 combinations x 6 seeds = 42 trials" in output
    params = tmp_path / "params.yaml"  # two seeds take a third of the time
    params.write_text(params.read_text().replace("seeds: [0, 1, 2, 3, 4, 5]", "seeds: [0, 1]"))
    output = run(tmp_path, "dvc", "repro")
    assert "Store of pets: 3 classes, val from train, by group and class" in output
    config = load_config(params)
    assert list(config.seeds) == [0, 1]
    report = tmp_path / "outputs" / "report"
    compared = json.loads((report / "comparison.json").read_text())
    assert set(compared["schedulers"]) == {row.name for row in combinations_of(config)}
    # Tones, stripes and vectors that show the class: chance is a third.
    assert compared["schedulers"]["uniform"]["test_acc"]["mean"] > 0.8
    assert "data/pets" in (tmp_path / "dvc.lock").read_text()
    assert "Data and pipelines are up to date." in run(tmp_path, "dvc", "repro")


def test_the_package_alone_runs_texts_and_images_in_an_empty_folder_without_a_network(tmp_path):
    site, project = tmp_path / "site", tmp_path / "project"
    shutil.copytree(PROJECT / "bss", site / "bss", ignore=shutil.ignore_patterns("__pycache__"))
    root = project / "data" / "pets"
    root.mkdir(parents=True)
    texts = {"cat": "这只小猫非常可爱", "dog": "a dog barks in the yard", "owl": "猫头鹰在夜里飞来飞去"}
    columns = ("id", "label", "split", "group", "image")
    rows = [
        {key: row[key] for key in columns} | {"words": f"{texts[row['label']]} {row['id']}"} for row in make_rows(root)
    ]
    write_manifest(root, rows)

    def call(*command):
        settings = forking_environment(site) | {"HF_HUB_OFFLINE": "1"}
        done = subprocess.run(command, cwd=project, env=settings, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    bss = "import sys; from bss.cli import main; sys.exit(main())"
    output = call("python", "-c", bss, "init", "--manifest", "data/pets/manifest.csv")
    assert "Wrote params.yaml, dvc.yaml, plots/schedulers.json, .gitignore, .dvcignore." in output
    (line,) = [line for line in output.splitlines() if line.startswith("Next: ")]
    assert line == "Next: git init && dvc init && dvc repro"
    params = project / "params.yaml"
    short = params.read_text().replace("seeds: [0, 1, 2, 3, 4, 5]", "seeds: [0]").replace("epochs: 24", "epochs: 4")
    params.write_text(short.replace("grow_epochs: 8", "grow_epochs: 2").replace("at: [16]", "at: [3]"))
    call("sh", "-c", line.removeprefix("Next: "))
    compared = json.loads((project / "outputs" / "report" / "comparison.json").read_text())
    assert set(compared["schedulers"]) == {row.name for row in combinations_of(load_config(params))}
    assert Store.open(project / "outputs" / "store").modalities["words"].vocabulary > 259
    tokenizers = sorted(project.rglob("words.tokenizer/tokenizer.json"))
    # The store's, each run's, and that of the logged models: one of the first seed of each scheduler.
    logged = [path for path in tokenizers if "models" in path.parts]
    assert len(logged) == len(compared["schedulers"])
    assert len({digest_file(path) for path in tokenizers}) == 1
    untracked = call("git", "status", "--porcelain", "--untracked-files=all")
    assert not [
        line for line in untracked.splitlines() if "outputs" in line or "mlflow" in line or "mlartifacts" in line
    ]
    plots = call("dvc", "plots", "show")
    assert "dvc_plots" in plots
    page = (project / "dvc_plots" / "index.html").read_text()
    assert "strokeDash" in page  # of the project's own template
    assert "Data and pipelines are up to date." in call("dvc", "repro")
