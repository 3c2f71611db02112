"""Full disks: the message names the path, and no half-written output counts as finished."""

import errno
import subprocess
from contextlib import suppress

import pytest
import torch
from conftest import small_tree

from bss.cli import main
from bss.config import config_from_tree
from bss.config.resources import CheckpointsConfig
from bss.data.store import Store
from bss.errors import BssError
from bss.files import digest_folder
from bss.full_disk import full_disk, system_error
from bss.stages.compare import compare
from bss.stages.prepare import prepare
from bss.stages.train import train
from bss.tracking.journal import Journal
from bss.training.resume.checkpoints import Checkpoints

DISK = 1 << 20
"""Bytes of the small disk."""


@pytest.fixture
def disk(tmp_path):
    """A file system of its own in memory, of `DISK` bytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("no small file system can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk, leave=0):
    """Leave so many bytes free on the disk."""
    with suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    free = (disk / "filler").stat().st_size - leave
    with (disk / "filler").open("r+b") as file:
        file.truncate(max(free, 0))


def refused(error, path):
    message = str(error.value)
    assert str(path) in message
    assert "No space left on device" in message
    assert "are free" in message
    return message


@pytest.mark.process
def test_a_store_that_does_not_fit(disk, tree, make_config, small_root, small_store):
    fill(disk, leave=64 << 10)
    with pytest.raises(BssError) as caught:
        prepare(make_config(tree), small_root, disk / "store")
    refused(caught, disk / "store")
    assert not list(disk.glob("*store*"))


@pytest.mark.process
def test_a_checkpoint_that_does_not_fit_leaves_the_one_before_it(disk):
    checkpoints = Checkpoints(disk / "checkpoints", "key", CheckpointsConfig(minutes=None, steps=1))
    checkpoints.save({"weights": torch.ones(1000)}, 1)
    with pytest.raises(BssError) as caught:
        checkpoints.save({"weights": torch.ones(400_000)}, 2)
    assert "bytes needed" in refused(caught, disk / "checkpoints")
    assert checkpoints.latest()["weights"].sum() == 1000
    assert len(list((disk / "checkpoints").iterdir())) == 1


@pytest.mark.process
@pytest.mark.parametrize("left", [0, 6000, 20000])
def test_a_training_that_does_not_fit_resumes_when_there_is_room(left, disk, small_root, small_store, pipeline):
    tree = small_tree(small_root)
    tree["resources"]["checkpoints"] = {"minutes": None, "steps": 1}
    config, (folder, _) = config_from_tree(tree, "params.yaml"), pipeline
    arguments = (config, small_store, folder / "scores", folder / "plans", disk / "runs", [("bss-h", 0)])
    fill(disk, left)
    with pytest.raises(BssError) as caught:
        train(*arguments)
    refused(caught, disk / "runs")
    assert not (disk / "runs/bss-h/seed=0").exists()
    (disk / "filler").unlink()
    train(*arguments)
    for name in ("metrics.json", "history.csv", "model.pt", "sequences.parquet", "predictions.parquet"):
        right = folder / "runs/bss-h/seed=0" / name
        assert (disk / "runs/bss-h/seed=0" / name).read_bytes() == right.read_bytes()


@pytest.mark.process
def test_a_report_that_does_not_fit_leaves_the_one_before_it(disk, pipeline, small_store):
    folder, config = pipeline
    arguments = (config, small_store, folder / "scores", folder / "runs", disk / "report")
    (disk / "report").mkdir()
    (disk / "report/comparison.json").write_text("{}")
    before = digest_folder(disk / "report")
    fill(disk, leave=8192)
    with pytest.raises(BssError) as caught:
        compare(*arguments)
    refused(caught, disk / "report")
    assert digest_folder(disk / "report") == before
    assert not list(disk.glob(".report*"))


@pytest.mark.process
def test_a_journal_that_does_not_fit_keeps_its_whole_lines(disk):
    journal = Journal.create(disk)
    journal.append("tags", tags={"number": "1"})
    fill(disk)
    with pytest.raises(BssError) as caught:
        journal.append("tags", tags={"number": "x" * 8192})
    assert "bytes needed" in refused(caught, journal.folder)
    assert [record["tags"]["number"] for record, _ in journal.read()] == ["1"]
    (disk / "filler").unlink()
    journal.append("tags", tags={"number": "2"})
    assert [record["tags"]["number"] for record, _ in journal.read()] == ["1", "2"]


@pytest.mark.process
def test_the_command_line_ends_with_1_and_one_message(disk, pipeline, small_store, tmp_path, capsys, monkeypatch):
    fill(disk)
    monkeypatch.chdir(tmp_path)
    assert main(["inspect", "--store", str(small_store), "--output", str(disk / "inspect.html")]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("bss: ")
    assert "No space left on device" in shown
    assert "Traceback" not in shown


def test_other_errors_of_the_system_are_no_full_disk(small_store):
    assert full_disk(PermissionError(errno.EACCES, "no")) is None
    assert Store.open(small_store).digest


def test_a_path_that_the_system_refuses_is_one_message(small_store, tmp_path, capsys):
    (tmp_path / "file").write_text("no folder")
    assert main(["inspect", "--store", str(small_store), "--output", str(tmp_path / "file" / "inspect.html")]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith(f"bss: {tmp_path / 'file'}: cannot be read or written (")
    assert "Traceback" not in shown


def test_an_error_of_the_system_that_names_no_path_is_not_hidden():
    assert system_error(PermissionError(errno.EACCES, "no")) is None
