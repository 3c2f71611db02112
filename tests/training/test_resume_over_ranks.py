"""A training killed with one number of ranks resumes with another, as if it had never stopped."""

import csv
import multiprocessing
import os
import signal
from functools import wraps
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import small_tree
from hypothesis import given
from hypothesis import strategies as st
from test_optimised_trials import OPTIONS
from trials import train_at

from bss.config import config_from_tree
from bss.data.store import Store
from bss.data.tables import read_table
from bss.files import read_json
from bss.training.distributed.ranks import ALONE, Ranks
from bss.training.resume.checkpoints import Checkpoints, checkpoints_folder
from bss.training.resume.state import losses_for

pytestmark = pytest.mark.process

END = None
CHAINS = [
    ("bss-h", [(1, 3), (3, END)]),
    ("bss-l", [(2, 5), (1, END)]),
    ("bss-l", [(1, 4), (2, END)]),
    ("bss-l-online", [(1, 5), (2, END)]),
    ("bss-l-online", [(2, 2), (1, 5), (2, END)]),
    ("official-l", [(2, 5), (1, END)]),
    ("uniform", [(4, 5), (2, END)]),
]
"""Scheduler; ranks, and the steps after whose checkpoint rank 0 is killed. Epochs have 3 steps, of bss-h fewer."""
EARLY = {"early_stopping": {"patience": 1, "min_delta": 100}}
"""Ends a trial after two epochs: none rises by 100 points above the first."""
FILES = ("history.csv", "metrics.json", "model.pt", "sequences.parquet", "measurements.parquet", "predictions.parquet")
PLANNED = ("epoch", "learning_rate", "schedule/fraction", "schedule/samples", "schedule/steps", "schedule/digest")


def run_rank(rank, count, kill_at, config, store, plans, name, path):
    torch.set_num_threads(1)
    ranks = ALONE
    if count > 1:
        group = f"file://{path.parent}/group-{count}-{kill_at}"
        torch.distributed.init_process_group("gloo", init_method=group, rank=rank, world_size=count)
        ranks = Ranks(rank, count)
    save = Checkpoints.save

    @wraps(save)
    def save_and_die(self, state, steps):
        save(self, state, steps)
        if kill_at is not END and steps >= kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    Checkpoints.save = save_and_die
    train_at(path, config, Store.open(store), plans, name, 0, lambda row: None, ranks)


@pytest.fixture
def train_by_turns(pipeline, small_root, small_store):
    """Run a trial into a folder with numbers of ranks that take turns, each killed but the last."""
    multiprocessing.set_forkserver_preload(["torch._dynamo", "sklearn.metrics", "bss.training.trial_folder"])
    tree = small_tree(small_root)
    tree["resources"]["checkpoints"] = {"minutes": None, "steps": 1}

    def train(path: Path, name, turns, **options):
        path.parent.mkdir(parents=True, exist_ok=True)
        tree["train"] |= options
        for count, kill_at in turns:
            tree["train"]["processes"] = count
            config = config_from_tree(tree, "params.yaml")
            arguments = (count, kill_at, config, small_store, pipeline[0] / "plans", name, path)
            start = torch.multiprocessing.start_processes
            if kill_at is END:
                start(run_rank, arguments, nprocs=count, start_method="forkserver")
            else:
                with pytest.raises(torch.multiprocessing.ProcessExitedException, match="SIGKILL"):
                    start(run_rank, arguments, nprocs=count, start_method="forkserver")
                (newest,) = sorted(checkpoints_folder(path).glob("*.pt"))[-1:]
                assert int(newest.name[:12]) == kill_at
        assert not checkpoints_folder(path).exists()
        return path

    return train


def history(folder):
    with (folder / "history.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def require_same_but_for_rounding(found, expected):
    """Require what two trials that differ only by the order of floating-point sums have in common."""
    assert (found / "sequences.parquet").read_bytes() == (expected / "sequences.parquet").read_bytes()
    for row, other in zip(history(found), history(expected), strict=True):
        assert {key: row[key] for key in PLANNED} == {key: other[key] for key in PLANNED}
        assert float(row["train/loss"]) == pytest.approx(float(other["train/loss"]), rel=1e-5)
    weights, others = torch.load(found / "model.pt"), torch.load(expected / "model.pt")
    assert list(weights) == list(others)
    for key, value in weights.items():
        torch.testing.assert_close(value, others[key], atol=2e-6, rtol=2e-6)
    numbers, right = read_json(found / "metrics.json", "train"), read_json(expected / "metrics.json", "train")
    assert {k: v for k, v in numbers.items() if "map" not in k} == {k: v for k, v in right.items() if "map" not in k}


@pytest.mark.parametrize(("name", "turns"), CHAINS)
def test_killed_and_gone_on_with_another_number_of_ranks(name, turns, train_by_turns, pipeline, tmp_path):
    never_stopped = pipeline[0] / "runs" / name / "seed=0"
    found = train_by_turns(tmp_path / "seed=0", name, turns)
    require_same_but_for_rounding(found, never_stopped)
    if (never_stopped / "measurements.parquet").exists():
        measured, expected = (read_table(f / "measurements.parquet", "train") for f in (found, never_stopped))
        assert measured["epoch"].to_pylist() == expected["epoch"].to_pylist()
        for column in ("score", "smoothed"):
            # Criteria that lie within a few hundredths are scaled to [0, 1] first, and their rounding with them.
            np.testing.assert_allclose(measured[column].to_numpy(), expected[column].to_numpy(), atol=1e-4)
    stretches = [stretch["ranks"] for stretch in read_json(found / "provenance.json", "train")["ranks"]]
    assert stretches == [count for count, _ in turns]


def test_more_than_two_ranks_resume_bit_for_bit(train_by_turns, tmp_path):
    whole = train_by_turns(tmp_path / "whole" / "seed=0", "bss-l", [(4, END)])
    killed = train_by_turns(tmp_path / "killed" / "seed=0", "bss-l", [(4, 5), (4, END)])
    for name in (*FILES, "provenance.json"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), name


def test_two_ranks_train_with_all_options_as_one_process_does_and_resume_bit_for_bit(train_by_turns, tmp_path):
    turns = {"alone": [(1, END)], "whole": [(2, END)], "killed": [(2, 5), (2, END)]}
    alone, whole, killed = (
        train_by_turns(tmp_path / kind / "seed=0", "uniform", own, **OPTIONS, **EARLY) for kind, own in turns.items()
    )
    assert len(history(whole)) == 2
    require_same_but_for_rounding(whole, alone)
    for name in (*FILES, "provenance.json"):
        if name != "measurements.parquet":
            assert (killed / name).read_bytes() == (whole / name).read_bytes(), name


def test_what_is_left_after_the_last_step_is_the_same_bits_for_another_number_of_ranks(train_by_turns, tmp_path):
    whole = train_by_turns(tmp_path / "whole" / "seed=0", "official-l", [(2, END)])
    killed = train_by_turns(tmp_path / "killed" / "seed=0", "official-l", [(2, 9), (1, END)])
    for name in (*FILES, "provenance.json"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), name


@given(st.lists(st.floats(0, 100), min_size=1, max_size=5), st.integers(1, 5))
def test_losses_keep_their_sum_and_stay_where_they_are_for_the_same_number(losses, count):
    before = torch.tensor(losses, dtype=torch.float64)
    after = losses_for(before, count)
    assert after.shape == (count,)
    assert float(after.sum()) == pytest.approx(sum(losses))
    if count == len(losses):
        assert torch.equal(after, before)
