"""What decides a stage: the table against dvc.yaml, its modules against what Python loads, and changes both ways."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

import bss
from bss.deciding import DECIDING, INDIFFERENT, code_digest, deciding_modules, pick

PACKAGE = Path(bss.__file__).parent
PROJECT = PACKAGE.parent
STAGES = tuple(DECIDING)
OF_DVC = tuple(stage for stage in STAGES if stage != "features")


def stage_of(name):
    return YAML(typ="safe").load(PROJECT / "dvc.yaml")["stages"][name]


@pytest.fixture
def copy(tmp_path):
    return shutil.copytree(PACKAGE, tmp_path / "bss", ignore=shutil.ignore_patterns("__pycache__"))


def changed_stages(copy, file, change):
    """Return the stages whose digest is another after `change` of the text of `file`."""
    text = (PACKAGE / file).read_text()
    new = change(text)
    assert new != text
    (copy / file).write_text(new)
    return {stage for stage in STAGES if code_digest(stage, copy) != code_digest(stage)}


def and_a_statement(text):
    return f"{text}\nCHANGED = 1\n"


@pytest.mark.slow
def test_a_copy_of_the_package_has_the_same_digests(copy):
    assert [code_digest(stage, copy) for stage in STAGES] == [code_digest(stage) for stage in STAGES]


@pytest.mark.slow
@pytest.mark.parametrize(
    "file",
    [
        *(
            "report/plots.py",
            "tracking/journal.py",
            "launch/workers.py",
            "remote/object_store.py",
            "doctor.py",
            "cli.py",
        ),
        *("console.py", "datasets/crema_d.py", "init/suggest.py", "kubeflow/start.py", "stages/compare.py"),
    ],
)
def test_other_code_keeps_finished_trials(copy, file):
    assert "train" not in changed_stages(copy, file, and_a_statement)


@pytest.mark.slow
@pytest.mark.parametrize("file", ["training/steps.py", "balance/score.py", "models/fusion.py", "data/decode/audio.py"])
def test_comments_docstrings_and_layout_keep_finished_trials(copy, file):
    def document(text):
        first, rest = text.split("\n", 1)
        assert first.startswith('"""')
        return f'"""Another text."""\n# A comment.\n\n{rest}\n\n"""A text that stands alone."""\n'

    assert changed_stages(copy, file, document) == set()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "stages"),
    [
        ('label="macro-F1"', 'label="F1"', set()),
        ("plotted=False", "plotted=True", set()),
        ("order=20", "order=5", {"train"}),  # the order of the columns
        ('f1_over == "present', 'f1_over != "present', {"train"}),
    ],
)
def test_how_a_metric_is_shown_keeps_finished_trials(copy, old, new, stages):
    assert changed_stages(copy, "metrics/macro_f1.py", lambda text: text.replace(old, new)) == stages


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "stages"),
    [
        ("balance/score.py", {"measure", "schedule", "train"}),
        ("balance/schedulers/learned.py", {"measure", "schedule", "train"}),
        ("balance/sampler.py", {"train"}),
        ("models/fusion.py", {"measure", "train"}),
        ("models/encoders/vit.py", {"measure", "train"}),
        ("training/steps.py", {"measure", "train"}),
        ("training/uniform.py", {"audit", "measure"}),
        ("audit/predictions.py", {"audit"}),
        ("strategies/ogm.py", {"train"}),
        ("strategies/base.py", {"train"}),
        ("training/trial.py", {"train"}),
        ("training/evaluation.py", {"train"}),
        ("metrics/macro_f1.py", {"train"}),
        ("data/decode/audio.py", {"prepare", "measure", "train"}),
        ("data/store.py", {"prepare", "measure", "schedule", "train"}),
    ],
)
def test_what_computes_the_result_does_not(copy, file, stages):
    assert stages <= changed_stages(copy, file, and_a_statement)


def test_a_trial_is_decided_by_the_modules_of_its_own_scheduler_and_strategy(copy):
    def digests(package, *used):
        return [code_digest("train", package, used=modules) for modules in used]

    ogm, smp, uniform = ("bss.strategies.ogm",), ("bss.strategies.smp",), ("bss.balance.schedulers.uniform",)
    before = digests(PACKAGE, ogm, smp, uniform)
    (copy / "strategies" / "new.py").write_text("NEW = 1\n")
    (copy / "balance" / "schedulers" / "new.py").write_text("NEW = 1\n")
    (copy / "strategies" / "ogm.py").write_text(and_a_statement((PACKAGE / "strategies" / "ogm.py").read_text()))
    after = digests(copy, ogm, smp, uniform)
    assert [one == other for one, other in zip(before, after, strict=True)] == [False, True, True]
    assert "bss.strategies.by_confidence" in deciding_modules("train", used=ogm)  # which OGM imports
    assert "bss.strategies.ogm" not in deciding_modules("audit", used=())


def test_a_changed_name_of_a_module_is_a_change(copy):
    (copy / "balance" / "score.py").rename(copy / "balance" / "scores.py")
    assert code_digest("train", copy) != code_digest("train")


@pytest.mark.process
@pytest.mark.parametrize("stage", STAGES)
def test_all_that_python_loads_is_found(stage):
    """Also what is imported through `bss.balance`, by name."""
    script = f"import sys, {DECIDING[stage].entry}; print(*(name for name in sys.modules if name.startswith('bss')))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    decides = [name for name in loaded if not any(f"{name}.".startswith(f"{part}.") for part in INDIFFERENT)]
    assert "bss.files" in decides
    assert set(decides) <= set(deciding_modules(stage))


def test_what_is_left_out_is_there():
    for name in INDIFFERENT:
        path = PROJECT / Path(*name.split("."))
        assert path.is_dir() or path.with_suffix(".py").is_file(), name


@pytest.mark.parametrize("stage", OF_DVC)
def test_dvc_yaml_has_the_parameters(stage):
    generated = {"generate"} if stage == "prepare" else set()
    assert set(stage_of(stage)["params"]) | generated == set(DECIDING[stage].parameters)


RECORDED = {"train": {"bss/tracking", "bss/stages/track_trials.py"}}
"""What decides the MLflow runs of a stage, and not its result."""


@pytest.mark.parametrize("stage", OF_DVC)
def test_dvc_yaml_has_the_code(stage):
    """As files and folders whose bytes DVC compares: a comment starts a stage, which keeps its finished trials."""
    deps = {dep for dep in stage_of(stage)["deps"] if dep.startswith("bss/")} - RECORDED.get(stage, set())
    rooms = {f"bss/{name.split('.')[1]}" for name in deciding_modules(stage) if name.count(".") > 1}
    rooms -= {"bss/config", "bss/stages"}  # parameters are compared by value, and a stage is named by its file
    if stage == "prepare":
        deps.remove("bss/datasets")  # what a dataset reads is part of the store: its rows, and digests of its files
        rooms.remove("bss/balance")  # for the schema alone
    if stage != "train":
        rooms.remove("bss/strategies")  # for the schema; the warm-up of measuring takes none
    assert f"bss/stages/{stage}.py" in deps
    assert {"/".join(dep.split("/")[:2]) for dep in deps} - {"bss/config", "bss/stages"} == rooms


def test_pick_takes_the_named_parts_only():
    tree = {"a": {"b": 1, "c": {"d": 2}}, "e": 3}
    assert pick(tree, ["a.c.d", "e"]) == {"a": {"c": {"d": 2}}, "e": 3}
