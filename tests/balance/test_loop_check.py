"""Loaders of every kind give the planned sequence, and a loop that trains on anything else is an error."""

import warnings

import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Subset,
    TensorDataset,
)

from bss.balance import Heuristic, Learned, Pacing, SequenceSampler, Uniform, WithIndex
from bss.balance.loop_check import find_run

N = 40
SCORES = np.random.default_rng(0).random(N)
DATA = TensorDataset(torch.arange(N) * 10)


def make(**options):
    return SequenceSampler(N, Heuristic(Pacing(start=0.5, grow_epochs=2)), 0, scores=SCORES, **options)


def planned(epoch, **options):
    sampler = make(**options)
    sampler.set_epoch(epoch)
    return sampler.sequence.tolist()


def trained(loader, sampler, epochs=3):
    """Check every batch, as a loop does; return the batches of each epoch."""
    shown = []
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        shown.append([])
        for index, value in loader:
            sampler.check(index)
            assert torch.equal(index * 10, value)
            shown[-1].append(index.tolist())
    return shown


def in_batches(sequence, size):
    return [sequence[first : first + size] for first in range(0, len(sequence), size)]


def loader_of(sampler, kind="sampler"):
    if kind == "sampler":
        return DataLoader(WithIndex(DATA), batch_size=8, sampler=sampler)
    return DataLoader(WithIndex(DATA), batch_sampler=BatchSampler(sampler, 8, drop_last=False))


@pytest.mark.parametrize("kind", ["sampler", "batch sampler"])
def test_loaders_give_the_planned_batches(kind):
    sampler = make()
    shown = trained(loader_of(sampler, kind), sampler)
    assert shown == [in_batches(planned(epoch), 8) for epoch in range(3)]
    assert [len(sequence) for sequence in map(planned, range(3))] == [20, 31, 40]  # 40 * sqrt(1/4 + 3/4 * t/2)


def test_a_dropped_last_batch():
    sampler = make(minimum=8)
    shown = trained(DataLoader(WithIndex(DATA), batch_size=8, sampler=sampler, drop_last=True), sampler)
    assert shown == [in_batches(planned(epoch), 8)[: size // 8] for epoch, size in enumerate((20, 31, 40))]


@pytest.mark.process
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_persistent_workers_get_each_epoch_s_sequence():
    sampler = make()
    loader = DataLoader(WithIndex(DATA), batch_size=8, sampler=sampler, num_workers=2, persistent_workers=True)
    assert trained(loader, sampler) == [in_batches(planned(epoch), 8) for epoch in range(3)]


def test_subset_and_concat_inside_with_index():
    places = np.random.default_rng(1).permutation(N)[:30]
    whole = ConcatDataset([Subset(DATA, range(10)), Subset(DATA, range(10, N))])
    subset = WithIndex(Subset(whole, places.tolist()))
    sampler = SequenceSampler(len(subset), Uniform(), 0)
    sampler.set_epoch(1)
    shown = []
    for index, value in DataLoader(subset, batch_size=7, sampler=sampler):
        sampler.check(index)
        assert value.tolist() == (places[index.numpy()] * 10).tolist()
        shown += index.tolist()
    assert shown == sampler.sequence.tolist()
    assert sorted(shown) == list(range(30))


@pytest.mark.parametrize("wrap", ["subset", "concat"])
def test_with_index_inside_is_an_error_of_the_check(wrap):
    indexed = WithIndex(DATA)
    data = Subset(indexed, [*range(1, N), 0]) if wrap == "subset" else ConcatDataset([Subset(indexed, range(20))] * 2)
    sampler = make()
    index, _ = next(iter(DataLoader(data, batch_size=8, sampler=sampler)))
    with pytest.raises(RuntimeError, match="put WithIndex around Subset and ConcatDataset"):
        sampler.check(index)


class Stream(IterableDataset):
    def __iter__(self):
        return iter(range(N))

    def __len__(self):
        return N


class NoLength:
    def __getitem__(self, index):
        return index


def test_iterable_datasets_are_refused_with_the_reason():
    with pytest.raises(TypeError, match="Stream gives its samples in an order of its own, so no sampler can order"):
        WithIndex(Stream())
    with pytest.raises(TypeError, match="generator gives its samples in an order of its own"):
        WithIndex(x for x in range(3))
    with pytest.raises(TypeError, match="NoLength has no __len__"):
        WithIndex(NoLength())
    with pytest.raises(ValueError, match="sampler"):  # torch's own refusal, for a loader without WithIndex
        DataLoader(Stream(), sampler=make())


def test_a_loader_with_another_sampler_fails_at_the_first_batch():
    sampler = make()
    sampler.set_epoch(0)
    batches = iter(DataLoader(WithIndex(DATA), batch_size=8, sampler=RandomSampler(DATA)))
    with pytest.raises(RuntimeError, match="the loader does not use this SequenceSampler"):
        sampler.check(next(batches)[0])


def test_observing_what_a_replaced_sampler_gave_is_an_error_at_the_first_batch():
    sampler = SequenceSampler(N, Learned(), 0)
    logits = {name: torch.zeros(8, 3) for name in "ab"}
    with pytest.raises(RuntimeError, match="_get_train_sampler"):
        sampler.observe(torch.arange(8), logits, torch.zeros(8))
    looked_at = SequenceSampler(N, Learned(), 0)
    next(iter(looked_at))  # a loop that forgot set_epoch, which other messages are about
    looked_at.observe(torch.arange(8), logits, torch.zeros(8))


def test_a_batch_that_is_left_out_is_an_error_except_at_the_start():
    sampler = make()
    sampler.set_epoch(2)
    batches = list(BatchSampler(sampler, 8, drop_last=False))
    sampler.check(batches[1])  # a trainer that resumed by skipping a batch
    sampler.check(batches[2])
    with pytest.raises(RuntimeError, match=r"come later: .*drops batches"):
        sampler.check(batches[4])
    with pytest.raises(RuntimeError, match="the loader does not use this SequenceSampler"):
        sampler.check(batches[3][::-1])
    sampler.check([])
    sampler.check(batches[3])
    with pytest.raises(ValueError, match=r"`index` must be within 0 \.\. 39"):
        sampler.check([N])


def test_a_resumed_epoch_is_checked_from_its_position():
    first, second = make(), make()
    first.set_epoch(2)
    second.load_state_dict(first.state_dict(position=16))
    second.set_epoch(2)
    shown = []
    for index, _ in DataLoader(WithIndex(DATA), batch_size=8, sampler=second):
        second.check(index)
        shown += index.tolist()
    assert shown == planned(2)[16:]


@pytest.mark.parametrize("ranks", [1, 3, 7])
def test_each_rank_is_checked_against_its_share_with_the_samples_it_repeats(ranks):
    for rank in range(ranks):
        sampler = make(rank=rank, ranks=ranks)
        for epoch in range(3):
            sampler.set_epoch(epoch)
            for batch in in_batches(list(sampler), 4):
                sampler.check(batch)


def test_a_run_is_found_by_an_independent_search():
    rng = np.random.default_rng(0)
    for _ in range(200):
        sequence = rng.integers(0, 3, size=9)
        run, start, reach = rng.integers(0, 3, size=2), int(rng.integers(0, 12)), int(rng.integers(0, 9))
        cyclic = sequence.tolist() * 5
        places = [p for p in range(start, start + reach + 1) if cyclic[p : p + 2] == run.tolist()]
        assert find_run(lambda at, of=sequence: of[at % 9], run, start, reach) == (places[0] if places else None)


class Wrapper(DistributedSampler):
    """As libraries wrap samplers: the sampler's indices, sharded by positions."""

    def __iter__(self):
        shown = list(self.dataset)
        return (shown[place] for place in super().__iter__())


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_distributed_sampler_around_it_is_an_error(ranks):
    wrapper = Wrapper(make(ranks=ranks), num_replicas=2, rank=0)
    with pytest.raises(RuntimeError, match=r"use_distributed_sampler=False\), and pass rank= and ranks="):
        next(iter(DataLoader(DATA, batch_size=4, sampler=wrapper)))


def test_loops_in_one_process_cause_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sampler = make()
        trained(loader_of(sampler), sampler)
