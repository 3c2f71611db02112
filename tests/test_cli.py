import subprocess
import sys

import pytest
from conftest import small_tree
from ruamel.yaml import YAML

from bss import __version__
from bss.cli import main
from bss.extras import not_installed


@pytest.fixture
def params(small_root, tmp_path, monkeypatch):
    """A folder with a params.yaml for the small data; the command runs in it."""
    monkeypatch.chdir(tmp_path)
    tree = small_tree(small_root)
    tree["schedule"]["schedulers"] = {
        "uniform": {"kind": "uniform"},
        "control": tree["schedule"]["schedulers"]["control"],
    }
    YAML().dump(tree, tmp_path / "params.yaml")
    return tmp_path


@pytest.mark.slow
def test_the_five_commands_one_after_the_other(params, capsys):
    for command in ("prepare", "measure", "schedule", "train", "compare"):
        assert main([command, "--set", "train.epochs=2", "--set", "seeds=[3]"]) == 0, command
    assert (params / "outputs" / "report" / "report.html").exists()
    assert (params / "outputs" / "runs" / "control" / "seed=3" / "metrics.json").exists()
    capsys.readouterr()
    assert main(["show"]) == 0
    shown = capsys.readouterr().out
    assert "uniform" in shown
    assert "outputs/report/report.html" in shown
    command = ["sequence", "--scheduler", "control", "--seed", "3", "--epoch", "1"]
    assert main([*command, "--set", "train.epochs=2", "--set", "seeds=[3]"]) == 0
    assert "as recorded" in capsys.readouterr().out
    assert main(["train", "--set", "train.batch_size=5000"]) == 1
    assert "training samples do not fill a batch of 5000: lower train.batch_size." in capsys.readouterr().err


def test_a_command_of_the_pipeline_without_its_packages_says_how_to_get_them(params, capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, "bss.doctor", raising=False)
    monkeypatch.setitem(sys.modules, "rich", None)
    assert main(["doctor"]) == 1
    assert capsys.readouterr().err == f"bss: {not_installed('rich')}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--set", "train.epoch=5"], "params.yaml: train.epoch: unknown key; did you mean `epochs`?"),
        (["train", "--scheduler", "bss-x"], "--scheduler bss-x: params.yaml has uniform, control."),
        (["train", "--seed", "9"], "--seed 9: params.yaml has 0, 1."),
        (["train"], "store.json: not found. Run `bss prepare` (or `dvc repro`) first."),
        (["show"], "comparison.json: not found. Run `bss compare`"),
        (["prepare", "--params", "none.yaml"], "none.yaml: cannot be read"),
        (["prepare", "--set", "prepare.root=nowhere"], "nowhere: no such folder. Set prepare.root"),
        (["generate", "letters"], "no section generate.letters"),
    ],
)
def test_a_mistake_is_one_message_and_no_traceback(params, capsys, arguments, message):
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("bss: ")
    assert message in error
    assert "Traceback" not in error


@pytest.mark.slow
def test_several_schedulers_and_seeds_are_trained_together(params):
    for command in (["prepare"], ["measure"], ["schedule"]):
        assert main([*command, "--set", "train.epochs=1", "--set", "seeds=[3, 4, 5]"]) == 0
    both = ["--scheduler", "control", "--scheduler", "uniform", "--seed", "3", "--seed", "5"]
    assert main(["train", "--set", "train.epochs=1", "--set", "seeds=[3, 4, 5]", *both]) == 0
    runs = params / "outputs" / "runs"
    trained = {(path.parent.name, path.name) for path in runs.glob("*/seed=*")}
    assert trained == {(name, f"seed={seed}") for name in ("control", "uniform") for seed in (3, 5)}


def test_an_option_of_one_value_is_refused_if_it_is_given_twice(params, capsys):
    with pytest.raises(SystemExit):
        main(["sequence", "--scheduler", "control", "--scheduler", "uniform", "--seed", "3", "--epoch", "1"])
    assert "--scheduler: given twice" in capsys.readouterr().err


@pytest.mark.process
def test_version_and_help_need_no_heavy_library():
    script = "import sys; from bss.cli import main\ntry: main(sys.argv[1:])\nexcept SystemExit: pass\n"
    script += "print(sorted({'torch', 'mlflow', 'numpy', 'sklearn', 'rich'} & set(sys.modules)))"
    for argument, expected in (("--version", f"bss {__version__}"), ("--help", "stage 5")):
        done = subprocess.run([sys.executable, "-c", script, argument], capture_output=True, text=True, check=True)
        assert expected in done.stdout
        assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.process
def test_a_plan_is_made_without_torch(pipeline, small_store, small_root, tmp_path):
    folder, _ = pipeline
    YAML().dump(small_tree(small_root), tmp_path / "params.yaml")
    script = "import sys; from bss.cli import main; code = main(sys.argv[1:])\n"
    script += "print(code, sorted({'torch', 'mlflow', 'sklearn', 'matplotlib'} & set(sys.modules)))"
    arguments = ["schedule", "--params", tmp_path / "params.yaml", "--plans", tmp_path / "plans"]
    arguments += ["--store", small_store, "--scores", folder / "scores"]
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"


@pytest.mark.process
def test_the_balance_core_needs_torch_and_numpy_alone():
    script = "import sys; from bss.balance import *; print([m for m in ('mlflow', 'dvc', 'kfp', 'pandas', 'pydantic',"
    script += " 'rich', 'pyarrow', 'sklearn', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_doctor_reports_what_is_present_and_what_is_missing(params, capsys):
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    for text in ("torch", "processors", "resources.device: cpu", "manifest.csv", "All checks passed."):
        assert text in shown
    assert main(["doctor", "--set", "prepare.root=nowhere", "--set", "generate={}"]) == 1
    assert "1 to fix: data" in capsys.readouterr().out
    assert main(["doctor", "--set", "train.epoch=1"]) == 1
    assert "unknown key" in capsys.readouterr().out


@pytest.mark.slow
def test_doctor_asks_the_tracking_server(params, capsys, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert main(["doctor", "--set", "tracking.enabled=true"]) == 1
    shown = capsys.readouterr().out
    assert "1 to fix: MLflow" in shown
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///here.db")
    assert main(["doctor", "--set", "tracking.enabled=true"]) == 0
