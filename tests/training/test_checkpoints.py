import pytest
import torch

from bss.config.resources import CheckpointsConfig
from bss.training.resume.checkpoints import Checkpoints


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(tmp_path / "checkpoints", "key", CheckpointsConfig(minutes=None, steps=3, keep=2))


def files(checkpoints):
    return sorted(checkpoints.folder.glob("*.pt"))


def test_the_newest_is_loaded_and_the_last_few_are_kept(checkpoints):
    assert checkpoints.latest() is None
    for steps in (3, 6, 12):
        checkpoints.save({"weights": torch.full((2,), float(steps))}, steps)
    assert [int(path.name[:12]) for path in files(checkpoints)] == [6, 12]
    assert checkpoints.latest()["weights"].tolist() == [12.0, 12.0]
    checkpoints.remove()
    assert not checkpoints.folder.exists()


def test_they_are_due_by_steps_or_by_time(tmp_path):
    by_steps = Checkpoints(tmp_path, "key", CheckpointsConfig(minutes=None, steps=3))
    assert [by_steps.due(steps) for steps in (1, 2, 3, 4)] == [False, False, True, True]
    by_steps.save({}, 3)
    assert [by_steps.due(steps) for steps in (4, 5, 6)] == [False, False, True]
    assert Checkpoints(tmp_path, "key", CheckpointsConfig(minutes=1e-9)).due(1)
    assert not Checkpoints(tmp_path, "key", CheckpointsConfig(minutes=None)).due(10**9)


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b[:-1] + bytes([b[-1] ^ 1])])
def test_a_damaged_one_is_passed_over_with_a_message(damage, checkpoints, capsys):
    checkpoints.save({"step": 3}, 3)
    checkpoints.save({"step": 6}, 6)
    newest = files(checkpoints)[-1]
    newest.write_bytes(damage(newest.read_bytes()))
    assert checkpoints.latest() == {"step": 3}
    assert "damaged" in capsys.readouterr().out.replace("\n", " ")


def test_a_half_written_one_is_none(checkpoints):
    checkpoints.save({"step": 3}, 3)
    (checkpoints.folder / "unfinished").write_bytes(b"half")
    assert checkpoints.latest() == {"step": 3}


def test_those_of_another_training_are_removed(checkpoints, capsys):
    checkpoints.save({"step": 3}, 3)
    other = Checkpoints(checkpoints.folder, "other key", checkpoints.config)
    assert other.latest() is None
    assert "starts from scratch" in capsys.readouterr().out.replace("\n", " ")
    assert checkpoints.latest() is None


def test_nothing_is_unpickled(checkpoints, tmp_path, capsys):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "evil"), "w"))

    import hashlib
    import io

    buffer = io.BytesIO()
    torch.save({"key": "key", "state": Evil()}, buffer)
    content = buffer.getvalue()
    checkpoints.folder.mkdir()
    (checkpoints.folder / f"{1:012d}-{hashlib.sha256(content).hexdigest()}.pt").write_bytes(content)
    assert checkpoints.latest() is None
    assert "damaged (Weights only load failed" in capsys.readouterr().out.replace("\n", " ")
    assert not (tmp_path / "evil").exists()
