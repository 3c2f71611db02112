"""The project folder that `bss init` makes."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from bss.init.project import next_commands, project_files, write_project

PROJECT = Path(__file__).parents[2]


def stages(text):
    """Return the stages of a dvc.yaml by name; those made for each key of a parameter by their common part."""
    return {name: stage.get("do", stage) for name, stage in YAML(typ="safe").load(text)["stages"].items()}


def test_its_stages_are_the_repositorys_without_the_source_of_bss():
    own, ours = stages(project_files()["dvc.yaml"]), stages((PROJECT / "dvc.yaml").read_text())
    assert list(own) == list(ours)
    for name, stage in ours.items():
        kept = [path for path in stage["deps"] if not path.startswith("bss/")]
        assert own[name].get("deps", []) == kept
        assert {**own[name], "deps": None} == {**stage, "deps": None}


def test_files_that_are_there_are_kept_and_named(tmp_path):
    (tmp_path / ".gitignore").write_text("/outputs/\n")
    written, notes = write_project(tmp_path)
    assert written == ["dvc.yaml", "plots/schedulers.json", ".dvcignore"]
    assert (tmp_path / ".gitignore").read_text() == "/outputs/\n"
    (note,) = notes
    assert note.startswith(f"{tmp_path / '.gitignore'} already exists and was left unchanged; add .venv/, ")
    assert "/mlruns/" in note
    assert "/outputs/" not in note
    assert write_project(tmp_path) == ([], [])


def test_a_pipeline_of_someone_else_is_kept_and_named(tmp_path):
    (tmp_path / "dvc.yaml").write_text("stages: {mine: {cmd: make}}")
    written, (note,) = write_project(tmp_path)
    assert written == []
    assert "dvc.yaml already exists and was left unchanged, but none of its stages runs bss" in note
    assert [path.name for path in tmp_path.iterdir()] == ["dvc.yaml"]


@pytest.mark.parametrize(
    ("there", "inside", "expected"),
    [
        ([], ".", "git init && dvc init && dvc repro"),
        ([".git"], ".", "dvc init && dvc repro"),
        ([".git", ".dvc"], ".", "dvc repro"),
        ([".git", "a"], "a", "dvc init --subdir && dvc repro"),
        ([".git", ".dvc", "a"], "a", "dvc repro"),
    ],
)
def test_the_next_commands_are_those_that_are_missing(there, inside, expected, tmp_path, monkeypatch):
    for name in there:
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / inside)
    assert next_commands(Path()) == expected


def test_the_next_commands_go_to_the_folder(tmp_path, monkeypatch):
    (tmp_path / "my pets").mkdir()
    monkeypatch.chdir(tmp_path)
    assert next_commands(Path("my pets")) == "cd 'my pets' && git init && dvc init && dvc repro"
