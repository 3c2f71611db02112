"""Presets of published datasets: as a short form, printed, and written by `bss init --dataset`."""

import subprocess

import pytest
from small_training import small_tree

from bss.cli import METHODS, main
from bss.config import config_from_tree, config_to_tree, load_config
from bss.config.load import read_yaml
from bss.datasets.find import all_datasets
from bss.datasets.preset import SCHEDULERS
from bss.errors import BssError
from bss.kubeflow.parameters import pick


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project's folder with the annotations of CREMA-D below data."""
    annotations = tmp_path / "data" / "CREMA-D" / "annotations"
    annotations.mkdir(parents=True)
    for split in ("train", "test"):
        (annotations / f"{split}.csv").write_text("1001_DFA_ANG_XX,ANG\n1002_DFA_NEU_XX,NEU\n")
    for folder in ("AudioWAV", "Image-01-FPS"):
        (annotations.parent / folder).mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("protocol", ["honest", "published"])
@pytest.mark.parametrize("name", [name for name, dataset in all_datasets().items() if dataset.suggest is None])
def test_what_a_preset_prints_is_what_the_short_form_stands_for(name, protocol, tmp_path, capsys):
    assert main(["presets", name, "--protocol", protocol]) == 0
    (tmp_path / "params.yaml").write_text(capsys.readouterr().out)
    printed = load_config(tmp_path / "params.yaml")
    short = {"dataset": name, "protocol": protocol, "prepare": {"root": f"data/{name}"}}
    assert config_to_tree(printed) == config_to_tree(config_from_tree(short, "params.yaml"))
    assert printed.prepare.source == name
    assert printed.protocol == protocol


def test_keys_beside_the_short_form_override_the_preset():
    tree = {"dataset": "crema-d", "prepare": {"root": "data/x"}, "train": {"epochs": 3, "decay": {"at": [2]}}}
    config = config_from_tree(tree, "params.yaml")
    assert (config.train.epochs, config.train.batch_size, config.train.decay.at) == (3, 32, (2,))
    assert config.network.loss_weights.unimodal == 0.9


@pytest.mark.parametrize("method", ["bss-h", "bss-l"])
@pytest.mark.parametrize("name", ["vggsound", "nvgesture", "crema-d"])
def test_the_short_form_takes_the_settings_of_one_method(name, method, tmp_path, capsys):
    assert main(["presets", name, "--protocol", "published", "--method", method]) == 0
    (tmp_path / "params.yaml").write_text(capsys.readouterr().out)
    short = {"dataset": name, "protocol": "published", "method": method, "prepare": {"root": f"data/{name}"}}
    config = config_from_tree(short, "params.yaml")
    assert config_to_tree(load_config(tmp_path / "params.yaml")) == config_to_tree(config)
    assert list(config.schedule.schedulers) == ["uniform", method, f"official-{method[-1]}"]


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"dataset": "crema-d", "method": "bss-l"}, "method bss-l needs protocol published"),
        ({"dataset": "crema-d", "protocol": "published", "method": "bss"}, "method must be one of bss-h, bss-l, but"),
        ({"dataset": "crema-d", "protocol": "published", "method": ["bss-h"]}, "method must be one of bss-h, bss-l"),
        ({"method": "bss-h"}, "method: unknown key"),
    ],
)
def test_a_method_that_there_is_not_is_refused(tree, message):
    with pytest.raises(BssError, match=message):
        config_from_tree(tree | {"prepare": {"root": "x"}}, "params.yaml")


def test_the_command_line_knows_the_methods():
    assert tuple(SCHEDULERS) == METHODS


def test_a_method_without_a_preset_is_refused(capsys):
    assert main(["presets", "--method", "bss-h"]) == 1
    assert "--method needs the name of a preset" in capsys.readouterr().err


def test_modalities_that_the_dataset_lacks_are_refused_with_the_fix():
    tree = small_tree("crema-d", "x", {}, {"image": {"kind": "cnn"}})
    with pytest.raises(
        BssError, match=r"network\.encoders: image is not a modality of the dataset crema-d; .*bss init"
    ):
        config_from_tree(tree, "params.yaml")


def test_a_dataset_that_is_not_known_is_refused_with_the_nearest(capsys):
    with pytest.raises(BssError, match=r"params\.yaml: dataset must be one of .*\(did you mean crema-d\?\)"):
        config_from_tree({"dataset": "cremad", "prepare": {"root": "x"}}, "params.yaml")
    assert main(["presets", "cremad"]) == 1
    assert "did you mean crema-d?" in capsys.readouterr().err


def test_init_writes_everything_for_the_folder_and_tells_what_is_not_as_published(project, capsys):
    assert main(["init", "--dataset", "crema-d", "--root", "data/CREMA-D"]) == 0
    out = capsys.readouterr().out
    assert "train 2 of 6,698, test 2 of 744" in out
    assert "Next: git init && dvc init && dvc repro" in out
    config = load_config(project / "params.yaml")
    assert config.prepare.root == "data/CREMA-D"
    assert config.protocol == "honest"
    assert main(["init", "--dataset", "crema-d", "--root", "data/CREMA-D"]) == 1  # replaces nothing
    arguments = ["init", "--dataset", "crema-d", "--root", "data/CREMA-D", "--force", "--protocol", "published"]
    assert main(arguments) == 0
    assert load_config(project / "params.yaml").protocol == "published"
    assert main([*arguments, "--method", "bss-l"]) == 0
    assert list(load_config(project / "params.yaml").schedule.schedulers) == ["uniform", "bss-l", "official-l"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "crema-d"], "needs --root"),
        (["--dataset", "crema-d", "--root", "data/none"], "data/none: no such folder"),
        (["--dataset", "crema-d", "--root", "data"], "see docs/datasets.md"),
        (["--manifest", "data/m.csv", "--root", "data"], "--protocol and --method need --dataset"),
        (["--dataset", "crema-d", "--root", "data/CREMA-D", "--method", "bss-l"], "needs protocol published"),
    ],
)
def test_init_refuses_what_does_not_go_together(project, arguments, message, capsys):
    assert main(["init", *arguments]) == 1
    assert message.lower() in capsys.readouterr().err.lower()
    assert not (project / "params.yaml").exists()


@pytest.mark.process
def test_dvc_finds_every_parameter_that_its_stages_name(project, request):
    root = request.config.rootpath
    main(["init", "--dataset", "crema-d", "--root", "data/CREMA-D"])
    (project / "dvc.yaml").write_text((root / "dvc.yaml").read_text())
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    subprocess.run(["dvc", "init", "-q"], cwd=project, check=True)
    (project / "bss").symlink_to(root / "bss")
    done = subprocess.run(["dvc", "stage", "list"], cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        *("prepare", "audit", "measure", "schedule", "train", "compare")
    ]
    written = read_yaml(project / "params.yaml")
    for stage in read_yaml(project / "dvc.yaml")["stages"].values():
        for key in stage.get("params", []):
            pick(written, [key])  # KeyError where it is missing


def test_an_unknown_preset_is_named_as_the_argument_that_it_is(capsys):
    assert main(["presets", "crema"]) == 1
    error = capsys.readouterr().err
    assert "the preset must be one of" in error
    assert "did you mean crema-d?" in error
    assert "--dataset" not in error
