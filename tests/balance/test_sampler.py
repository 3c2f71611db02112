import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

from bss.balance import BalanceScore, Heuristic, Learned, Pacing, SequenceSampler, Uniform, WithIndex, smooth
from bss.balance.sampler_state import STATE

N = 37
SCORES = np.linspace(1, -1, N)
SCHEDULERS = {
    "uniform": Uniform(),
    "heuristic": Heuristic(Pacing(grow_epochs=4)),
    "learned": Learned(beta=0.6, every=2),
}


def observed(index, epoch):
    """Logits and losses that are a function of sample and epoch, as a deterministic training gives them."""
    angles = torch.as_tensor(index).double()[:, None] * torch.arange(1.0, 4.0) + epoch
    return {"a": angles.sin(), "b": angles.cos()}, angles.sum(dim=1).sin() + 1


def run_epoch(sampler, epoch, batch_size=8, stop_after=None):
    """Iterate like a loop without workers; return what it trained on."""
    sampler.set_epoch(epoch)
    trained = []
    for batch in DataLoader(range(sampler.n), batch_size=batch_size, sampler=sampler):
        trained += batch.tolist()
        sampler.observe(batch, *observed(batch, epoch))
        if stop_after is not None and len(trained) >= stop_after:
            break
    return trained


def run(sampler, epochs):
    return [run_epoch(sampler, epoch) for epoch in range(epochs)]


@pytest.mark.process
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("scheduler", SCHEDULERS.values(), ids=SCHEDULERS)
def test_any_number_of_workers_gives_the_identical_order(scheduler):
    dataset = WithIndex(TensorDataset(torch.arange(N)))
    orders = []
    for workers in (0, 2, 8):
        sampler = SequenceSampler(N, scheduler, 3, scores=SCORES)
        loader = DataLoader(dataset, batch_size=5, sampler=sampler, num_workers=workers)
        order = []
        for epoch in range(2):
            sampler.set_epoch(epoch)
            for index, x in loader:
                assert torch.equal(index, x)
                order += index.tolist()
        orders.append(order)
    assert orders[0] == orders[1] == orders[2]


@given(st.integers(1, 50), st.integers(1, 9), st.integers(0, 6))
def test_ranks_share_one_global_sequence(n, ranks, epoch):
    def shards(count):
        samplers = [
            SequenceSampler(n, Heuristic(Pacing(grow_epochs=4)), 1, scores=np.arange(n), rank=r, ranks=count)
            for r in range(count)
        ]
        for sampler in samplers:
            sampler.set_epoch(epoch)
        return [list(sampler) for sampler in samplers]

    (whole,) = shards(1)
    parts = shards(ranks)
    assert len({len(part) for part in parts}) == 1  # all ranks make the same number of steps
    merged = [index for step in zip(*parts, strict=True) for index in step]
    assert merged[: len(whole)] == whole
    assert set(merged[len(whole) :]) <= set(whole)  # the last ranks repeat samples, at most one each
    assert len(merged) - len(whole) < ranks


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", SCHEDULERS.values(), ids=SCHEDULERS)
@pytest.mark.parametrize("scores", [None, SCORES], ids=["warm-up", "given scores"])
@pytest.mark.parametrize("epoch", [0, 3, 5])
@pytest.mark.parametrize("stop_after", [8, 16, N])
def test_a_state_taken_inside_an_epoch_resumes_as_if_never_stopped(scheduler, scores, epoch, stop_after):
    def make():
        return SequenceSampler(N, scheduler, 3, scores=scores)

    unbroken = run(make(), 7)
    first = make()
    before = run(first, epoch)
    part = run_epoch(first, epoch, stop_after=stop_after)
    second = make()
    second.load_state_dict(first.state_dict())
    rest = run_epoch(second, epoch)
    third = make()  # and stopped a second time, between two epochs
    third.load_state_dict(second.state_dict())
    after = [run_epoch(third, later) for later in range(epoch + 1, 7)]
    assert [*before, part + rest, *after] == unbroken


@pytest.mark.process
def test_workers_read_ahead_so_the_loop_says_how_far_it_got():
    sampler, other = (SequenceSampler(N, SCHEDULERS["heuristic"], 3, scores=SCORES) for _ in range(2))
    sampler.set_epoch(4)
    other.set_epoch(4)
    whole = list(other)
    for batch in DataLoader(range(N), batch_size=5, sampler=sampler, num_workers=2):
        assert batch.tolist() == whole[:5]
        break
    resumed = SequenceSampler(N, SCHEDULERS["heuristic"], 3, scores=SCORES)
    resumed.load_state_dict(sampler.state_dict(position=5))
    resumed.set_epoch(4)
    assert len(resumed) == N - 5
    assert list(resumed) == whole[5:]
    with pytest.warns(match="iterated a second time"):
        assert list(resumed) == whole  # a second pass over the same epoch is whole again


def test_bss_l_measures_every_e_epochs_and_smooths():
    sampler = SequenceSampler(N, Learned(beta=0.25, every=2), 0, scores=SCORES)
    expected = SCORES
    for epoch in range(6):
        sampler.set_epoch(epoch)
        if epoch in (2, 4):  # from what was observed last, in the epoch before
            logits, loss = observed(np.arange(N), epoch - 1)
            p = {m: z.softmax(1).numpy() for m, z in logits.items()}
            norms = np.linalg.norm(p["a"], axis=1) * np.linalg.norm(p["b"], axis=1)
            values = {
                "prediction_similarity": (p["a"] * p["b"]).sum(1) / norms,
                "training_loss": loss.numpy(),
            }
            expected = smooth(expected, BalanceScore()(values), 0.25)
        np.testing.assert_allclose(sampler.scores, expected, atol=1e-6)
        for index in np.array_split(list(sampler), 4):
            sampler.observe(index, *observed(index, epoch))


def test_without_scores_the_first_epochs_are_uniform_and_then_the_ranking_stands():
    sampler = SequenceSampler(N, Heuristic(Pacing(start=0.2, grow_epochs=3)), 0, warmup_epochs=2)
    lengths, rankings = [], []
    for epoch in range(6):
        lengths.append(len(run_epoch(sampler, epoch)))
        rankings.append(None if sampler.scores is None else sampler.scores.copy())
    assert lengths[:2] == [N, N]
    assert lengths[2] < lengths[3] < lengths[5] == N
    assert rankings[1] is None
    np.testing.assert_array_equal(rankings[2], rankings[5])


def test_a_sample_that_a_loader_dropped_keeps_its_score():
    sampler = SequenceSampler(N, Learned(every=1, beta=1.0), 0, scores=SCORES)
    sampler.set_epoch(0)
    index = np.arange(N - 1)
    sampler.observe(index, *observed(index, 0))
    sampler.set_epoch(1)
    assert sampler.scores[-1] == SCORES[-1]
    assert not np.allclose(sampler.scores[:-1], SCORES[:-1])


def test_forgetting_to_observe_is_an_error_that_says_so():
    sampler = SequenceSampler(N, Learned(), 0, warmup_epochs=1)
    sampler.set_epoch(0)
    with pytest.raises(RuntimeError, match=r"call sampler\.observe"):
        sampler.set_epoch(1)


def test_a_curriculum_and_a_loader_that_drops_the_last_batch():
    sampler = SequenceSampler(N, Heuristic(Pacing(start=0.01)), 0, scores=SCORES, minimum=16)
    sampler.set_epoch(0)
    assert len(DataLoader(range(N), batch_size=16, sampler=sampler, drop_last=True)) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scores": SCORES[:-1]}, "one per sample of this dataset"),
        ({"scores": np.full(N, np.nan)}, "finite"),
        ({"labels": [0, 1]}, "one integer per sample"),
        ({"labels": np.eye(N)}, "one integer per sample"),
        ({"scheduler": Heuristic(stratified=True)}, "given for a stratified ranking"),
        ({"minimum": N + 1}, "lower the batch size"),
        ({"rank": 2, "ranks": 2}, "`rank` must be"),
        ({"warmup_epochs": 0}, "`warmup_epochs` must be"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        SequenceSampler(**({"n": N, "scheduler": Heuristic(), "seed": 0} | arguments))


@pytest.mark.parametrize("scheduler", [Learned, "learned", None])
def test_a_scheduler_that_is_none_is_refused_at_once(scheduler):
    with pytest.raises(TypeError, match=r"must be a Uniform\(\), Heuristic\(\) or Learned\(\)"):
        SequenceSampler(N, scheduler, 0)


def test_an_epoch_that_is_no_whole_number_is_refused():
    with pytest.raises(TypeError):
        SequenceSampler(N, Uniform(), 0).set_epoch(1.0)
    with pytest.raises(ValueError, match="`pacing` must be a Pacing"):
        Heuristic(0.1)


def test_forgetting_set_epoch_is_reported():
    sampler = SequenceSampler(N, Uniform(), 0)
    list(sampler)
    with pytest.warns(match=r"call sampler\.set_epoch"):
        next(iter(sampler))


def test_trimming_below_a_batch_is_an_error():
    sampler = SequenceSampler(N, Heuristic(trim=0.9), 0, scores=SCORES, minimum=16)
    with pytest.raises(ValueError, match="lower `trim` or the batch size"):
        sampler.set_epoch(0)


@pytest.mark.parametrize(
    ("index", "loss", "message"),
    [
        ([0, N], torch.zeros(2), "`index` must be within"),
        ([0, 1], torch.tensor(0.0), "is the loss reduced"),
        (torch.tensor([0.0, 1.0]), torch.zeros(2), "`index` must be integers"),
        (torch.tensor([True, False]), torch.zeros(2), "`index` must be integers"),
    ],
)
def test_wrong_observations(index, loss, message):
    sampler = SequenceSampler(N, Learned(), 0)
    logits = {"a": torch.zeros(2, 3), "b": torch.zeros(2, 3)}
    with pytest.raises(ValueError, match=message):
        sampler.observe(index, logits, loss)


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (
            [torch.zeros(2, 3)] * 2,
            r"`logits` must be a mapping of modality to its logits \[batch, classes\], but got: ",
        ),
        (
            {"a": torch.zeros(2), "b": torch.zeros(2)},
            r"needs a vector per sample, \[batch, d\], but got: \{'a': \(2,\)",
        ),
        ({"a": torch.zeros(3, 3), "b": torch.zeros(3, 3)}, r"one value per sample, \(2,\), but got: \(3,\)"),
    ],
)
def test_wrong_logits_are_one_message(logits, message):
    with pytest.raises(ValueError, match=message):
        SequenceSampler(N, Learned(), 0).observe([0, 1], logits, torch.zeros(2))


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (SCORES[1:], rf"must be {N} numbers, one per sample of this dataset, but got: \({N - 1},\)"),
        (np.where(np.arange(N) == 5, np.nan, SCORES), r"must be finite numbers; .*, but got: \[5\]"),
    ],
)
def test_wrong_scores_are_named(scores, message):
    with pytest.raises(ValueError, match="`scores` " + message):
        SequenceSampler(N, Heuristic(), 0, scores=scores)


@pytest.mark.parametrize("change", [{"seed": 4}, {"n": N + 1}, {"scheduler": Learned(beta=0.5)}])
def test_a_state_of_something_else_is_refused(change):
    arguments = {"n": N, "scheduler": Learned(beta=0.6), "seed": 3}
    state = SequenceSampler(**arguments).state_dict()
    with pytest.raises(ValueError, match=f"saved with {next(iter(change))}"):
        SequenceSampler(**(arguments | change)).load_state_dict(state)


def test_a_state_goes_through_a_file_that_is_read_without_unpickling(tmp_path):
    first = SequenceSampler(N, Learned(), 3, scores=SCORES)
    run_epoch(first, 0, stop_after=16)
    torch.save(first.state_dict(), tmp_path / "sampler.pt")
    second = SequenceSampler(N, Learned(), 3, scores=SCORES)
    second.load_state_dict(torch.load(tmp_path / "sampler.pt", weights_only=True))
    assert run_epoch(second, 0) == run_epoch(SequenceSampler(N, Learned(), 3, scores=SCORES), 0)[16:]
    assert run_epoch(second, 1) == run(SequenceSampler(N, Learned(), 3, scores=SCORES), 2)[1]


def test_a_state_has_the_keys_that_are_asked_for():
    sampler = SequenceSampler(N, Learned(), 3)
    assert set(sampler.state_dict()) == {*sampler._identity(), *STATE}


def test_batches_times_their_size_may_be_more_than_the_epoch_has():
    sampler = SequenceSampler(N, Uniform(), 3)
    state = sampler.state_dict(position=5 * 8)
    sampler.load_state_dict(state)
    assert len(sampler) == 0
    assert list(sampler) == []
    with pytest.raises(ValueError, match="`position` must be at least 0"):
        sampler.state_dict(position=-1)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"position": 10**6}, "`position` must be within 0 .. 37"), ({"position": -5}, "within 0 .. 37"), ({}, "epoch")],
)
def test_a_state_that_is_none_is_refused(change, message):
    sampler = SequenceSampler(N, Uniform(), 3)
    state = sampler.state_dict() | change
    if not change:
        del state["epoch"]
    with pytest.raises(ValueError, match=message):
        sampler.load_state_dict(state)


@given(st.integers(1, 60), st.integers(1, 6), st.integers(1, 6), st.integers(1, 4), st.integers(0, 30))
def test_another_number_of_ranks_resumes_where_the_first_stood(n, before, after, batch, steps):
    """Whole batches of one global size leave what both numbers of ranks share evenly."""
    size = before * after * batch  # of a global batch
    taken = min(steps * size // before, -(-n // before))  # by each rank, or all that there is
    states = []
    for rank in range(before):
        sampler = SequenceSampler(n, Uniform(), 1, rank=rank, ranks=before)
        sampler.set_epoch(2)
        states.append(sampler.state_dict(taken))
    shown = []
    for rank in range(after):
        sampler = SequenceSampler(n, Uniform(), 1, rank=rank, ranks=after)
        sampler.load_state_dict(states[rank % before])
        sampler.set_epoch(2)
        shown.append(list(sampler))
    whole = Uniform().sequence(n, 2, 1).tolist()
    left = whole[taken * before :]
    merged = [index for step in zip(*shown, strict=True) for index in step]
    assert merged[: len(left)] == left


def test_ranks_that_cannot_share_what_was_shown_say_so():
    sampler = SequenceSampler(N, Uniform(), 1, ranks=3)
    state = sampler.state_dict(position=5)
    with pytest.raises(ValueError, match="3 ranks had taken 15 samples of the epoch, which 2 ranks cannot divide"):
        SequenceSampler(N, Uniform(), 1, ranks=2).load_state_dict(state)


def test_a_state_without_what_other_ranks_observed_is_reported():
    first = SequenceSampler(N, Learned(), 1, scores=SCORES, rank=0, ranks=2)
    run_epoch(first, 0, stop_after=8)
    state = first.state_dict()
    SequenceSampler(N, Learned(), 1, scores=SCORES, rank=0, ranks=2).load_state_dict(state)
    with pytest.warns(match=r"only the observations of rank 0 of 2.*sampler\.share\(\)"):
        SequenceSampler(N, Learned(), 1, scores=SCORES, rank=1, ranks=2).load_state_dict(state)


def test_observing_by_places_in_the_batch_is_reported():
    sampler = SequenceSampler(N, Learned(), 0, scores=SCORES)
    sampler.set_epoch(0)
    for batch in DataLoader(range(N), batch_size=8, sampler=sampler):
        place = np.arange(len(batch))
        sampler.observe(place, *observed(place, 0))
    with pytest.warns(match="only 22% of the samples were observed before epoch 1"):
        sampler.set_epoch(1)


def train_on_one_rank(rank, ranks, store, results):
    """One process of a gloo group: observe only its own shard, return its shards and scores.

    In epoch 2 it stops, and all ranks resume from the state of rank 0.
    """
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=ranks)
    sampler = SequenceSampler(N, Learned(beta=0.6), 3, scores=SCORES, rank=rank, ranks=ranks)
    shards = [run_epoch(sampler, epoch, 2) for epoch in range(2)]
    part = run_epoch(sampler, 2, 2, stop_after=4)
    sampler.share()
    (state,) = states = [sampler.state_dict()]
    torch.distributed.broadcast_object_list(states)
    assert states[0]["rank"] == 0
    assert torch.equal(states[0]["observed"], state["observed"])
    sampler = SequenceSampler(N, Learned(beta=0.6), 3, scores=SCORES, rank=rank, ranks=ranks)
    sampler.load_state_dict(states[0])
    shards += [part + run_epoch(sampler, 2, 2), run_epoch(sampler, 3, 2)]
    results[rank] = (shards, sampler.scores.tolist())
    torch.distributed.destroy_process_group()


@pytest.mark.process
@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_exchange_what_they_observed(ranks, tmp_path):
    alone = SequenceSampler(N, Learned(beta=0.6), 3, scores=SCORES)
    expected = run(alone, 4)
    with torch.multiprocessing.Manager() as manager:
        results = manager.dict()
        torch.multiprocessing.spawn(train_on_one_rank, (ranks, tmp_path / "store", results), nprocs=ranks)
        found = dict(results)
    for epoch in range(4):
        merged = [i for step in zip(*(found[r][0][epoch] for r in range(ranks)), strict=True) for i in step]
        assert merged[:N] == expected[epoch]
    for rank in range(ranks):
        np.testing.assert_array_equal(found[rank][1], alone.scores)


def test_observing_leaves_values_on_their_device_until_they_are_needed_and_keeps_the_last_of_each_sample():
    sampler = SequenceSampler(5, Learned(), 0, scores=np.zeros(5), score=BalanceScore(("training_loss",)))
    logits = {"a": torch.zeros(3, 2), "b": torch.zeros(3, 2)}
    loss, index = torch.tensor([1.0, 2.0, 3.0], requires_grad=True), np.array([4, 0, 4])
    sampler.set_epoch(0)
    sampler.observe(index, logits, loss * 1)
    index[:] = 3  # a loop that uses its memory again
    with torch.no_grad():
        loss.fill_(9.0)
    assert len(sampler.observations._waiting) == 1
    sampler.record(np.array([0, 1]), {"training_loss": np.array([7.0, 8.0])})
    np.testing.assert_array_equal(sampler.observations.values["training_loss"], [7, 8, np.nan, np.nan, 3])
    assert sampler.observations.seen.tolist() == [True, True, False, False, True]
    assert not sampler.observations._waiting
    sampler.observations.clear()
    assert not sampler.observations.fresh
