"""Schedulers x strategies: effects of both and their interaction."""

import numpy as np
import pytest
from conftest import small_tree
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from test_statistics import brute_force_max_t

from bss.config import config_from_tree
from bss.config.combinations import Combination
from bss.report.comparison import compare_results
from bss.report.factorial import factorial_differences
from bss.report.results import Result

U, UO, H, HO = (Combination(*text.split("+")) for text in ("uniform", "uniform+ogm", "bss-h", "bss-h+ogm"))

METRICS = ("test/acc", "last/test_acc", "val/acc")


def by_hand(values):
    return factorial_differences(
        {key: np.array(row, dtype=np.float64) for key, row in values.items()}, "uniform", "none"
    )


def test_two_by_two_by_hand():
    found = by_hand({U: [50, 60], H: [52, 61], UO: [55, 63], HO: [58, 69]})
    lists = {effect: {key: row.tolist() for key, row in rows.items()} for effect, rows in found.items()}
    assert lists == {
        "order": {H: [2, 1], HO: [3, 6]},
        "strategy": {UO: [5, 3], HO: [6, 8]},
        "interaction": {HO: [1, 5]},  # 3 - 2 = 6 - 5, and 6 - 1 = 8 - 3
        "control": {},
        "budget": {},
    }


def test_what_was_not_trained_has_no_effect():
    assert by_hand({U: [50], HO: [58]}) == {"order": {}, "strategy": {}, "interaction": {}, "control": {}, "budget": {}}
    found = by_hand({U: [50], H: [52], HO: [58]})
    assert {effect: list(rows) for effect, rows in found.items()} == {
        "order": [H],
        "strategy": [HO],
        "interaction": [],
        "control": [],
        "budget": [],
    }


def test_effects_that_add_up_have_no_interaction_up_to_the_last_bit():
    random = np.random.default_rng(0)
    base = random.normal(80, 1, 8)
    found = by_hand({U: base, H: base + 0.1, UO: base + 0.2, HO: base + 0.30000000000000004})
    (interaction,) = found["interaction"].values()
    assert np.ptp(interaction) == 0
    assert interaction[0] == pytest.approx(0, abs=1e-12)


@settings(deadline=None)  # the first call of lstsq starts its threads
@given(st.integers(2, 9), st.integers(0, 999))
def test_the_interaction_is_the_coefficient_of_least_squares_with_a_constant_per_seed(n, seed):
    """Dummy coding on y(seed, scheduler, strategy), solved by numpy: an independent way to the same means."""
    values = np.random.default_rng(seed).normal(80, 2, (4, n))
    found = by_hand(dict(zip((U, H, UO, HO), values, strict=True)))
    order, strategy = (np.repeat(column, n) for column in ([0, 1, 0, 1], [0, 0, 1, 1]))
    design = np.column_stack([np.tile(np.eye(n), (4, 1)), order, strategy, order * strategy])
    coefficients = np.linalg.lstsq(design, values.ravel(), rcond=None)[0][n:]
    means = [found["order"][H].mean(), found["strategy"][UO].mean(), found["interaction"][HO].mean()]
    np.testing.assert_allclose(means, coefficients, atol=1e-9)


@pytest.fixture
def make(small_root):
    """A function from row name to accuracies [seeds] to the comparison of those rows."""

    def comparison(accuracies):
        tree = small_tree(small_root)
        tree["seeds"] = list(range(len(next(iter(accuracies.values())))))
        tree["schedule"]["schedulers"] = {name.split("+")[0]: {"kind": "uniform"} for name in accuracies}
        tree["strategies"] = {"none": {"kind": "none"}} | {
            name.split("+")[1]: {"kind": "ogm"} for name in accuracies if "+" in name
        }
        tree["combinations"] = list(accuracies)
        tree["compare"]["control"] = None
        results = {
            name: [
                Result({"protocol": "honest", "flops": 10**9, **dict.fromkeys(METRICS, x)}, {}, 1.0, None) for x in row
            ]
            for name, row in accuracies.items()
        }
        return compare_results(config_from_tree(tree, "params.yaml"), results, 1000)

    return comparison


def test_the_matrix_has_intervals_and_joint_p_of_each_family(make):
    random = np.random.default_rng(1)
    names = [f"{s}{t}" for t in ("", "+ogm", "+mlb") for s in ("uniform", "bss-h", "bss-l")]
    base = random.normal(0.8, 0.02, 8)
    values = {name: base + random.normal(0.01 * i, 0.01, 8) for i, name in enumerate(names)}
    matrix = make(values)["matrix"]
    assert (matrix["baseline"], matrix["plain"]) == ("uniform", "none")
    assert (matrix["schedulers"], matrix["strategies"]) == (["uniform", "bss-h", "bss-l"], ["none", "ogm", "mlb"])
    families = {
        "order": {f"{s}{t}": (f"{s}{t}", f"uniform{t}") for t in ("", "+ogm", "+mlb") for s in ("bss-h", "bss-l")},
        "strategy": {f"{s}{t}": (f"{s}{t}", s) for t in ("+ogm", "+mlb") for s in ("uniform", "bss-h", "bss-l")},
    }
    for effect, pairs in families.items():
        rows = {name: 100 * (values[a] - values[b]) for name, (a, b) in pairs.items()}
        p = dict(zip(rows, brute_force_max_t(list(rows.values())), strict=True))
        assert {name for name, cell in matrix["cells"].items() if effect in cell["effects"]} == set(rows)
        for name, row in rows.items():
            found, expected = (
                matrix["cells"][name]["effects"][effect],
                stats.ttest_1samp(row, 0).confidence_interval(0.95),
            )
            assert found["difference"] == pytest.approx(row.mean())
            assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high))
            assert found["p_corrected"] == pytest.approx(p[name])
    interactions = [f"{s}{t}" for t in ("+ogm", "+mlb") for s in ("bss-h", "bss-l")]
    rows = [
        100 * (values[f"{s}+{t}"] - values[f"uniform+{t}"] - values[s] + values["uniform"])
        for s, _, t in (name.partition("+") for name in interactions)
    ]
    found = [matrix["cells"][name]["effects"]["interaction"] for name in interactions]
    np.testing.assert_allclose([one["p_corrected"] for one in found], brute_force_max_t(rows))
    np.testing.assert_allclose([one["difference"] for one in found], np.mean(rows, axis=1))
    assert sum("interaction" in cell["effects"] for cell in matrix["cells"].values()) == len(interactions)


def test_plain_training_alone_has_no_matrix(make):
    base = np.linspace(0.7, 0.8, 6)
    assert "matrix" not in make({"uniform": base, "bss-h": base + 0.1})
