"""The commands of docs/data.md, run as they stand there: real git, real DVC, a folder as the remote."""

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import time

import mlflow
import pytest
from clones import BIN, PROJECT, clone_project, commit, forking_environment, run, write_params
from conftest import make_rows, small_tree, write_manifest
from ruamel.yaml import YAML

from bss.config import config_from_tree, config_to_tree

PAGE = (PROJECT / "docs" / "data.md").read_text(encoding="utf-8")
REMOTE, REPOSITORY = "/srv/dvc/birds", "https://git.example.org/birds.git"
ALL_STAGES = ["prepare", "audit", "measure", "schedule", "train", "compare"]


def sections():
    """The commands of each section; those that need a cluster are left out."""
    found = {}
    for part in PAGE.split("\n## ")[1:]:
        title, _, text = part.partition("\n")
        local = re.sub(r"<!-- needs a cluster -->\n```\n.*?```\n", "", text, flags=re.DOTALL)
        found[title] = "".join(re.findall(r"^```\n(.*?)^```$", local, flags=re.DOTALL | re.MULTILINE))
    return found


class Team:
    """A checkout with data, the git repository and the DVC remote that a team shares, and what was printed."""

    def __init__(self, folder):
        self.folder, self.checkout, self.clone = folder, folder / "birds", folder / "birds-clone"
        self.remote, self.git = folder / "remote", folder / "birds.git"
        self.checkout.mkdir()
        clone_project(self.checkout)
        for name in ("Makefile", "requirements.lock", "requirements-dev.lock", "params.yaml"):
            shutil.copy(PROJECT / name, self.checkout / name)
        commit(self.checkout, "project")
        branch = run(self.checkout, "git", "branch", "--show-current").strip()
        run(folder, "git", "init", "-q", "--bare", "-b", branch, str(self.git))
        run(self.checkout, "git", "remote", "add", "origin", f"file://{self.git}")
        self.root = self.checkout / "data" / "birds"
        self.root.mkdir(parents=True)
        write_manifest(self.root, make_rows(self.root))
        tree = small_tree(self.root) | {"seeds": [0], "tracking": {"models": "none"}}
        tree["prepare"]["root"] = "data/birds"
        tree["schedule"]["schedulers"] = {name: tree["schedule"]["schedulers"][name] for name in ("uniform", "control")}
        write_params(self.checkout, config_to_tree(config_from_tree(tree, "params.yaml")) | {"generate": {}})
        self.environment = self._environment()

    def _environment(self):
        ready = self.folder / "ready"
        ready.touch()
        later = time.time() + 86400  # newer than any file of a clone: make installs nothing
        os.utime(ready, (later, later))
        names = {"GIT_AUTHOR": "test", "GIT_COMMITTER": "test"}
        who = {
            f"{role}_{key}": value for role in names for key, value in (("NAME", "test"), ("EMAIL", "t@example.org"))
        }
        found = forking_environment(PROJECT) | who
        found["MAKEFLAGS"] = f" -- BIN={os.path.relpath(BIN, self.checkout)} READY={ready}"
        return found

    def bash(self, commands, folder=None):
        """Run commands with the page's addresses replaced; return what they printed, in its order."""
        commands = commands.replace(REMOTE, str(self.remote)).replace(REPOSITORY, f"file://{self.git}")
        done = subprocess.run(
            ["bash", "-euxo", "pipefail", "-c", commands], cwd=folder or self.checkout, env=self.environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout

    def has_pushed(self, path):
        digest = hashlib.md5(path.read_bytes()).hexdigest()
        return (self.remote / "files" / "md5" / digest[:2] / digest[2:]).is_file()


def stages_run(output):
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def bytes_below(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def digest_of_data(team, revision):
    text = run(team.checkout, "git", "show", f"{revision}:data/birds.dvc")
    return YAML(typ="safe").load(text)["outs"][0]["md5"]


def parents(database):
    """The MLflow runs without a parent, the oldest first."""
    client = mlflow.MlflowClient(f"sqlite:///{database}")
    experiments = [e.experiment_id for e in client.search_experiments()]
    runs = client.search_runs(experiments, order_by=["attributes.start_time"])
    return [found for found in runs if "mlflow.parentRunId" not in found.data.tags]


def metric_changes(output):
    """(file, metric): (old, new) of the table that `dvc metrics diff` prints."""
    rows = [line.split() for line in output.splitlines() if line.startswith("outputs/report/metrics/")]
    return {(row[0].rpartition("/")[2], row[1]): (float(row[2]), float(row[3])) for row in rows}


@pytest.fixture(scope="module")
def team(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path_factory.mktemp("site")))
        yield Team(tmp_path_factory.mktemp("team"))


@pytest.mark.process
def test_the_page_works_from_top_to_bottom(team):
    commands = sections()
    assert list(commands) == [
        "Put the data under DVC",
        "Name a remote",
        "Run, and share data and results",
        "A colleague's clone",
        "Another version of the data",
        "Experiments",
        "The same data on Kubeflow",
    ]
    assert all(commands.values())

    team.bash(commands["Put the data under DVC"])
    assert run(team.checkout, "git", "ls-files", "data").split() == ["data/birds.dvc"]
    assert run(team.checkout, "git", "status", "--porcelain") == ""
    team.bash(commands["Name a remote"])
    assert str(team.remote) in (team.checkout / ".dvc" / "config").read_text()

    output = team.bash(commands["Run, and share data and results"])
    assert stages_run(output) == ALL_STAGES
    assert "Warning:" not in output.partition("bss check-cache")[2]
    assert all(team.has_pushed(path) for path in team.root.iterdir())
    assert team.has_pushed(team.checkout / "outputs" / "report" / "comparison.json")

    output = team.bash(commands["A colleague's clone"], team.folder)
    assert "Data and pipelines are up to date." in output
    assert bytes_below(team.clone / "data" / "birds") == bytes_below(team.root)
    assert bytes_below(team.clone / "outputs") == bytes_below(team.checkout / "outputs")

    rows = (team.root / "manifest.csv").read_text().splitlines(keepends=True)
    (team.root / "manifest.csv").write_text("".join(rows[:-1]))
    output = team.bash(commands["Another version of the data"])
    assert stages_run(output) == ALL_STAGES
    assert metric_changes(output)
    assert digest_of_data(team, "birds-1") != digest_of_data(team, "birds-2")
    assert team.has_pushed(team.root / "manifest.csv")

    before = bytes_below(team.checkout / "outputs")
    output = team.bash(commands["Experiments"])
    assert "Ran experiment(s): two-epochs" in output
    assert metric_changes(output)["uniform.json", "steps"] == (9, 6)  # 48 samples in batches of 16, 3 and 2 epochs
    assert bytes_below(team.checkout / "outputs") == before
    assert parents(team.checkout / "mlflow.db")[-1].data.params["train.epochs"] == "2"

    output = team.bash(commands["The same data on Kubeflow"])
    database = team.checkout / "outputs" / "kubeflow" / "mlflow.db"
    shown = f"MLflow UI: MLFLOW_TRACKING_URI={shlex.quote(f'sqlite:///{database}')} bss ui"
    assert output.splitlines().count(shown) == 2
    assert output.splitlines()[-1] == shown
    last, tagged = parents(database)
    for found, revision in ((last, "HEAD"), (tagged, "birds-1")):
        assert found.data.tags["bss.data_commit"] == run(team.checkout, "git", "rev-parse", revision).strip()
        assert found.data.tags["bss.data_digest"] == digest_of_data(team, revision)
    assert (last.data.tags["bss.data_repository"], last.data.tags["bss.data_path"]) == (
        str(team.checkout),
        "data/birds",
    )


def test_of_the_cluster_only_the_submission_is_left_out():
    marked = re.findall(r"<!-- needs a cluster -->\n```\n(.*?)```", PAGE, flags=re.DOTALL)
    assert [text.split()[:2] for text in marked] == [["bss", "submit"]]


@pytest.mark.process
def test_an_input_that_nobody_else_gets_is_named(tmp_path):
    """Of a stage's inputs one is under DVC, one is in git, one is an output, and one is neither."""
    run(tmp_path, "git", "init", "-q")
    run(tmp_path, "dvc", "init", "-q")
    for name in ("added", "committed", "plain files"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text(name)
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.write_text("outside")
    (tmp_path / ".gitignore").write_text("/plain files\n")
    run(tmp_path, "dvc", "add", "-q", "added")
    stages = {
        "first": {
            "cmd": "cp added/a.txt copy.txt",
            "deps": ["added", "committed", "plain files", str(outside)],
            "outs": ["copy.txt"],
        },
        "second": {"cmd": "cp copy.txt last.txt", "deps": ["copy.txt"], "outs": ["last.txt"]},
    }
    YAML().dump({"stages": stages}, tmp_path / "dvc.yaml")
    run(tmp_path, "dvc", "repro", "-q")
    commit(tmp_path, "all")
    assert "plain files" in json.dumps(YAML(typ="safe").load((tmp_path / "dvc.lock").read_text()))
    output = run(tmp_path, "bss", "check-cache")
    warnings = [line for line in output.splitlines() if line.startswith("Warning: ")]
    assert warnings == [
        "Warning: plain files, read by the stage first: neither DVC nor git tracks it, so other clones miss it. "
        "Run `dvc add 'plain files'` in the checkout that has it, commit 'plain files.dvc', then `make data-push`.",
        f"Warning: {outside}, read by the stage first: it is outside the repository, so every clone needs its own "
        "copy there.",
    ]
