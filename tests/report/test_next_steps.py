"""Rules on what was measured, on comparisons made by hand."""

import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import small_tree
from scipy import stats

from bss.config import config_from_tree, load_config
from bss.report import next_steps as rules
from bss.report.next_steps import MOST_STEPS, RULES, next_steps
from bss.report.observations import agreement, best_head, estimate, observe, rise, spread
from bss.report.results import Result

PARAMS = Path(__file__).parents[2] / "params.yaml"


def number(mean, half=0.5):
    return {"mean": mean, "low": mean - half, "high": mean + half}


def difference(value, verdict="inconclusive"):
    found = {"difference": value, "sd": 1.0, "low": value - 0.5, "high": value + 0.5, "p": 0.5, "p_corrected": 0.5}
    return found | {"verdict": verdict, "seeds_needed": None}


def made(verdict="better", value=3.0, **observed):
    """A comparison to which no rule applies, with other observations."""
    facts = {
        "counts": {"train": 2000, "val": 1000, "test": 1000, "classes": 10},
        "test": number(80.0),
        "val_above_test": number(1.0),
        "rise": number(0.1) | {"epochs": 4, "split": "val"},
        "lost_at_end": number(0.1),
        "selected_epoch": 15.0,
        "best_head": {"modality": "image", "accuracy": 70.0, "fused_above": number(10.0)},
        "scores": {"spread": 0.3, "agreement": 0.8},
        "trimmed": [],
        "training": {
            "epochs": 24,
            "decay_at": [16],
            "learning_rate": 0.03,
            "weight_decay": 0.0,
            "warmup_epochs": 3,
        },
        "strategies": ["none"],
        "names": ["none"],
        "combinations": None,
    }
    share = {"mean": 0.8, "sd": 0.01}
    return {
        **{"protocol": "honest", "seeds": 8, "seed_numbers": list(range(8)), "val_samples": 1000},
        **{"baseline": "uniform", "control": None, "correction": "max-t", "margin": 1.0},
        "schedulers": {
            "uniform": {"test_acc": share, "val_acc": share},
            "bss-h": {"test_acc": share, "val_acc": share, "vs_baseline": {"test_acc": difference(value, verdict)}},
        },
        "observed": facts | observed,
    }


def only(comparison, rule):
    """The step, which must come from `rule` alone."""
    found = {one: text for one in RULES if (text := one(comparison)) is not None}
    assert list(found) == [rule]
    assert found[rule] in next_steps(comparison)
    return found[rule]


def test_nothing_to_say():
    assert next_steps(made()) == []


def test_a_network_near_chance():
    text = only(made(test=number(12.0)), rules.nothing_learned)
    assert text.startswith("uniform reaches 12.0 % on test, and chance is 10.0 %")
    assert text.endswith("`dvc exp run -S '++train.optimiser.learning_rate=0.01'` or 0.09.")
    assert rules.nothing_learned(made(test=number(15.1))) is None


def test_validation_far_above_test():
    text = only(made(val_above_test=number(12.3)), rules.shared_split)
    assert text.startswith(
        "Validation accuracy of uniform is 12.3 points above test. Split train and val by what is new"
    )
    assert "column `group`" in text
    assert rules.shared_split(made(val_above_test=number(9.9))) is None
    assert rules.shared_split(made(val_above_test=None)) is None


def test_a_val_split_too_small_for_the_differences():
    # 0.8 * 0.2 / 0.01^2 = 1600 samples have a standard error of 1 point; half of the 3000 may become val
    text = only(made(value=1.0), rules.larger_val)
    assert text == (
        "The 1000 validation samples cannot resolve differences of 1.0 points; about 1600 would, which the data cannot "
        "spare. More seeds average out the chance of selection: "
        "`dvc exp run -S 'seeds=[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15]'`"
    )
    undecided = made(value=1.0, verdict="inconclusive")
    undecided["schedulers"]["bss-h"]["vs_baseline"]["test_acc"]["seeds_needed"] = 20
    steps = next_steps(undecided)
    assert steps[0].endswith("More seeds average out the chance of selection.")
    assert steps[1].startswith("12 more seeds would probably decide bss-h: ")
    text = only(made(value=1.2), rules.larger_val)  # 1112 of 3000
    assert "about 1112 would: `dvc exp run -S '++prepare.val_share=0.37'`" in text
    assert rules.larger_val(made(value=1.3)) is None  # 947
    assert rules.larger_val(made(value=0.0)) is None


def test_trimming_better_than_keeping():
    pair = {"scheduler": "bss-h-trimmed", "kept": "bss-h"}
    text = only(made(trimmed=[pair | difference(2.0, "better")]), rules.wrong_pairs)
    assert text.startswith(
        "bss-h-trimmed, which leaves out the least balanced samples, is better than bss-h, which keeps them "
        "(+2.00 [+1.50, +2.50]): some of these pairs may be wrong."
    )
    assert "docs/audit.md" in text
    for verdict in ("inconclusive", "worse", "within-margin"):
        assert rules.wrong_pairs(made(trimmed=[pair | difference(2.0, verdict)])) is None


def test_nothing_left_to_gain():
    text = only(made(test=number(99.4)), rules.at_the_ceiling)
    assert text.startswith("uniform reaches 99.40 % on test: less than the margin of 1 point is left to gain.")


def test_accuracy_still_rising():
    text = only(made(rise=number(1.8) | {"epochs": 4, "split": "val"}), rules.more_epochs)
    assert text.startswith(
        "uniform still improves at the end: the last 4 epochs are 1.8 points above the 4 before on val."
    )
    assert text.endswith("`dvc exp run -S '++train.epochs=36' -S '++train.decay.at=[24]'`")
    unclear = number(1.8, half=2.0) | {"epochs": 4, "split": "val"}
    for other in (number(0.9, half=0.1) | {"epochs": 4, "split": "val"}, unclear, None):
        assert rules.more_epochs(made(rise=other)) is None


def test_overfitting():
    text = only(made(lost_at_end=number(2.3)), rules.overfitting)
    assert text.startswith("uniform overfits: it loses 2.3 points on test from the selected epoch (15 on average)")
    assert text.endswith("`dvc exp run -S '++train.optimiser.weight_decay=0.0005'`")
    assert rules.overfitting(made(lost_at_end=number(2.3, half=3.0))) is None
    assert rules.overfitting(made(lost_at_end=number(2.3)) | {"protocol": "published"}) is None


def test_a_modality_as_good_as_all():
    head = {"modality": "image", "accuracy": 79.7, "fused_above": number(0.3)}
    text = only(made(best_head=head), rules.imbalance)
    assert text.startswith("With uniform, image alone reaches 79.7 % on test, and all modalities together 80.0 %")
    assert text.endswith("`dvc exp run -S '++strategies.ogm.kind=ogm' -S '++strategies.mlb.kind=mlb'`")
    tried = rules.imbalance(made(best_head=head, strategies=["mlb", "none", "ogm"]))
    assert tried.endswith("`dvc exp run -S '++strategies.smp.kind=smp'`")
    assert rules.imbalance(made(best_head=head | {"fused_above": number(0.6)})) is None  # perhaps 1.1


def test_an_order_that_cannot_matter():
    text = only(made(verdict="inconclusive", scores={"spread": 0.031, "agreement": 0.8}), rules.scores_without_order)
    assert "the middle half spans 3.1 % of their range" in text
    assert text.endswith("(docs/audit.md), or try a strategy: `dvc exp run -S '++strategies.ogm.kind=ogm'`")
    assert rules.scores_without_order(made(verdict="inconclusive")) is None
    assert rules.scores_without_order(made(verdict="worse", scores={"spread": 0.031, "agreement": 0.8})) is None


def test_scores_that_hardly_agree():
    text = only(made(scores={"spread": 0.3, "agreement": 0.12}), rules.unsteady_scores)
    assert text.startswith("The balance scores of different seeds hardly agree (rank correlation 0.12)")
    assert text.endswith("`dvc exp run -S '++measure.warmup_epochs=6'`")
    assert rules.unsteady_scores(made(scores={"spread": 0.3, "agreement": None})) is None


def test_a_strategy_whose_control_was_not_trained():
    cells = {
        "uniform+ogm": {"scheduler": "uniform", "strategy": "ogm", "effects": {"strategy": difference(2.0, "better")}},
        "uniform+mlb": {"scheduler": "uniform", "strategy": "mlb", "effects": {"strategy": difference(0.0)}},
    }
    missing = {"ogm": "weights.encoder_gradients=0.5", "mlb": "weights.encoder_gradients=1.5"}
    matrix = {"plain": "none", "cells": cells, "missing_controls": missing, "missing_budgets": {}}
    text = only(made() | {"matrix": matrix}, rules.missing_control)
    assert text.startswith(
        "ogm is better than none, but its simplest explanation, weights.encoder_gradients=0.5, was not"
    )
    command = "dvc exp run -S '++strategies.control.kind=weights' -S '++strategies.control.encoder_gradients=0.5'"
    assert text.endswith(f"`{command}`")
    assert rules.missing_control(made() | {"matrix": matrix | {"missing_controls": {}}}) is None


def test_a_strategy_is_also_added_to_the_combinations_that_are_listed():
    flat = {"spread": 0.01, "agreement": 0.5}
    text = only(
        made(verdict="inconclusive", scores=flat, combinations=["uniform", "bss-h"]), rules.scores_without_order
    )
    assert text.endswith("`dvc exp run -S '++strategies.ogm.kind=ogm' -S '++combinations=[uniform,bss-h,uniform+ogm]'`")


def everything():
    rising = number(1.8) | {"epochs": 4, "split": "val"}
    head = {"modality": "image", "accuracy": 79.7, "fused_above": number(0.3)}
    pair = {"scheduler": "t", "kept": "k"} | difference(2.0, "better")
    comparison = made(
        verdict="inconclusive",
        value=1.2,
        val_above_test=number(20.0),
        rise=rising,
        lost_at_end=number(2.0),
        best_head=head,
        trimmed=[pair],
        scores={"spread": 0.01, "agreement": 0.1},
    )
    comparison["schedulers"]["bss-h"]["vs_baseline"]["test_acc"]["seeds_needed"] = 20
    return comparison


def test_at_most_five_are_shown_and_the_seeds_are_among_them():
    comparison = everything()
    assert sum(rule(comparison) is not None for rule in RULES) > MOST_STEPS
    steps = next_steps(comparison)
    assert len(steps) == MOST_STEPS
    assert steps[0].startswith("Validation accuracy of uniform")
    assert steps[-1].startswith("12 more seeds would probably decide bss-h: ")


@pytest.mark.slow
def test_dvc_and_bss_understand_every_command(tmp_path):
    from dvc.utils.hydra import apply_overrides

    texts = [rule(comparison) for comparison in (everything(), made(test=number(12.0))) for rule in RULES]
    texts += rules.more_seeds_step(everything())
    commands = [c for text in texts if text for c in re.findall("`(dvc exp run .*?)`", text)]
    assert len(commands) == 8
    for command in commands:
        settings = shlex.split(command)[3:]
        assert settings[::2] == ["-S"] * (len(settings) // 2)
        path = tmp_path / "params.yaml"
        shutil.copy(PARAMS, path)
        apply_overrides(path, settings[1::2])
        assert load_config(path) != load_config(PARAMS)


# What the rules read.


def trial(accuracies, **metrics):
    return Result(metrics, {"val/acc": accuracies}, 1.0, None)


def test_the_rise_compares_the_last_two_fifths():
    curve = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.70, 0.72, 0.80, 0.84]
    assert rise([trial(curve)]) == {"mean": pytest.approx(11), "low": None, "high": None, "epochs": 2, "split": "val"}
    assert rise([trial(curve[:9])]) is None


def test_an_estimate_is_the_mean_with_scipys_interval():
    numbers = np.array([1.0, 2.0, 4.0, 5.0])
    expected = stats.ttest_1samp(numbers, 0).confidence_interval(0.95)
    assert estimate(numbers) == {"mean": 3.0, "low": pytest.approx(expected.low), "high": pytest.approx(expected.high)}


def test_the_best_head():
    trials = [
        trial([], **{"test/acc": 0.8, "test/acc_audio": 0.5, "test/acc_image": 0.7}),
        trial([], **{"test/acc": 0.9, "test/acc_audio": 0.6, "test/acc_image": 0.9}),
    ]
    found = best_head(trials, ["audio", "image"])
    assert (found["modality"], found["accuracy"]) == ("image", pytest.approx(80))
    assert found["fused_above"]["mean"] == pytest.approx(5)
    assert best_head(trials, ["text"]) is None


def test_the_spread_of_scores_by_hand():
    assert spread(np.array([0.0, 1.0, 2.0, 3.0, 10.0])) == pytest.approx((3 - 1) / 10)
    assert spread(np.full(5, 0.3)) == 0


def test_agreement_is_spearmans_mean_over_pairs():
    scores = np.random.default_rng(0).normal(size=(3, 50)).round(1)
    scores[1:] += scores[0]
    expected = np.mean([stats.spearmanr(scores[a], scores[b]).statistic for a, b in ((0, 1), (0, 2), (1, 2))])
    assert agreement(scores) == pytest.approx(expected)
    assert agreement(scores[:1]) is None
    assert agreement(np.array([[1.0, 1, 1], [1, 2, 3]])) == 0


def test_observations_of_results(small_root):
    tree = small_tree(small_root)
    tree["seeds"] = list(range(6))
    tree["schedule"]["schedulers"] = {
        "uniform": {"kind": "uniform"},
        "kept": {"kind": "heuristic"},
        "trimmed": {"kind": "heuristic", "trim": 0.3},
        "other": {"kind": "heuristic", "trim": 0.3, "order": "imbalanced-first"},
    }
    tree["compare"]["control"] = None
    config = config_from_tree(tree, "params.yaml")
    base = np.linspace(0.7, 0.75, 6)
    results = {
        name: [
            trial([0.5] * 10, **{"test/acc": x, "val/acc": x + 0.1, "last/test_acc": x - 0.02, "selected_epoch": 3})
            for x in base + offset
        ]
        for name, offset in (("uniform", 0), ("kept", 0.01), ("trimmed", 0.05), ("other", 0.0))
    }
    facts = observe(config, results, np.random.default_rng(0).normal(size=(6, 48)), {"classes": 3})
    (pair,) = facts["trimmed"]  # what `other` keeps was not trained
    assert (pair["scheduler"], pair["kept"], pair["verdict"]) == ("trimmed", "kept", "better")
    assert pair["difference"] == pytest.approx(4)
    assert facts["val_above_test"]["mean"] == pytest.approx(10)
    assert facts["lost_at_end"]["mean"] == pytest.approx(2)
    assert facts["test"]["mean"] == pytest.approx(100 * base.mean())
    assert (facts["selected_epoch"], facts["strategies"]) == (4, ["none"])
    single = observe(replace(config, seeds=(0,)), {k: v[:1] for k, v in results.items()}, np.zeros((1, 48)), {})
    assert single["test"]["low"] is None
