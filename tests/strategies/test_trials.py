"""Strategies in whole trials on the small data: resuming, what is saved, what is refused."""

import csv
import functools
import io
import json
from dataclasses import replace

import pytest
import torch
from conftest import small_tree
from killed import Killed, killed_after_saving
from test_invariants import CASES, NEUTRAL

from bss.artifacts.plans import read_plan
from bss.config import config_to_tree
from bss.config.combinations import strategy_warnings
from bss.config.decay import StepDecay
from bss.config.resources import CheckpointsConfig
from bss.data.store import Store
from bss.errors import BssError
from bss.stages.train import train
from bss.strategies.gblending import GBlending
from bss.strategies.longer import Longer
from bss.strategies.mla import Mla
from bss.strategies.mslr import Mslr
from bss.strategies.none import Plain
from bss.strategies.ogm import Ogm
from bss.strategies.smp import Smp
from bss.tracking.columns import final_values
from bss.training.initial_network import initial_network
from bss.training.resume.checkpoints import Checkpoints
from bss.training.strategy.check_needs import check_needs
from bss.training.strategy.start import Teachers, config_for
from bss.training.trial import train_trial

SAME = ("history.csv", "metrics.json", "model.pt", "network.json", "predictions.parquet", "sequences.parquet")


@pytest.fixture
def trained(pipeline, small_root, small_store, make_config, tmp_path):
    """Train a strategy with BSS-L online; return what its folder holds."""
    store, plans = Store.open(small_store), pipeline[0] / "plans"

    def run(strategy, checkpoints=None, name="bss-l-online", **changes):
        config = make_config(small_tree(small_root))
        config = replace(config, train=replace(config.train, **changes))
        plan = read_plan(plans, name, 0, store, config_to_tree(config.schedule.schedulers[name]))
        folder = tmp_path / f"trial-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        teachers = None
        if strategy is not None and strategy.taught:  # of another seed, and not trained
            network = initial_network(config, store, 1, torch.device("cpu"))
            teachers = Teachers(network.eval().requires_grad_(False), 3, 40, 10**6, 1.5)
        train_trial(
            config,
            store,
            plan,
            name,
            0,
            folder,
            lambda row: None,
            checkpoints=checkpoints,
            strategy=strategy,
            teachers=teachers,
        )
        return {file: (folder / file).read_bytes() for file in SAME}

    return run


RESUMED = [name for name in CASES if name not in ("none", "gradients x3", "4 x unimodal", "label smoothing")]


@pytest.mark.slow
@pytest.mark.parametrize("case", RESUMED)
def test_stopped_in_mid_epoch_it_ends_with_the_same_bytes(case, trained, tmp_path):
    whole = trained(CASES[case])
    settings = CheckpointsConfig(minutes=None, steps=1)
    with killed_after_saving(lambda steps: steps in (4, 8)):
        for _ in range(2):  # after the first step of the second epoch, and the second of the third
            with pytest.raises(Killed):
                trained(CASES[case], Checkpoints(tmp_path / "checkpoints", "key", settings))
    assert trained(CASES[case], Checkpoints(tmp_path / "checkpoints", "key", settings)) == whole


def test_none_is_plain_training_and_so_is_a_neutral_strategy(trained):
    plain = trained(None)
    assert trained(Plain()) == plain
    assert trained(NEUTRAL["ogm outside"]) == plain


def test_a_longer_training_is_plain_training_with_more_epochs(trained):
    longer = trained(Longer(times=1.5), epochs=4, decay=StepDecay((2,), 0.1))
    assert longer == trained(None, epochs=6, decay=StepDecay((3,), 0.1))
    flops = [json.loads(made["metrics.json"])["flops"] for made in (longer, trained(None, epochs=4))]
    assert flops[0] == 1.5 * flops[1]


def test_what_a_training_cost_is_the_sum_of_its_epochs_and_of_its_teachers(trained):
    for strategy, (steps, flops) in ((None, (0, 0)), (CASES["umt"], (3, 10**6))):
        made = trained(strategy)
        history = list(csv.DictReader(io.StringIO(made["history.csv"].decode())))
        metrics = json.loads(made["metrics.json"])
        assert metrics["steps"] == sum(int(row["schedule/steps"]) for row in history) + steps
        assert metrics["flops"] == sum(int(row["train/flops"]) for row in history) + flops
        assert final_values(metrics)["flops"] == metrics["flops"]  # one rule for MLflow and the report


def test_what_is_not_trained_takes_no_part_in_the_prediction_of_the_saved_network(trained):
    made = trained(CASES["fused only"])
    assert json.loads(made["network.json"])["network"]["prediction"] == "fused"
    made = trained(CASES["independent"])
    assert json.loads(made["network.json"])["network"]["prediction"] == "unimodal-heads"


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_in_bf16_it_stays_finite(case, trained):
    made = trained(CASES[case], precision="bf16", accumulate=2)
    assert b"nan" not in made["history.csv"]


@pytest.fixture
def without_val(monkeypatch):
    rows = Store.rows
    monkeypatch.setattr(
        Store, "rows", lambda self, split: rows(self, split)[:0] if split == "val" else rows(self, split)
    )


def test_a_strategy_that_adapts_on_val_is_refused_without_it(trained, without_val):
    for strategy in (GBlending(), Mslr()):
        with pytest.raises(BssError, match=f"has no val, which the strategy `{strategy.kind}` adapts"):
            trained(strategy)


ON_VAL = [
    *({"kind": kind} for kind in ("g-blending", "mslr", "mses", "relearning")),
    {"kind": "lfm", "schedule": "learned"},
]


@pytest.mark.parametrize("strategy", ON_VAL, ids=lambda strategy: strategy["kind"])
def test_it_is_refused_before_the_first_training(
    strategy, pipeline, tree, small_store, make_config, without_val, tmp_path
):
    tree |= {"strategies": {"mine": strategy}, "combinations": ["uniform", "uniform+mine"], "protocol": "published"}
    tree["compare"] = {"baseline": "uniform"}
    arguments = (make_config(tree), small_store, pipeline[0] / "scores", pipeline[0] / "plans", tmp_path / "runs")
    with pytest.raises(BssError, match=f"has no val, which the strategy `{strategy['kind']}` adapts"):
        train(*arguments)
    assert not (tmp_path / "runs").exists()


def test_so_are_encoders_of_different_widths_by_one_that_compares_their_features(
    pipeline, tree, small_store, make_config, tmp_path
):
    tree |= {"strategies": {"mine": {"kind": "mcr"}}, "combinations": ["uniform", "uniform+mine"]}
    tree["compare"] = {"baseline": "uniform"}
    tree["network"]["encoders"]["vector"]["features"] = 5
    wrong = make_config(tree)
    with pytest.raises(BssError, match=r"`mcr` compares features .* \{'audio': 8, 'image': 8, 'vector': 5\}"):
        train(wrong, small_store, pipeline[0] / "scores", pipeline[0] / "plans", tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
    check_needs(wrong, Store.open(small_store), ["none"])
    tree["strategies"]["mine"]["contrast"] = 0.0
    check_needs(make_config(tree), Store.open(small_store), ["mine"])


@pytest.mark.parametrize(
    ("strategy", "changes", "message"),
    [
        ({"kind": "ogm", "alpha": -1}, {}, r"strategies\.mine: `alpha` must be at least 0"),
        ({"kind": "ogm", "alhpa": 1}, {}, r"strategies\.mine\.alhpa: unknown key; did you mean `alpha`"),
        ({"kind": "ogmm"}, {}, r"strategies\.mine: `kind` must be one of 'none', 'agm'"),
        ({"kind": "mlb", "loss": "published", "source": "heads"}, {}, None),
        ({"kind": "ogm", "loss": "published", "source": "heads"}, {}, "`ogm` needs unimodal heads that are trained"),
        ({"kind": "smp", "order": ["audio"]}, {}, "`order` must be null or all of"),
        ({"kind": "smp", "loss": "published"}, {}, "`smp` needs unimodal heads that are trained"),
        ({"kind": "weights", "fused": 0.0, "unimodal": 0.0}, {}, "`fused` must be above 0 where unimodal is 0"),
        ({"kind": "mla", "order": ["audio"]}, {}, "`order` must be null or all of"),
        ({"kind": "reconboost", "own": 1.0, "others": 2.0}, {}, "`own` must be above 0 and at least `others`"),
        ({"kind": "aug", "every": 0}, {}, "`every` must be null or at least 1"),
        ({"kind": "g2d", "until": [0.5]}, {}, "`until` must be null or 2 for 3 modalities"),
        ({"kind": "cml", "over": "batch"}, {"processes": 2}, r"`train\.processes` must be 1 .* over: batch"),
        ({"kind": "cml", "over": "batch"}, {"accumulate": 4}, r"`train\.accumulate` must be 1 .* over: batch"),
        ({"kind": "cml"}, {"accumulate": 4}, None),
        ({"kind": "inforeg", "threshold": -5}, {}, r"`threshold` must be in \[0, 1\)"),
        ({"kind": "inforeg", "threshold": 1.0}, {}, r"`threshold` must be in \[0, 1\)"),
        ({"kind": "inforeg", "gate": "radar"}, {}, r"strategies\.mine: `gate` must be one of"),
        ({"kind": "inforeg", "strengths": {"radar": 0.1}}, {}, r"strategies\.mine: `strengths` must be one of"),
        (
            {"kind": "inforeg", "loss": "published", "source": "heads"},
            {},
            "`inforeg` needs unimodal heads",
        ),
        ({"kind": "pmr", "share": 0.1}, {}, "`share` must be 1 with prototypes: online"),
        ({"kind": "pmr", "share": 0.1, "prototypes": "pass"}, {}, None),
        ({"kind": "g2d", "freeze": False, "decide": "batch"}, {}, "`decide` must be once with freeze: false"),
        ({"kind": "g2d", "parameters": "convolutions"}, {}, "`parameters` must be all with decide: once"),
        ({"kind": "mla"}, {"compile": "graphs"}, r"`train\.compile` must be false or true for strategies"),
        ({"kind": "mcr"}, {"processes": 2}, r"`train\.processes` must be 1 "),
        ({"kind": "midas"}, {"processes": 2}, r"`train\.processes` must be 1 "),
        ({"kind": "longer", "times": 1.0}, {}, "`times` must be above 1"),
        ({"kind": "longer"}, {"compile": "graphs"}, None),
        ({"kind": "smv", "warm_up": -1}, {}, "`warm_up` must be at least 0"),
        ({"kind": "opm", "rate": 2}, {}, r"`rate` must be in \[0, 1\]"),
        ({"kind": "mixup"}, {"processes": 2}, r"`train\.processes` must be 1 "),
        ({"kind": "mlb"}, {"compile": "graphs"}, r"`train\.compile` must be false or true for strategies"),
        ({"kind": "none"}, {"compile": "graphs"}, None),
    ],
)
def test_what_does_not_go_together_is_refused_when_parameters_are_read(tree, make_config, strategy, changes, message):
    tree["strategies"] = {"mine": strategy}
    tree["train"] |= changes
    if message is None:
        assert list(make_config(tree).strategies) == ["mine"]
        return
    with pytest.raises(BssError, match=message):
        make_config(tree)


READ_HEADS = [
    *({"kind": kind} for kind in ("mlb", "mbsd", "smp", "mses", "mslr", "g-blending")),
    *({"kind": kind} for kind in ("midas", "remix", "mmpareto", "repair")),
    *({"kind": kind, "source": "heads"} for kind in ("ogm", "opm", "amss", "inforeg")),
]


@pytest.mark.parametrize("strategy", READ_HEADS, ids=lambda strategy: strategy["kind"])
def test_a_strategy_that_reads_heads_is_refused_where_their_loss_has_weight_0(tree, make_config, strategy):
    tree |= {"strategies": {"mine": strategy}, "combinations": ["uniform", "uniform+mine"]}
    tree["compare"] = {"baseline": "uniform"}
    make_config(tree)
    tree["network"]["loss_weights"] = {"fused": 1.0, "unimodal": 0.0}
    with pytest.raises(
        BssError, match=rf"strategies\.mine: `{strategy['kind']}` needs unimodal heads that are trained"
    ):
        make_config(tree)


@pytest.mark.parametrize(
    "strategy",
    [
        *({"kind": kind, "loss": "published"} for kind in ("mlb", "mbsd", "midas", "remix", "mmpareto", "g-blending")),
        *({"kind": kind} for kind in ("lfm", "mla", "etmc", "domfn", "dgl", "pmr", "ogm", "g2d")),
        {"kind": "smp", "order": ["image", "audio", "vector"], "loss": "published"},
        *({"kind": kind, "loss": "published"} for kind in ("mses", "mslr", "inforeg")),
        {"kind": "mslr", "mode": "smooth", "coefficients": {"audio": 2.0}},
        {"kind": "g-blending", "probe": "train"},
        {"kind": "weights", "unimodal": 0.5},
    ],
    ids=json.dumps,
)
def test_one_that_trains_the_heads_itself_or_reads_none_is_not(tree, make_config, strategy):
    tree |= {"strategies": {"mine": strategy}, "combinations": ["uniform", "uniform+mine"]}
    tree["compare"] = {"baseline": "uniform"}
    tree["network"]["loss_weights"] = {"fused": 1.0, "unimodal": 0.0}
    make_config(tree)


@pytest.mark.parametrize(
    ("weights", "configured", "strategy", "prediction"),
    [
        ((1.0, 0.0), "all-heads", None, "fused"),
        ((1.0, 0.0), "all-heads", {"kind": "modality-dropout"}, "fused"),
        ((0.0, 1.0), "all-heads", None, "unimodal-heads"),
        ((0.0, 1.0), "fused", {"kind": "modality-dropout"}, "unimodal-heads"),
        ((0.0, 1.0), "by-entropy", None, "by-entropy"),
        ((0.0, 1.0), "by-entropy", {"kind": "modality-dropout"}, "by-entropy"),
        ((0.1, 0.9), "all-heads", None, "all-heads"),
        ((0.1, 0.9), "evidence", {"kind": "longer"}, "evidence"),
        ((1.0, 0.0), "all-heads", {"kind": "g-blending", "probe": "train"}, "all-heads"),
    ],
)
def test_untrained_logits_take_no_part_in_the_prediction(tree, make_config, weights, configured, strategy, prediction):
    tree |= {"combinations": ["uniform"], "compare": {"baseline": "uniform"}}
    if strategy is not None:
        tree |= {"strategies": {"mine": strategy}, "combinations": ["uniform", "uniform+mine"]}
    loss_weights = dict(zip(("fused", "unimodal"), weights, strict=True))
    tree["network"] |= {"loss_weights": loss_weights, "prediction": configured}
    config = make_config(tree)
    mine = None if strategy is None else config.strategies["mine"]
    assert config_for(mine, config).network.prediction == prediction


def test_without_a_section_there_is_no_strategy(tree, make_config):
    assert make_config(tree).strategies == {"none": Plain()}
    tree["strategies"] = {"A b": {"kind": "none"}}
    with pytest.raises(BssError, match="a name of lower-case letters"):
        make_config(tree)


def test_scaling_gradients_under_adam_is_cautioned_against_if_it_is_trained(tree, make_config):
    tree["strategies"] = {"mine": {"kind": "ogm"}, "x3": {"kind": "weights", "encoder_gradients": 3.0}}
    tree["strategies"] |= {"fused": {"kind": "weights", "unimodal": 0.0}, "pmr": {"kind": "pmr"}}
    tree["combinations"] = ["uniform", "uniform+x3", "uniform+fused", "uniform+pmr"]
    tree["compare"] = {"baseline": "uniform"}
    tree["train"]["optimiser"] = {"kind": "sgd", "learning_rate": 0.1}
    assert strategy_warnings(make_config(tree)) == []
    tree["train"]["optimiser"] = {"kind": "adam", "learning_rate": 0.001}
    (found,) = strategy_warnings(make_config(tree))
    assert found.startswith("strategies.x3: it scales gradients, which hardly changes the steps of Adam")
    tree["train"]["optimiser"]["kind"] = "adamw"
    assert strategy_warnings(make_config(tree)) == [found]
    tree["strategies"]["x3"] = {"kind": "mmpareto"}
    (found,) = strategy_warnings(make_config(tree))
    assert found.startswith("strategies.x3: its `factor` scales gradients, which hardly changes the steps of Adam")
    tree["strategies"]["x3"] = {"kind": "mmpareto", "factor": 1.0}
    assert strategy_warnings(make_config(tree)) == []


LATE = [
    ({"kind": "relearning"}, 20, 21, "every: 20"),
    ({"kind": "remix"}, 10, 11, "warm_up: 10"),
    ({"kind": "smv"}, 5, 6, "warm_up: 5"),
    ({"kind": "repair"}, 2, 3, "warm_up: 2"),
    ({"kind": "mses"}, 6, 7, "patience: 5"),
    ({"kind": "g-blending"}, 10, 11, "every: 10"),
    ({"kind": "mslr"}, 2, 3, 'mode: "dynamic"'),
    ({"kind": "smp"}, 6, 7, "warm_up: 3"),
    ({"kind": "smp", "order": ["image", "audio", "vector"], "until": [0.0, 0.0]}, 9, None, r"until: [0.0, 0.0]"),
    ({"kind": "ogm", "window": [0.1, 0.2]}, 4, 6, "window: [0.1, 0.2]"),
    ({"kind": "opm"}, 1, 2, "window: [0.06, 1.0]"),
    ({"kind": "pmr"}, 1, 2, "window: [0.0, 0.67]"),
    ({"kind": "midas", "warm_up": 0.9}, 4, 10, "warm_up: 0.9"),
    ({"kind": "aug", "every": 5}, 5, 6, "every: 5"),
    ({"kind": "inforeg"}, 1, 2, "first_epoch: false"),
]


@pytest.mark.parametrize(
    ("strategy", "few", "enough", "why"), LATE, ids=lambda x: x["kind"] if isinstance(x, dict) else ""
)
def test_one_that_acts_in_no_epoch_of_the_training_is_cautioned_against(tree, make_config, strategy, few, enough, why):
    tree |= {"strategies": {"mine": strategy}, "combinations": ["uniform", "uniform+mine"]}
    tree["compare"] = {"baseline": "uniform"}
    tree["train"] |= {"epochs": few, "decay": {"at": []}}
    (found,) = strategy_warnings(make_config(tree))
    assert found.startswith(f"strategies.mine: `{strategy['kind']}` acts in none of the epochs (train.epochs: {few})")
    assert why in found
    tree["train"]["epochs"] = enough or 100
    assert len(strategy_warnings(make_config(tree))) == (enough is None)
    tree["combinations"] = ["uniform"]
    assert strategy_warnings(make_config(tree)) == []


@pytest.mark.parametrize(
    ("strategy", "why"),
    [
        *(
            ({"kind": kind, "window": [0.0, 0.0]}, r"window: \[0.0, 0.0\]")
            for kind in ("ogm", "mlb", "agm", "opm", "pmr")
        ),
        ({"kind": "relearning", "times": 0}, "times: 0"),
        ({"kind": "midas", "warm_up": 1.0}, "warm_up: 1.0"),
        ({"kind": "mslr", "mode": "keep"}, "coefficients: {}"),
        ({"kind": "mslr", "mode": "smooth", "coefficients": {"audio": 1.0}}, 'coefficients: {"audio": 1.0}'),
    ],
    ids=lambda x: x["kind"] if isinstance(x, dict) else "",
)
def test_one_that_acts_in_no_epoch_of_any_training_is_refused(tree, make_config, strategy, why):
    tree |= {"strategies": {"mine": strategy}, "combinations": ["uniform", "uniform+mine"]}
    tree["compare"] = {"baseline": "uniform"}
    with pytest.raises(BssError, match=rf"strategies\.mine: `{strategy['kind']}` acts in no epoch with `{why}`"):
        make_config(tree)
    tree["combinations"] = ["uniform"]
    make_config(tree)


@pytest.mark.slow
def test_compiled_steps_are_those_of_the_network_up_to_rounding(trained, monkeypatch):
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    for strategy in (Ogm(window=(0.0, 1.0)), Smp(order=("image", "audio", "vector")), Mla()):
        one, other = trained(strategy, name="uniform"), trained(strategy, name="uniform", compile=True)
        weights = [torch.load(io.BytesIO(made["model.pt"])) for made in (one, other)]
        for key, value in weights[0].items():
            torch.testing.assert_close(weights[1][key], value, atol=1e-3, rtol=1e-2)
