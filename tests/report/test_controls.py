"""The control that explains a strategy most simply."""

from dataclasses import fields

import numpy as np
import pytest
from made import compared

from bss.config.strategies import find_strategies
from bss.report.controls import missing_controls, trained_controls
from bss.report.matrix_table import effect_rows, matrix_findings
from bss.strategies.dgl import Dgl
from bss.strategies.mixup import Mixup
from bss.strategies.none import Plain
from bss.strategies.ogm import Ogm
from bss.strategies.weights import Weighted

KINDS = {fields(entry)[[f.name for f in fields(entry)].index("kind")].default: entry for entry in find_strategies()}


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


def test_a_control_is_of_the_kind_with_its_parameter_set():
    strategies = {
        "none": Plain(),
        "ogm": Ogm(),
        "dgl": Dgl(),
        "fused-only": Weighted(unimodal=0.0),
        "x3": Weighted(encoder_gradients=3.0),
        "x1.5": Weighted(encoder_gradients=1.5),
        "mixup": Mixup(),
    }
    assert trained_controls(strategies, list(strategies)) == {"ogm": "x3"}  # the first of two
    assert missing_controls(strategies, list(strategies)) == {"dgl": "weights.fused=0.0"}
    assert missing_controls(strategies, ["none", "ogm"]) == {"ogm": "weights.encoder_gradients=0.5"}
    assert trained_controls(strategies, ["none", "mixup", "x3"]) == {}


def test_a_strategy_is_tested_against_its_control_under_each_scheduler():
    base, noise = np.linspace(70, 75, 8), np.array([0.1, -0.1, 0.2, -0.2, 0.15, -0.15, 0.05, -0.05])
    rows = {
        "uniform": base,
        "bss-h": base + 1,
        "uniform+x3": base + 2 + noise,
        "uniform+ogm": base + 2.1 - noise,
        "bss-h+x3": base + 2,
        "bss-h+ogm": base + 6 + noise,
    }
    strategies = {"ogm": Ogm(), "x3": Weighted(encoder_gradients=3.0)}
    comparison = compared(rows, dict.fromkeys(rows, 1), strategies)
    assert comparison["matrix"]["controls"] == {"ogm": "x3"}
    against = [row for row in effect_rows(comparison) if row["effect"] == "control"]
    assert [(row["scheduler"], row["strategy"], row["reference"]) for row in against] == [
        ("uniform", "ogm", "uniform+x3"),
        ("bss-h", "ogm", "bss-h+x3"),
    ]
    assert [row["difference"] for row in against] == pytest.approx([0.1, 4.0])
    assert [row["verdict"] for row in against] == ["within-margin", "better"]
    assert matrix_findings(comparison)[-1] == (
        "Strategy, against its simplest explanation with the same scheduler: better: bss-h+ogm; 1 within 1 point."
    )
