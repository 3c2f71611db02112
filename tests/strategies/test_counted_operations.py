"""The count of operations is that of a fresh rehearsal in every epoch, however few rehearsals there are."""

import numpy as np
import pytest
from test_invariants import CASES, FIRST, TWO
from toy import SGD, Toy, contradicting, facts_of, mislabelled, network_for, start

from bss.balance.schedulers.uniform import UniformEntry as Uniform
from bss.strategies.agm import Agm
from bss.strategies.aug import Aug
from bss.strategies.mses import Mses
from bss.strategies.weights import Weighted
from bss.training.flops import EpochFlops
from bss.training.network_parts import parameter_groups
from bss.training.sequences import split_into_batches
from bss.training.steps import make_optimiser, train_epoch
from bss.training.strategy.head_facts import read_columns

EPOCHS = 5
GROWING = "aug that grows"
ALL_CASES = {**CASES, GROWING: Aug(width=4, every=1, threshold=0.0)}
REHEARSALS = {
    **dict.fromkeys(("mses", "smp", "g2d", "g2d published"), 2),  # with frozen parts, and without
    **dict.fromkeys(
        ("reconboost", "reconboost agreement", "smv", "smv modality", "smv to means"), 3
    ),  # each modality, and all
    **dict.fromkeys(("remix", "remix to means", "remix published"), 2),  # the warm-up, and one modality
    **dict.fromkeys(("pmr", "midas"), 2),  # the warm-up, and after it
    GROWING: EPOCHS,  # another branch in each
}
"""By case, where they are not one."""


def after_each_epoch(strategy, data):
    """Train, and yield the run and the epoch after each."""
    network = network_for(strategy, TWO)
    run = start(strategy, network, epochs=EPOCHS)
    optimiser = make_optimiser(network, SGD, parameter_groups(network))
    for epoch in range(EPOCHS):
        run.read = 0
        val = contradicting(data) if isinstance(strategy, Mses) else data
        run.begin_epoch(epoch, facts_of(run, {"train": data, "val": mislabelled(data) if strategy.clustered else val}))
        sequence = np.random.default_rng(epoch).permutation(len(data))
        run.arrange(sequence, lambda measure: read_columns(network, data, measure, run.ranks))
        batches = split_into_batches(run.shown(sequence), 8)
        train_epoch(network, optimiser, data, batches, None, None, run.ranks, seed=0, epoch=epoch, strategy=run)
        yield run, epoch, sum(map(len, batches))


@pytest.mark.parametrize(
    "case",
    [
        name if name in (GROWING, FIRST[strategy.kind]) else pytest.param(name, marks=pytest.mark.slow)
        for name, strategy in ALL_CASES.items()
        if not strategy.plain
    ],
)
def test_reused_rehearsals_count_the_same(case, monkeypatch):
    data, flops, rehearsals = Toy(TWO), None, []
    step = EpochFlops._step
    monkeypatch.setattr(EpochFlops, "_step", lambda self, *given: rehearsals.append(self) or step(self, *given))
    for run, epoch, samples in after_each_epoch(ALL_CASES[case], data):
        run.read = 3  # as if it had read so many samples
        flops = flops or EpochFlops(run.network, data)
        fresh = EpochFlops(run.network, data)
        assert flops(run, Uniform(), epoch, samples) == fresh(run, Uniform(), epoch, samples)
    assert sum(counter is flops for counter in rehearsals) == REHEARSALS.get(case, 1)


def test_more_passes_of_the_encoders_count():
    """Products of matrices alone, those of the backward pass too; inputs have no gradient."""
    encoder = 2 * (3 * 6 * 4 + 2 * 5 * 6)
    fusion = 2 * 3 * (2 * 4) * 3  # of one coalition
    counts = []
    for strategy in (Weighted(), Agm(window=(0.0, 1.0), zero="inputs")):
        data = Toy(TWO)
        (run, epoch, samples), *_ = after_each_epoch(strategy, data)
        counts.append(EpochFlops(run.network, data)(run, Uniform(), epoch, samples))
    plain, more = counts
    assert more - plain == samples * 2 * (2 * encoder + fusion)
