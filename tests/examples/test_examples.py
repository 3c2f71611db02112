"""The loops in examples/: real libraries, one process and two, stopped inside an epoch, and configured wrongly."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import fork_server
import numpy as np
import pytest

from bss.balance import Heuristic, Pacing, SequenceSampler

pytestmark = pytest.mark.process

PROJECT = Path(__file__).parents[2]
RECORD = Path(__file__).with_name("record.py")
NAMES = ("plain_pytorch", "with_accelerate", "with_lightning", "with_trainer")
LIBRARIES = ("torch", "lightning", "lightning.pytorch.callbacks", "accelerate", "transformers.trainer")
EPOCH, BATCH, SAMPLES = 12, 16, 192


def recorded(folder, ranks):
    """Run record.py in `ranks` processes; return what each wrote."""
    environment = os.environ | fork_server.variables(PROJECT, LIBRARIES)
    if ranks > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        environment |= {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    started = []
    for rank in range(ranks):
        own = environment | ({"RANK": str(rank), "LOCAL_RANK": str(rank)} if ranks > 1 else {})
        command = [sys.executable, RECORD, folder / f"{rank}.json"]
        log = (folder / f"{rank}.log").open("wb")
        started.append(subprocess.Popen(command, env=own, cwd=folder, stdout=log, stderr=subprocess.STDOUT))
    for rank, process in enumerate(started):
        assert process.wait(timeout=600) == 0, (folder / f"{rank}.log").read_text()[-3000:]
    return [json.loads((folder / f"{rank}.json").read_text(encoding="utf-8")) for rank in range(ranks)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return recorded(tmp_path_factory.mktemp("alone"), 1)[0]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return recorded(tmp_path_factory.mktemp("two"), 2)


def global_batches(ranks, name, part):
    """Return the samples of each step in the order of the global sequence, whatever library divided them."""
    if name in ("with_accelerate", "with_trainer"):  # they check the gathered batches
        assert ranks[0][name][part] == ranks[1][name][part]
        return ranks[0][name][part]
    merged = []
    for (epoch, first), (same, second) in zip(*(of[name][part] for of in ranks), strict=True):
        assert epoch == same
        merged.append([epoch, [index for pair in zip(first, second, strict=True) for index in pair]])
    return merged


@pytest.mark.parametrize("name", NAMES)
def test_an_example_has_at_most_60_lines(name):
    assert len((PROJECT / "examples" / f"{name}.py").read_text(encoding="utf-8").splitlines()) <= 60


def test_every_library_trains_on_the_sequence_of_the_plain_loop(alone):
    plain = alone["plain_pytorch"]["whole"]
    assert [epoch for epoch, _ in plain] == [0] * EPOCH + [1] * EPOCH + [2] * EPOCH
    for first in range(0, len(plain), EPOCH):
        assert sorted(index for _, batch in plain[first : first + EPOCH] for index in batch) == list(range(SAMPLES))
    for name in NAMES[1:]:
        assert alone[name]["whole"] == plain, name


def test_a_given_ranking_gives_the_sequence_of_the_sampler_itself(alone):
    scheduler = Heuristic(Pacing(start=0.5, grow_epochs=2))
    scores = np.random.default_rng(0).permutation(SAMPLES)
    sampler = SequenceSampler(SAMPLES, scheduler, 0, scores=scores, num_samples=SAMPLES)
    expected = []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        shown = list(sampler)
        expected += [[epoch, shown[first : first + BATCH]] for first in range(0, SAMPLES, BATCH)]
    for name in NAMES:
        assert alone[name]["heuristic"] == expected, name


@pytest.mark.parametrize("part", ["whole", "heuristic"])
def test_two_processes_train_on_the_global_batches_of_one(alone, two, part):
    for name in NAMES:
        assert global_batches(two, name, part) == alone[name][part], name


@pytest.mark.parametrize("name", NAMES)
def test_a_training_stopped_inside_an_epoch_resumes_at_its_checkpoint(name, alone, two):
    left = 6 if name in ("with_lightning", "with_trainer") else 7  # they count steps over epochs, the loops within one
    for found in (alone, *two):
        assert found[name]["before"] == found[name]["whole"][:31]
        assert found[name]["after"] == found[name]["whole"][-left:]


def test_an_example_prints_what_its_scores_found(alone):
    for name in NAMES:
        found = re.search(r"(\d+)% of the 48 lowest scores belong to contradicting samples", alone["printed"][name])
        assert int(found[1]) >= 80, name  # 25 % of the samples contradict
        assert "BSS-H showed 154 of 192 samples" in alone["printed"][name], name  # 192 - floor(192 * 0.2)


@pytest.mark.parametrize(
    ("case", "setting", "batches"),
    [
        ("Lightning shards", "Trainer(use_distributed_sampler=False), and pass rank= and ranks=", 0),
        ("Lightning overfits", "overfit_batches=0", 0),
        ("Accelerate shards", "leave rank= and ranks= out", 0),
        ("Accelerate dispatches", "leave rank= and ranks= out", 0),
        ("Trainer shards", "the Hugging Face Trainer always prepares its loader", 0),
        ("Trainer's own sampler", "return it from _get_train_sampler", 0),
        ("not gathered", "accelerator.gather((index, logits, loss))", EPOCH),
    ],
)
def test_a_replaced_sampler_or_a_second_sharding_is_an_error_that_names_the_setting(case, setting, batches, two):
    for found in two:
        message, passed = found["refusals"][case]  # of both processes, so none waits for the other
        assert setting in message
        assert passed == batches


def test_a_replaced_sampler_is_an_error_in_one_process_too(alone):
    for case, setting in (("Lightning overfits", "overfit_batches=0"), ("Trainer's own sampler", "_get_train_sampler")):
        message, passed = alone["refusals"][case]
        assert setting in message
        assert passed == 0


def test_processes_that_all_get_everything_are_warned_about(two):
    for found in two:
        (message,) = found["refusals"]["not sharded"]
        assert message == "each of 2 processes is given every sample: pass rank= and ranks= to the SequenceSampler"
