"""Epochs of one length, and warnings about epochs that a loop cut short."""

import warnings
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from bss.balance import Heuristic, Learned, Pacing, SequenceSampler, Uniform
from bss.balance.fixed_length import fit_length

N = 100
SCORES = np.random.default_rng(0).random(N)
LENGTHS = [20, 52, 72, 87, 100, 100]
"""Of the epochs of `make`: floor(100 * sqrt(0.04 + 0.96 * t / 4)), the root pacing by hand."""


def make(scheduler=None, **options):
    scheduler = scheduler or Heuristic(Pacing(start=0.2, grow_epochs=4))
    return SequenceSampler(N, scheduler, seed=0, scores=SCORES, **options)


def epochs_of(sampler, epochs, first=0):
    shown = []
    for epoch in range(first, epochs):
        sampler.set_epoch(epoch)
        shown.append(list(sampler))
    return shown


def messages(caught):
    return [str(warning.message) for warning in caught]


@pytest.fixture
def caught():
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        yield found


@given(st.integers(1, 40), st.integers(0, 130), st.integers(0, 5), st.integers(0, 5))
def test_a_fixed_length_repeats_every_sample_equally_often(m, length, seed, epoch):
    sequence = np.random.default_rng(m).permutation(m) + 7
    fitted = fit_length(sequence, length, seed, epoch)
    assert len(fitted) == length
    assert fitted.dtype == sequence.dtype
    np.testing.assert_array_equal(fitted[:m], sequence[:length])
    passes, rest = divmod(length, m)
    for number in range(passes):
        assert sorted(fitted[number * m : (number + 1) * m]) == sorted(sequence)
    counts = Counter(fitted.tolist())
    assert sorted(counts[index] for index in sequence.tolist()) == [passes] * (m - rest) + [passes + 1] * rest
    np.testing.assert_array_equal(fitted, fit_length(sequence, length, seed, epoch))


def test_repetitions_differ_by_pass_epoch_and_seed():
    sequence = np.arange(50)
    orders = [fit_length(sequence, 200, seed, epoch).reshape(4, 50) for seed in (0, 1) for epoch in (0, 1)]
    drawn = [tuple(order) for passes in orders for order in passes[1:].tolist()]
    assert len(set(drawn)) == 12


@pytest.mark.parametrize("scheduler", [None, Uniform(), Learned()], ids=["heuristic", "uniform", "learned"])
@pytest.mark.parametrize("num_samples", [1, 33, 100])
def test_every_epoch_has_num_samples_and_begins_as_without(scheduler, num_samples):
    plain, fixed = epochs_of(make(scheduler), 6), epochs_of(make(scheduler, num_samples=num_samples), 6)
    assert [len(epoch) for epoch in fixed] == [num_samples] * 6
    for without, epoch in zip(plain, fixed, strict=True):
        assert epoch[: len(without)] == without[:num_samples]
        assert set(epoch) <= set(without)  # nothing that the curriculum has not opened


def test_len_is_num_samples_before_and_after_set_epoch():
    sampler = make(num_samples=60)
    loader = DataLoader(range(N), batch_size=10, sampler=sampler)
    assert len(loader) == 6
    for epoch in range(6):
        sampler.set_epoch(epoch)
        assert len(loader) == 6
        assert len(list(loader)) == 6


@pytest.mark.parametrize("ranks", [2, 3, 7])
def test_ranks_share_an_epoch_of_fixed_length(ranks):
    whole = epochs_of(make(num_samples=N), 3)
    parts = [epochs_of(make(num_samples=N, rank=rank, ranks=ranks), 3) for rank in range(ranks)]
    for epoch in range(3):
        assert {len(part[epoch]) for part in parts} == {-(-N // ranks)}
        merged = [index for step in zip(*(part[epoch] for part in parts), strict=True) for index in step]
        assert merged[:N] == whole[epoch]


def test_a_state_taken_in_the_repeated_part_resumes_exactly():
    unbroken = epochs_of(make(num_samples=N), 3)
    first = make(num_samples=N)
    first.set_epoch(0)
    iterator = iter(first)
    before = [next(iterator) for _ in range(57)]
    second = make(num_samples=N)
    second.load_state_dict(first.state_dict())
    assert len(second) == N  # a whole epoch's, for trainers that ask once
    assert [before + list(second), *epochs_of(second, 3, first=1)] == unbroken


def test_a_trainer_that_loads_the_state_of_a_whole_epoch_plans_whole_epochs():
    first = make(num_samples=N)
    epochs_of(first, 2)
    second = make(num_samples=N)
    second.load_state_dict(first.state_dict())
    loader = DataLoader(range(N), batch_size=10, sampler=second)
    assert len(loader) == 10
    second.set_epoch(2)
    assert sum(len(batch) for batch in loader) == N


def test_a_state_of_another_length_is_refused_and_one_from_before_the_option_taken():
    for mine, theirs in ((None, 60), (60, None), (60, 61)):
        with pytest.raises(ValueError, match="saved with num_samples"):
            make(num_samples=mine).load_state_dict(make(num_samples=theirs).state_dict())
    old = make().state_dict()
    del old["num_samples"]
    make().load_state_dict(old)
    with pytest.raises(ValueError, match="saved with num_samples"):
        make(num_samples=60).load_state_dict(old)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_samples": 0}, "`num_samples` must be 1 to the 100 samples"),
        ({"num_samples": 101}, "`num_samples` must be 1 to the 100 samples"),
        ({"num_samples": 15, "minimum": 16}, "`num_samples` must be 16 to the 100 samples"),
    ],
)
def test_a_length_out_of_range_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def cut_like_a_trainer(sampler, batch_size=10, epochs=6, **options):
    """Train as Lightning and transformers do: the number of batches is asked for once, before the first epoch."""
    loader = DataLoader(range(N), batch_size=batch_size, sampler=sampler, **options)
    batches, shown = len(loader), []
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        taken = [batch for batch, _ in zip(loader, range(batches), strict=False)]
        shown.append(sum(len(batch) for batch in taken))
    return shown


def test_a_trainer_that_asked_before_set_epoch_shows_whole_epochs_without_a_warning(caught):
    assert cut_like_a_trainer(make()) == LENGTHS
    assert messages(caught) == []


def test_a_trainer_that_asked_after_set_epoch_is_warned_about_once(caught):
    sampler = make()
    sampler.set_epoch(0)
    assert cut_like_a_trainer(sampler) == [20] * 6
    (message,) = messages(caught)
    # zip() takes one batch more than it gives.
    assert message.startswith("epoch 1 ended after 30 of 52 samples.")
    assert "num_samples=" in message
    assert caught[0].filename == __file__


def test_with_num_samples_it_does_not_matter_when_the_length_is_asked_for(caught):
    sampler = make(num_samples=N)
    sampler.set_epoch(0)
    assert cut_like_a_trainer(sampler) == [100] * 6
    assert messages(caught) == []


@pytest.mark.process
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("options", [{}, {"num_workers": 2}, {"num_workers": 2, "prefetch_factor": 8}])
def test_worker_processes_that_read_ahead_cause_no_warning(options, caught):
    sampler = make()
    for epoch in range(3):
        sampler.set_epoch(epoch)
        for _ in DataLoader(range(N), batch_size=10, sampler=sampler, **options):
            pass
    assert [text for text in messages(caught) if "ended after" in text] == []


def test_a_dropped_last_batch_that_minimum_announces_causes_no_warning(caught):
    sampler = make(minimum=10)
    loader = DataLoader(range(N), batch_size=10, sampler=sampler, drop_last=True)
    for epoch in range(6):
        sampler.set_epoch(epoch)
        # A loop that stops after len(loader) batches and never asks for the end.
        iterator = iter(loader)
        for _ in range(len(loader)):
            next(iterator)
    assert messages(caught) == []


def test_a_break_is_warned_about_once(caught):
    sampler = make()
    for epoch in range(4):
        sampler.set_epoch(epoch)
        next(iter(sampler))
    assert [text[:34] for text in messages(caught)] == ["epoch 0 ended after 1 of 20 sample"]


def test_a_batch_taken_to_look_at_causes_no_warning(caught):
    sampler = make()
    next(iter(sampler))  # before the first epoch
    sampler.set_epoch(0)
    next(iter(sampler))  # before the epoch's own iteration
    list(sampler)
    sampler.set_epoch(1)
    assert messages(caught) == []


def test_epochs_that_are_only_planned_cause_no_warning(caught):
    sampler = make()
    for epoch in range(6):
        sampler.set_epoch(epoch)
    assert messages(caught) == []


@pytest.mark.parametrize("position", [0, 30, 52])
def test_resuming_at_the_epoch_of_the_state_causes_no_warning(position, caught):
    first = make()
    first.set_epoch(1)
    state = first.state_dict(position=position)
    second = make()
    second.load_state_dict(state)
    second.set_epoch(second.epoch)
    assert len(list(second)) == 52 - position
    second.set_epoch(2)
    assert messages(caught) == []


def test_ranks_that_show_their_share_cause_no_warning(caught):
    for rank in range(3):
        epochs_of(make(rank=rank, ranks=3), 3)
    assert messages(caught) == []


def test_an_epoch_that_goes_back_is_warned_about_once(caught):
    first = make()
    epochs_of(first, 4)
    second = make()
    second.load_state_dict(first.state_dict())
    second.set_epoch(0)  # a loop over range(epochs), after a state was loaded
    list(second)
    second.set_epoch(3)
    second.set_epoch(1)
    (message,) = messages(caught)
    assert message.startswith("the epoch goes back from 3 to 0,")
    assert "load_state_dict" in message


def test_samples_that_were_not_observed_are_counted_with_a_hint_at_ranks():
    sampler = SequenceSampler(N, Learned(), seed=0, scores=SCORES)
    sampler.set_epoch(0)
    half = list(sampler)[:50]
    logits = {name: torch.randn(50, 4) for name in "ab"}
    sampler.observe(half, logits, torch.rand(50))
    with pytest.warns(match=r"only 50% of the samples were observed .* `rank` and `ranks`"):
        sampler.set_epoch(1)
