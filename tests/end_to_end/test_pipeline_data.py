"""The pipeline on data that DVC keeps in an object store: fetched, recorded, and never stale."""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import time

import mlflow
import pytest
from buckets import administrator
from clones import PROJECT, commit, forking_environment, run, write_params
from conftest import small_tree

from bss.files import digest_folder
from components.readme import STEPS

pytestmark = pytest.mark.process

IMAGE = os.environ.get("BSS_TEST_IMAGE")
in_containers = pytest.mark.skipif(IMAGE is None, reason="BSS_TEST_IMAGE names no image: no Docker engine here")


@pytest.fixture(scope="module")
def repository(s3_endpoint, small_root, tmp_path_factory):
    """A git repository whose data/pets lies in the object store."""
    administrator(s3_endpoint).create_bucket(Bucket="pets")
    folder = tmp_path_factory.mktemp("pets-repository")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "somebody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "the-planted-secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        run(folder, "git", "init", "-q", "-b", "main")
        run(folder, "dvc", "init", "-q")
        run(folder, "dvc", "remote", "add", "-d", "store", "s3://pets/cache")
        run(folder, "dvc", "remote", "modify", "store", "endpointurl", s3_endpoint)
        shutil.copytree(small_root, folder / "data" / "pets")
        push(folder, "data")
        yield folder


def push(folder, message):
    run(folder, "dvc", "add", "-q", "data/pets")
    commit(folder, message)
    run(folder, "dvc", "push", "-q")
    shutil.rmtree(folder / ".dvc" / "cache")  # what is fetched must come from the object store


@pytest.fixture(scope="module")
def place(small_root, tmp_path_factory):
    """A folder with parameters for the small data."""
    folder = tmp_path_factory.mktemp("place")
    tree = small_tree(small_root)
    tree["prepare"]["root"] = "data/pets"
    tree["schedule"]["schedulers"] = {name: tree["schedule"]["schedulers"][name] for name in ("uniform", "bss-l")}
    tree["compare"] = {"resamples": 1000}
    tree["tracking"] = {"models": "none"}
    tree["seeds"] = [0]
    write_params(folder, tree)
    return folder


def run_pipeline(place, repository, *more, check=True):
    """Run the pipeline on the repository's main branch; return what it printed and the steps that ran."""
    usual = {"--root": "runs", "--data-repository": f"file://{repository}", "--data-revision": "main"}
    command = ["bss", "run-local", "--data-path", "data/pets", *more]
    command += [word for option in usual.items() if option[0] not in more for word in option]
    done = subprocess.run(
        command,
        cwd=place, env=forking_environment(PROJECT), capture_output=True, text=True, check=False,
    )  # fmt: skip
    output = done.stdout + done.stderr
    if check:
        assert done.returncode == 0, output
    executed = set(re.findall(r"Executing task \S*?'(\w+)'", output))
    return output, [step for step in STEPS if step in executed]


def store_digest(place):
    """The digest of the store that was prepared last."""
    return json.loads(max((place / "runs").glob("bss-*/prepare/store/store.json")).read_text())["digest"]


def test_data_comes_from_the_object_store_and_is_recorded(place, repository):
    output, steps = run_pipeline(place, repository)
    assert steps == list(STEPS)
    assert "the-planted-secret" not in output
    head = run(repository, "git", "rev-parse", "HEAD").strip()
    tracked = (repository / "data" / "pets.dvc").read_text()
    client = mlflow.MlflowClient(f"sqlite:///{place}/runs/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if e.name == "pets"]
    (parent,) = [r for r in client.search_runs([experiment.experiment_id]) if "mlflow.parentRunId" not in r.data.tags]
    (used,) = parent.inputs.dataset_inputs
    source = json.loads(used.dataset.source)
    assert source["commit"] == head
    assert source["path"] == "data/pets"
    assert used.dataset.digest == source["digest"][:36]
    assert source["digest"] in tracked
    tags = parent.data.tags
    assert tags["bss.store_digest"] == store_digest(place)
    assert (tags["bss.data_revision"], tags["bss.data_commit"]) == ("main", head)
    assert tags["bss.data_digest"] == source["digest"]


def test_a_commit_that_leaves_the_data_alone_reuses_everything(place, repository):
    (repository / "README.md").write_text("birds and cats\n")
    commit(repository, "readme")
    _, steps = run_pipeline(place, repository)
    assert steps == ["start", "compare", "finish"]


def test_changed_data_is_never_stale(place, repository):
    before = store_digest(place)
    run(repository, "dvc", "pull", "-q")
    manifest = repository / "data" / "pets" / "manifest.csv"
    lines = manifest.read_text().splitlines(keepends=True)
    manifest.unlink()
    manifest.write_text("".join(line for line in lines if not line.startswith("train-cat-0,")))
    push(repository, "one sample less")
    _, steps = run_pipeline(place, repository)
    assert steps == list(STEPS)
    assert store_digest(place) != before


def test_a_revision_that_is_not_there_fails_in_the_first_step(place, repository):
    output, steps = run_pipeline(place, repository, "--data-revision", "v9", check=False)
    assert steps == ["start", "finish"]
    assert "v9" in output
    assert "Traceback" not in output.partition("Executing task")[2].partition("finish")[0]


IN_SHARDS = ("--root", "in-shards", "--shards", "2", "--scheduler", "uniform")
JOINING = re.compile(r"Executing task \S*'join-shards'")


def test_shards_are_joined_to_the_same_store_and_reused(place, repository):
    output, steps = run_pipeline(place, repository, *IN_SHARDS)
    assert steps == list(STEPS)
    assert JOINING.search(output)
    assert len(list((place / "in-shards").glob("bss-*/for-loop-*/prepare/store/part.json"))) == 2
    (joined,) = (place / "in-shards").glob("bss-*/join-shards/store")
    assert digest_folder(joined) == digest_folder(max((place / "runs").glob("bss-*/prepare/store")))
    assert "| all | " in (joined.parent / "summary").read_text()
    output, steps = run_pipeline(place, repository, *IN_SHARDS, "--set", "compare.resamples=1500")
    assert steps == ["start", "compare", "finish"]
    assert not JOINING.search(output)


def test_a_shard_that_fails_fails_the_run_and_is_not_joined(place, repository):
    run(repository, "git", "checkout", "-q", "-b", "bad")
    run(repository, "dvc", "pull", "-q")
    bad = repository / "data" / "pets" / "test-owl-5.npy"
    bad.unlink()
    bad.write_bytes(b"no array")
    push(repository, "a bad file")
    run(repository, "git", "checkout", "-q", "main")
    output, steps = run_pipeline(place, repository, *IN_SHARDS, "--data-revision", "bad", check=False)
    assert steps == ["start", "prepare", "finish"]
    assert "(id test-owl-5): vector test-owl-5.npy: not a readable .npy file" in output
    assert not JOINING.search(output)
    assert output.rstrip().splitlines()[-1].startswith("bss: ")


@pytest.fixture
def git_address(repository):
    """The address at which git serves the repository to containers, that do not see this machine's files."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = f"--base-path={repository.parent}"
    command = ["git", "daemon", "--export-all", "--reuseaddr", "--listen=127.0.0.1", f"--port={port}", place]
    daemon = subprocess.Popen([*command, str(repository)], stderr=subprocess.DEVNULL)
    for _ in range(600):  # a minute, for a busy machine
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            break
        time.sleep(0.1)
    yield f"git://127.0.0.1:{port}/{repository.name}"
    daemon.terminate()
    daemon.wait()


@in_containers
def test_containers_fetch_data_without_git_and_without_installing_anything(place, repository, git_address):
    _, steps = run_pipeline(
        place, repository, "--root", "containers", "--image", IMAGE, "--data-repository", git_address
    )
    assert "prepare" in steps
    (in_container,) = (place / "containers").glob("bss-*/prepare/store/store.json")
    assert json.loads(in_container.read_text())["digest"] == store_digest(place)
