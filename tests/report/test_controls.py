"""The control that explains a strategy most simply."""

from dataclasses import fields

import numpy as np
import pytest
from made import compared

from bss.config.combinations import Combination
from bss.config.network import LossWeights
from bss.config.strategies import find_strategies
from bss.report import next_steps as rules
from bss.report.controls import equal_compute, missing_controls, trained_controls
from bss.report.cost import cost_texts
from bss.report.matrix_table import effect_rows, matrix_findings
from bss.strategies.dgl import Dgl
from bss.strategies.longer import Longer
from bss.strategies.mixup import Mixup
from bss.strategies.none import Plain
from bss.strategies.ogm import Ogm
from bss.strategies.smv import Smv
from bss.strategies.weights import Weighted

KINDS = {fields(entry)[[f.name for f in fields(entry)].index("kind")].default: entry for entry in find_strategies()}
PLAIN_WEIGHTS = LossWeights()


@pytest.mark.parametrize(
    "entry", [e for e in KINDS.values() if e.control is not None], ids=lambda entry: entry.__name__
)
def test_every_control_is_a_strategy_that_can_be_trained(entry):
    kind, _, setting = entry.control.partition(".")
    control = KINDS[kind]
    assert control.control is None  # a control has none
    if setting:
        name, value = setting.split("=")
        made = control(**{name: float(value)})
        assert getattr(made, name) != getattr(control(), name)


def test_every_strategy_has_a_control_but_those_that_plain_training_explains_most_simply():
    controls = {"none", "weights", "longer", "mixup", "modality-dropout"}
    assert {kind for kind, entry in KINDS.items() if entry.control is None} == {*controls, "relearning"}


def control_of(name, strategies, weights=PLAIN_WEIGHTS):
    """The control of the strategy `name` if all of `strategies` were trained; None: it is missing."""
    made = {name: KINDS[name]()} | strategies
    found, missing = trained_controls(made, list(made), weights), missing_controls(made, list(made), weights)
    assert (name in found) != (name in missing)
    return found.get(name)


WEIGHTS = {
    "fused-only": Weighted(fused=1.0, unimodal=0.0),
    "x3": Weighted(encoder_gradients=3.0),
    "x1.5": Weighted(encoder_gradients=1.5),
    "x4": Weighted(fused=1.0, unimodal=4.0),
    "independent": Weighted(fused=0.0, unimodal=1.0),
    "smoothed": Weighted(label_smoothing=0.1),
}


@pytest.mark.parametrize(
    ("kinds", "control"),
    [
        (["dgl", "mla", "umt", "aug", "reconboost"], "independent"),
        (["g-blending", "pmr", "lfm", "domfn"], "x4"),
        (["agm", "mlb", "mslr"], "x1.5"),
        (["mmpareto"], "x3"),
        (["ogm", "amss", "inforeg", "mses", "smp", "g2d"], None),  # slower encoders, and only faster ones were trained
        (["etmc", "mbsd"], "smoothed"),
        (["midas", "opm"], None),
    ],
)
def test_a_control_has_the_value_that_the_strategy_declares(kinds, control):
    for kind in kinds:
        assert control_of(kind, WEIGHTS) == control
        assert control_of(kind, dict(reversed(WEIGHTS.items()))) == control


def test_without_that_value_the_nearest_on_its_side_of_the_default_is_the_control():
    rows = {f"x{factor}": Weighted(encoder_gradients=factor) for factor in (0.1, 0.7, 0.3, 1.5)}
    assert control_of("ogm", rows) == "x0.7"  # 0.7 / 0.5 is less than 0.5 / 0.3
    assert control_of("mmpareto", rows) == "x1.5"
    assert control_of("ogm", {"x1": Weighted(encoder_gradients=1.0), "x1.5": rows["x1.5"]}) is None
    assert control_of("pmr", {"x0.5": Weighted(unimodal=0.5), "x8": Weighted(unimodal=8.0)}) == "x8"
    assert control_of("dgl", {"half": Weighted(fused=0.5)}) is None  # half the fused loss trains jointly


def test_a_control_that_sets_more_is_the_last_choice():
    both = {"both": Weighted(encoder_gradients=0.5, label_smoothing=0.1)}
    assert control_of("ogm", both) == "both"
    assert control_of("ogm", both | {"x0.9": Weighted(encoder_gradients=0.9)}) == "x0.9"
    assert control_of("ogm", {"near": Weighted(encoder_gradients=0.6, label_smoothing=0.1)}) is None
    assert control_of("midas", {"strong": Mixup(alpha=1.0), "mixup": Mixup()}) == "mixup"
    assert control_of("midas", {"strong": Mixup(alpha=1.0)}) == "strong"


def test_weights_of_the_loss_that_are_not_set_are_those_of_the_network():
    of_crema_d = LossWeights(fused=0.1, unimodal=0.9)
    assert control_of("dgl", WEIGHTS, of_crema_d) == "independent"
    assert control_of("dgl", WEIGHTS | {"no-fused": Weighted(fused=0.0)}, of_crema_d) == "no-fused"
    assert control_of("pmr", {"x8": Weighted(unimodal=8.0)}, of_crema_d) == "x8"
    assert control_of("pmr", {"x8": Weighted(unimodal=8.0)}, LossWeights(unimodal=10.0)) == "x8"  # both weaken it
    assert control_of("pmr", {"x8": Weighted(unimodal=8.0)}, LossWeights(unimodal=6.0)) is None
    assert control_of("pmr", {"smoothed": Weighted(label_smoothing=0.1)}, LossWeights(unimodal=4.0)) is None


def test_only_what_was_trained_is_a_control():
    strategies = {"none": Plain(), "dgl": Dgl(), "mixup": Mixup()} | WEIGHTS
    assert trained_controls(strategies, list(strategies), PLAIN_WEIGHTS) == {"dgl": "independent"}
    assert missing_controls(strategies, ["none", "dgl", "x4"], PLAIN_WEIGHTS) == {"dgl": "weights.fused=0.0"}
    assert trained_controls(strategies, ["none", "mixup", "x3"], PLAIN_WEIGHTS) == {}


def test_a_strategy_is_tested_against_its_control_under_each_scheduler():
    base, noise = np.linspace(70, 75, 8), np.array([0.1, -0.1, 0.2, -0.2, 0.15, -0.15, 0.05, -0.05])
    rows = {
        "uniform": base,
        "bss-h": base + 1,
        "uniform+half": base + 2 + noise,
        "uniform+ogm": base + 2.1 - noise,
        "bss-h+half": base + 2,
        "bss-h+ogm": base + 6 + noise,
    }
    strategies = {"ogm": Ogm(), "half": Weighted(encoder_gradients=0.5)}
    comparison = compared(rows, dict.fromkeys(rows, 1), strategies)
    assert comparison["matrix"]["controls"] == {"ogm": "half"}
    against = [row for row in effect_rows(comparison) if row["effect"] == "control"]
    assert [(row["scheduler"], row["strategy"], row["reference"]) for row in against] == [
        ("uniform", "ogm", "uniform+half"),
        ("bss-h", "ogm", "bss-h+half"),
    ]
    assert [row["difference"] for row in against] == pytest.approx([0.1, 4.0])
    assert [row["verdict"] for row in against] == ["within-margin", "better"]
    assert matrix_findings(comparison)[-1] == (
        "Strategy, against its simplest explanation with the same scheduler: better: bss-h+ogm; 1 within 1 point."
    )


def costs(**plain_and_others):
    """Operations by row; the keys are strategies, under uniform shuffling."""
    return {Combination("uniform", name.replace("_", "-")): cost for name, cost in plain_and_others.items()}


def test_what_costs_more_is_compared_with_the_cheapest_plain_training_that_costs_as_much():
    longer = {"twice": Longer(times=2.0), "half-more": Longer(times=1.5), "thrice": Longer(times=3.0)}
    strategies = {"smv": Smv(), "ogm": Ogm()} | longer
    flops = costs(none=100.0, smv=185.0, ogm=104.0, twice=200.0, half_more=150.0, thrice=300.0)
    assert equal_compute(strategies, flops, "none") == ({Combination("uniform", "smv"): "twice"}, {})
    del flops[Combination("uniform", "twice")]  # under the same scheduler it was not trained
    flops[Combination("bss-h", "twice")] = 200.0
    assert equal_compute(strategies, flops, "none") == ({Combination("uniform", "smv"): "thrice"}, {})
    flops = costs(none=100.0, smv=185.0, half_more=150.0) | {
        Combination("bss-h", "none"): 80.0,
        Combination("bss-h", "smv"): 160.0,
        Combination("bss-l", "smv"): 900.0,  # without plain training its cost is unknown
    }
    assert equal_compute(strategies, flops, "none") == ({}, {"smv": 2.0})


def test_a_strategy_is_tested_against_as_much_plain_training():
    base, noise = np.linspace(70, 75, 8), np.array([0.1, -0.1, 0.2, -0.2, 0.15, -0.15, 0.05, -0.05])
    rows = {"uniform": base, "uniform+smv": base + 3 + noise, "uniform+longer": base + 3.05}
    steps = {"uniform": 100, "uniform+smv": 185, "uniform+longer": 186}
    strategies = {"smv": Smv(), "longer": Longer(times=1.86)}
    comparison = compared(rows, steps, strategies)
    assert comparison["matrix"]["budgets"] == {"uniform+smv": "longer"}
    (row,) = [row for row in effect_rows(comparison) if row["effect"] == "budget"]
    assert (row["strategy"], row["reference"], row["verdict"]) == ("smv", "uniform+longer", "within-margin")
    assert row["difference"] == pytest.approx(-0.05)
    assert matrix_findings(comparison)[-1] == (
        "Strategy, against plain training at equal compute with the same scheduler: 1 within 1 point."
    )
    assert [texts[3] for texts in cost_texts(comparison, dict.fromkeys(rows, 1.0))] == [
        "1e+11 (x1.00)",
        "1.85e+11 (x1.85)",
        "1.86e+11 (x1.86)",
    ]
    assert rules.missing_budget(comparison) is None


def test_plain_training_at_equal_compute_is_advised_where_it_is_missing():
    base, steps = np.linspace(70, 75, 8), {"uniform": 100, "uniform+smv": 185}
    comparison = compared({"uniform": base, "uniform+smv": base + 3}, steps, {"smv": Smv()})
    observed = {"names": ["none", "smv"], "combinations": ["uniform", "uniform+smv"]}
    text = rules.missing_budget(comparison | {"observed": observed})
    assert text.startswith("smv is better than none, but takes 1.85 times its floating-point operations")
    assert text.endswith(
        "`dvc exp run -S '++strategies.longer.kind=longer' -S '++strategies.longer.times=1.85' "
        "-S '++combinations=[uniform,uniform+smv,uniform+longer]'`"
    )
    # One that is too short keeps its name and its trainings.
    observed = {"names": ["smv", "longer"], "combinations": ["uniform", "uniform+smv", "uniform+longer"]}
    assert rules.missing_budget(comparison | {"observed": observed}).endswith(
        "`dvc exp run -S '++strategies.longer-2.kind=longer' -S '++strategies.longer-2.times=1.85' "
        "-S '++combinations=[uniform,uniform+smv,uniform+longer,uniform+longer-2]'`"
    )
    worse = compared({"uniform": base, "uniform+smv": base - 3}, steps, {"smv": Smv()})
    assert rules.missing_budget(worse) is None
