"""SIGKILL at every boundary between two stages of `dvc repro`, which then resumes and ends as if undisturbed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "end_to_end"))
from clones import clone_project, commit, environment, run, write_params

from bss.config import config_from_tree, config_to_tree
from bss.files import digest_file, digest_folder

STAGES = ("prepare", "measure", "schedule", "train", "compare")


def make_clone(folder: Path, tree: dict) -> None:
    """Make a repository with this project's files and the parameters `tree` in `folder`."""
    folder.mkdir()
    clone_project(folder)
    write_params(folder, config_to_tree(config_from_tree(tree, "params.yaml")) | {"generate": {}})
    commit(folder, "project")


def kill_at_every_boundary(tree: dict, folder: Path) -> int:
    """Kill `dvc repro` where each stage begins, in one clone; compare with another; return the kills."""
    disturbed, right = folder / "disturbed", folder / "right"
    for clone in (disturbed, right):
        make_clone(clone, tree)
    run(right, "dvc", "repro")
    for stage in STAGES:
        _kill_where_it_begins(disturbed, stage)
    run(disturbed, "dvc", "repro")
    assert "up to date" in run(disturbed, "dvc", "repro")
    for name in ("scores", "plans"):
        assert digest_folder(disturbed / "outputs" / name) == digest_folder(right / "outputs" / name)
    assert digest_file(disturbed / "outputs/report/comparison.json") == digest_file(
        right / "outputs/report/comparison.json"
    )
    for model in (right / "outputs/runs").rglob("model.pt"):
        assert digest_file(disturbed / model.relative_to(right)) == digest_file(model)
    return len(STAGES)


def _kill_where_it_begins(clone: Path, stage: str) -> None:
    process = subprocess.Popen(
        ["dvc", "repro"],
        cwd=clone,
        env=environment(clone) | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if line.startswith(f"Running stage '{stage}'"):
            os.killpg(process.pid, signal.SIGKILL)
            break
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL, "".join(seen)
