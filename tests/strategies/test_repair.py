"""Repair: what is judged wrong, what a hidden modality means for loss and fusion, and what is recorded."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import small_tree
from killed import Killed, killed_after_saving
from toy import CLASSES, Toy, make_network, setting_for, start

from bss.artifacts.plans import read_plan
from bss.artifacts.repairs import REPAIRS, read_repairs
from bss.balance import audit
from bss.config import config_to_tree
from bss.config.resources import CheckpointsConfig
from bss.data.store import Store
from bss.data.tables import read_table
from bss.errors import BssError
from bss.metrics.find import all_metrics
from bss.report.repairs import RepairedEpoch, repaired_epochs, repairs_table
from bss.report.results import Result
from bss.strategies import ALL, Draw, Seen, Weights
from bss.strategies import repair as module
from bss.strategies.repair import LEAST, NOTHING, Repair, judge
from bss.training.resume.checkpoints import Checkpoints
from bss.training.trial import train_trial

TWO = ("audio", "video")


def said_of(labels, classes, shown, sure=4.0, noise=1.0, seed=0):
    """Log probabilities [n, M, classes] of heads that see the classes `shown` [n, M]; NaN-free, and not too sure."""
    random = np.random.default_rng(seed)
    logits = noise * random.standard_normal((*shown.shape, classes)) + sure * np.eye(classes)[shown]
    return logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))


def faulty():
    """Labels, and what each of two modalities shows: 60 times another in the second, 60 times another in both."""
    classes = 6
    labels = np.arange(600) % classes
    shown = np.stack([labels, labels], axis=1)
    shown[:60, 1] = (labels[:60] + 1 + np.arange(60) % (classes - 1)) % classes
    wrong = (labels[60:120] + 1 + np.arange(60) % (classes - 1)) % classes
    shown[60:120] = wrong[:, None]
    return labels, shown


def test_each_fault_is_found_with_what_is_to_blame():
    labels, shown = faulty()
    modality, probability = judge(said_of(labels, 6, shown, sure=7.0), labels)
    expected = np.repeat([1, ALL, NOTHING], [60, 60, 480])
    assert (modality == expected).mean() > 0.99
    assert (probability[modality == NOTHING] == 0).all()
    assert (probability[modality != NOTHING] > 0.5).all()


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_hidden_of_clean_data(seed):
    labels = np.arange(600) % 6
    modality, _ = judge(said_of(labels, 6, np.stack([labels, labels], axis=1), seed=seed), labels)
    assert (modality == NOTHING).all()


@pytest.mark.parametrize("sure", [0.0, 0.3])
def test_a_modality_near_chance_is_left_alone(sure):
    """Although 40 % of the other modality are of another class, which the weak one cannot detect."""
    labels = np.arange(600) % 6
    shown = np.stack([labels, labels], axis=1)
    shown[:240, 0] = (labels[:240] + 1) % 6
    said = said_of(labels, 6, shown, sure=7.0)
    said[:, 1] = said_of(labels, 6, shown, sure=sure, noise=0.5, seed=1)[:, 1]
    modality, _ = judge(said, labels)
    assert (modality == NOTHING).all()


def test_a_class_that_a_modality_has_yet_to_learn_is_no_fault():
    labels = np.arange(600) % 6
    shown = np.stack([labels, np.where(labels == 2, 3, labels)], axis=1)
    modality, _ = judge(said_of(labels, 6, shown, sure=7.0), labels)
    assert (modality == NOTHING).all()


@pytest.mark.parametrize(("faults", "expected"), [(5, 0), (6, 6)])
def test_a_share_that_is_not_clear_of_zero_hides_nothing_however_sure_the_posterior(faults, expected):
    """The prior of five clean samples leaves 2.7 of 5 in 1,000, an interval from 0.9; of 6 are left 3.7, from 1.4."""
    labels = np.arange(1000) % 10
    shown = np.stack([labels, labels], axis=1)
    wrong = 11 * np.arange(faults)  # one of each class
    shown[wrong, 1] = (labels[wrong] + 3) % 10
    said = said_of(labels, 10, shown, sure=9.0)
    found = audit({"audio": said[:, 0], "video": said[:, 1]}, labels)
    assert np.flatnonzero(found.probability > LEAST).tolist() == wrong.tolist()
    modality, _ = judge(said, labels)
    assert np.flatnonzero(modality != NOTHING).tolist() == wrong[:expected].tolist()


def test_nothing_is_hidden_by_an_explanation_that_is_the_likeliest_but_no_likelier_than_a_half():
    labels, shown = faulty()
    said = said_of(labels, 6, shown, sure=1.8)
    posterior = audit({"audio": said[:, 0], "video": said[:, 1]}, labels).posterior
    unsure = (posterior.argmax(axis=1) > 0) & (posterior.max(axis=1) <= 0.5)
    assert unsure.any()
    modality, _ = judge(said, labels)
    assert (modality[unsure] == NOTHING).all()


def test_with_three_modalities_the_one_to_blame_is_named_although_another_is_no_witness():
    labels, shown = faulty()
    said = said_of(labels, 6, np.column_stack([labels, shown]), sure=7.0)
    said[:, 0] = said_of(labels, 6, labels[:, None], sure=0.2, noise=0.5, seed=1)[:, 0]  # near chance
    modality, _ = judge(said, labels)
    assert modality.tolist() == [2] * 60 + [ALL] * 60 + [NOTHING] * 480


def hidden(modality):
    """State in which something is hidden of the samples, as of positions."""
    return {"acts": True, "modality": torch.tensor(modality), "probability": torch.ones(len(modality))}


def seen_of(network, data, positions):
    ((inputs, labels),) = data.batches([np.array(positions)])
    outputs = network(inputs)
    features = network.activate(outputs.features)
    where = torch.tensor(positions)
    return Seen(features, outputs.logits, outputs.fused, labels, network.fuse, positions=where)


def test_the_loss_is_that_of_what_is_not_hidden():
    network, data = make_network(TWO), Toy(TWO)
    run = start(Repair(), network)
    context = replace(run.context, weights=Weights(1.0, {"audio": 0.5, "video": 2.0}))
    context.state = hidden([NOTHING, 0, ALL, 1, *[NOTHING] * 18])
    seen = seen_of(network, data, [2, 0, 3, 1])
    mixed = run.strategy.mix(context, seen, Draw(0, 0, 0, torch.device("cpu"), 1, 4))
    assert not mixed.heads
    (objective,) = run.strategy.objectives(
        context, replace(seen, features=mixed.features, fused=network.fuse(mixed.features))
    )
    entropy = torch.nn.functional.cross_entropy
    audio, video = (entropy(seen.logits[name], seen.labels, reduction="none") for name in TWO)
    without = [
        network.fuse({name: torch.zeros_like(x) if name == gone else x for name, x in seen.features.items()})
        for gone in TWO
    ]
    expected = torch.stack(
        [
            torch.zeros(()),
            entropy(seen.fused, seen.labels, reduction="none")[1] + 0.5 * audio[1] + 2 * video[1],
            entropy(without[1], seen.labels, reduction="none")[2] + 0.5 * audio[2],
            entropy(without[0], seen.labels, reduction="none")[3] + 2 * video[3],
        ]
    )
    torch.testing.assert_close(objective.loss, expected)


def test_replacing_takes_from_the_next_whole_sample_of_the_class():
    network, data = make_network(TWO), Toy(TWO)
    run = start(Repair(how="replace"), network)
    # Labels of the samples are their positions modulo 3.
    run.context.state = hidden([0, NOTHING, 1, 1, NOTHING, NOTHING, NOTHING, *[NOTHING] * 15])
    seen = seen_of(network, data, [6, 0, 3, 2, 1])
    mixed = run.strategy.mix(run.context, seen, Draw(0, 0, 0, torch.device("cpu"), 1, 5))
    assert seen.labels.tolist() == [0, 0, 0, 2, 1]
    audio, video = seen.features["audio"], seen.features["video"]
    assert torch.equal(mixed.features["audio"], audio[[0, 0, 2, 3, 4]])  # of sample 0, in place 1: that of sample 6
    expected = video.clone()
    expected[2], expected[3] = video[0], 0  # of sample 3: that of sample 6; there is no whole one for sample 2
    assert torch.equal(mixed.features["video"], expected)
    ignored = torch.zeros(5, 2, dtype=torch.bool)
    ignored[0, 1] = True  # by a decision about sample 6, which then gives nothing
    mixed = run.strategy.mix(run.context, replace(seen, ignored=ignored), Draw(0, 0, 0, torch.device("cpu"), 1, 5))
    assert not mixed.features["audio"][1].any()
    assert not mixed.features["video"][2].any()


def test_what_heads_say_is_smoothed_from_the_last_epoch_of_the_warm_up_on(monkeypatch):
    given = []
    monkeypatch.setattr(module, "judge", lambda said, labels: given.append((said, labels)) or _nothing(labels))
    run = start(Repair(warm_up=2, smoothing=0.75), make_network(TWO))
    values = [np.full((22, 2 * CLASSES), value) for value in (1.0, 2.0, 6.0, 10.0)]
    values[1][3] = values[2][4] = np.nan  # not shown in that epoch
    for epoch, measured in enumerate(values, 1):
        run.context.epoch = epoch
        run.strategy.arrange(run.context, np.arange(22), measured, np.random.default_rng(0))
    assert [len(said) for said, _ in given] == [21, 22, 22]
    first, second, third = (said.reshape(len(said), -1)[:, 0] for said, _ in given)
    assert (first == 2).all()
    assert second.tolist() == [3, 3, 3, 6, 2, *[3] * 17]  # 0.75 * 2 + 0.25 * 6; new; not seen
    assert third[[0, 3, 4]].tolist() == [4.75, 7, 4]


@pytest.mark.parametrize("full", [False, True])
def test_what_is_judged_is_where_steps_read_it(full):
    """A device without values stands for a GPU."""
    run = start(Repair(warm_up=1, measuring="full" if full else "online"), make_network(TWO))
    said = torch.zeros(22, 2 * CLASSES)
    if not full:
        run.observed.record(np.arange(22), said, 0)
    run.device, run.context.epoch = torch.device("meta"), 1
    run.arrange(np.arange(22), lambda measure: said.double().numpy())
    assert run.context.state["modality"].device == run.device


def _nothing(labels):
    return np.full(len(labels), NOTHING), np.zeros(len(labels))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modalities": ("audio",)}, r"network\.encoders"),
        ({"fusion": "channel-exchange"}, r"network\.fusion\.kind"),
    ],
)
def test_what_it_does_not_go_with_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Repair().check(replace(setting_for(make_network(TWO)), **changes))


@pytest.mark.parametrize("wrong", [{"warm_up": 0}, {"smoothing": 1.0}, {"smoothing": -0.1}])
def test_parameters_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Repair(**wrong)


def judged(said, labels):
    """Hide the picture, number 1, of samples of class 0, and leave out those of class 1 that are surest wrong."""
    modality = np.where(labels == 0, 1, NOTHING)
    worst = np.flatnonzero(labels == 1)[said[labels == 1, 0, 1].argmin()]
    modality[worst] = ALL
    return modality, np.where(modality == NOTHING, 0.0, 0.75)


@pytest.fixture
def trained(pipeline, small_root, small_store, make_config, tmp_path, monkeypatch):
    """Train with a scheduler and a repair whose judgement is `judged`; return the folder."""
    monkeypatch.setattr(module, "judge", judged)
    store, plans = Store.open(small_store), pipeline[0] / "plans"

    def run(strategy, checkpoints=None, scheduler="bss-h"):
        config = make_config(small_tree(small_root))
        plan = read_plan(plans, scheduler, 0, store, config_to_tree(config.schedule.schedulers[scheduler]))
        folder = tmp_path / f"trial-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        train_trial(
            config, store, plan, scheduler, 0, folder, lambda row: None, checkpoints=checkpoints, strategy=strategy
        )
        return folder

    return run


FILES = ("history.csv", "metrics.json", "model.pt", "predictions.parquet", "sequences.parquet", REPAIRS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("measuring", "scheduler"), [("online", "bss-h"), ("full", "bss-h"), ("online", "bss-l-online"), ("full", "bss-l")]
)
def test_stopped_in_mid_epoch_it_hides_and_records_the_same(measuring, scheduler, trained, small_store, tmp_path):
    """Also if the schedule is learned, from observations or passes of its own."""
    strategy = Repair(measuring=measuring, warm_up=1)
    whole = trained(strategy, scheduler=scheduler)
    table = read_table(whole / REPAIRS, "train")
    store = Store.open(small_store)
    rows = store.rows("train")
    first = [i for i, e in zip(table["index"].to_pylist(), table["epoch"].to_pylist(), strict=True) if e == 1]
    assert 0 not in table["epoch"].to_pylist()  # the warm-up
    assert set(first) <= set(rows.tolist())
    kinds = dict(zip(table["index"].to_pylist(), table["kind"].to_pylist(), strict=True))
    assert {store.labels[i] for i, kind in kinds.items() if kind == "contradiction"} == {0}
    assert {store.labels[i] for i, kind in kinds.items() if kind == "label"} == {1}
    assert set(table["modality"].to_pylist()) == {list(store.modalities)[1], None}
    assert set(table["probability"].to_pylist()) == {0.75}
    history = (whole / "history.csv").read_text().splitlines()
    column = history[0].split(",").index("train/hidden")
    shares = [float(line.split(",")[column]) for line in history[1:]]
    counts = np.bincount(table["epoch"].to_numpy(), minlength=len(shares))
    assert shares == pytest.approx((counts / len(rows)).tolist())
    assert shares[-1] > 0
    settings = CheckpointsConfig(minutes=None, steps=1)
    with killed_after_saving(lambda steps: steps in (1, 4)):
        for _ in range(2):
            with pytest.raises(Killed):
                trained(strategy, Checkpoints(tmp_path / "checkpoints", "key", settings), scheduler)
    resumed = trained(strategy, Checkpoints(tmp_path / "checkpoints", "key", settings), scheduler)
    for name in FILES:
        assert (resumed / name).read_bytes() == (whole / name).read_bytes(), name


def test_without_such_a_strategy_nothing_is_recorded(trained):
    folder = trained(None)
    assert not (folder / REPAIRS).exists()
    head, first, *_ = (folder / "history.csv").read_text().splitlines()
    assert first.split(",")[head.split(",").index("train/hidden")] == ""
    assert any(metric.name == "hidden" for metric in all_metrics())


class FakeStore:
    """Train has the rows 1 to 4; 1 and 2 are wrong."""

    modalities = ("audio", "video")
    ids = np.array(["v", "a", "b", "c", "d"])

    def __init__(self, known=True):
        self.known = known

    def rows(self, split):
        return np.array([1, 2, 3, 4])

    def truth(self):
        return (
            dict(zip("vabcd", ["clean", "label", "contradicting", "clean", "clean"], strict=True))
            if self.known
            else None
        )


def test_the_report_counts_what_is_truly_wrong(tmp_path):
    from bss.artifacts.repairs import write_repairs

    rows, none = np.array([1, 2, 3, 4]), (np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0))
    both = (np.array([0, 1]), np.array([ALL, 1]), np.array([0.9, 0.8]))
    write_repairs(
        tmp_path / REPAIRS,
        [none, both, (np.array([1, 2, 3]), np.array([0, 0, 0]), np.ones(3))],
        rows,
        ["audio", "video"],
    )
    results = {
        "uniform+repair": [Result({}, {"train/loss": [1.0, 1.0, 1.0]}, 1.0, tmp_path)],
        "uniform": [Result({}, {"train/loss": [1.0, 1.0, 1.0]}, 1.0, tmp_path / "no-folder")],
    }
    found = repaired_epochs(results, FakeStore())
    assert found == {
        "uniform+repair": [
            RepairedEpoch(0.0, 0.0, None, 0.0),
            RepairedEpoch(0.5, 0.25, 1.0, 1.0),
            RepairedEpoch(0.75, 0.0, pytest.approx(1 / 3), 0.5),
        ]
    }
    assert repairs_table(found).rows == [
        ["uniform+repair", "2", "50.0 %", "50.0 %", "100.0 %", "100.0 %"],
        ["uniform+repair", "3", "75.0 %", "0.0 %", "33.3 %", "50.0 %"],
    ]
    assert repaired_epochs(results, FakeStore(known=False))["uniform+repair"][1] == RepairedEpoch(0.5, 0.25, None, None)
    assert read_repairs(tmp_path / REPAIRS, rows, ["audio", "video"]).modality[:2] == [None, "video"]
    with pytest.raises(BssError, match="names samples or modalities that train does not have"):
        read_repairs(tmp_path / REPAIRS, rows[:2], ["audio", "video"])
