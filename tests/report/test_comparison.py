import numpy as np
import pytest
from conftest import small_tree
from rich.console import Console

from bss.config import config_from_tree
from bss.report.comparison import cautions, compare_results, headlines, interval, is_clear, verdicts
from bss.report.results import Result
from bss.report.table import print_comparison

METRICS = {"protocol": "honest", "selected_epoch": 1, "steps": 9, "samples": 144, "val/acc": 0.5}


def results_with(small_root, accuracies):
    """Results whose test accuracies are given per scheduler, and their config."""
    tree = small_tree(small_root)
    tree["seeds"] = list(range(len(next(iter(accuracies.values())))))
    tree["schedule"]["schedulers"] = {name: {"kind": "uniform"} for name in accuracies}
    tree["compare"]["control"] = "control" if "control" in accuracies else None
    results = {}
    for name, values in accuracies.items():
        results[name] = []
        for value in values:
            names = ("test/acc", "test/f1_macro", "test/map", "test/acc_audio", "last/test_acc")
            metrics = METRICS | dict.fromkeys(names, value)
            history = {"val/acc": [value], "schedule/steps": [9.0]}
            results[name].append(Result(metrics, history, 1.5, None))
    return config_from_tree(tree, "params.yaml"), results


BASE = np.array([0.50, 0.60, 0.55, 0.52, 0.58, 0.61])


@pytest.fixture
def comparison(small_root):
    accuracies = {
        "uniform": BASE,
        "control": BASE + 0.001 * np.array([1, -1, 1, -1, 1, -1]),
        "better": BASE + 0.02 + 0.001 * np.arange(6),
        "worse": BASE - 0.03 - 0.001 * np.arange(6),
    }
    return compare_results(*results_with(small_root, accuracies))


def test_differences_are_paired_by_seed_and_in_points(comparison):
    better = comparison["schedulers"]["better"]
    assert better["test_acc"]["mean"] == pytest.approx(BASE.mean() + 0.0225)
    assert better["test_acc"]["sd"] == pytest.approx(np.std(BASE + 0.001 * np.arange(6), ddof=1))
    found = better["vs_baseline"]["test_acc"]
    assert found["difference"] == pytest.approx(2.25)
    assert 2.0 <= found["low"] < 2.25 < found["high"] <= 2.5
    assert found["p"] == pytest.approx(2 / 2**6)
    assert "vs_baseline" not in comparison["schedulers"]["uniform"]
    assert "vs_control" not in comparison["schedulers"]["control"]


def test_verdicts_say_what_was_found_and_no_more(comparison):
    lines = {line.split(":")[0]: line for line in verdicts(comparison)}
    assert lines["better"].startswith("better: better than uniform (+2.25 [")
    assert "better than control" in lines["better"]
    assert lines["worse"].startswith("worse: worse than uniform (-3.25 [")
    assert "no difference to control shown" in lines["uniform"]
    assert "control" not in lines


def test_the_headline_sums_up_each_reference(comparison):
    assert headlines(comparison) == [
        "Against uniform, better: better; worse: worse.",
        "Against control, better: better; worse: worse.",
    ]
    entry = comparison["schedulers"]["worse"]
    entry["vs_control"]["test_acc"] |= {"low": -6.0, "high": 0.5}
    assert headlines(comparison)[1] == "Against control, better: better; no difference shown: worse."
    assert headlines(comparison | {"seeds": 5}) == []


def test_cautions_come_before_the_findings(comparison):
    assert cautions(comparison) == []
    both = comparison | {"protocol": "published", "seeds": 2}
    assert [line.split()[0] for line in cautions(both)] == ["Selected", "Seeds:"]
    assert verdicts(both) == cautions(both)


def test_an_interval_that_excludes_zero_is_not_enough_without_the_test():
    narrow = {"difference": 1.0, "low": 0.1, "high": 2.0, "p": 0.2}
    assert not is_clear(narrow)
    assert is_clear(narrow | {"p": 0.03})
    assert not is_clear(narrow | {"low": -0.1, "p": 0.03})
    assert interval(narrow) == "+1.00 [+0.10, +2.00]"


def test_few_seeds_get_no_verdict(small_root):
    comparison = compare_results(*results_with(small_root, {"uniform": BASE[:5], "better": BASE[:5] + 0.1}))
    assert verdicts(comparison) == ["Seeds: 5, too few for a verdict; 6 or more are needed."]


def test_one_seed_and_no_control_still_make_a_table(small_root):
    comparison = compare_results(*results_with(small_root, {"uniform": BASE[:1], "better": BASE[:1] + 0.1}))
    console = Console(width=100, record=True, file=None)
    with console.capture() as captured:
        print_comparison(comparison, {"uniform": 1.5, "better": 1.5}, console)
    assert "+10.00" in captured.get()
    assert "vs control" not in captured.get()


def test_the_table_fits_eighty_columns_and_marks_clear_differences(comparison):
    console = Console(width=80)
    with console.capture() as captured:
        print_comparison(comparison, dict.fromkeys(comparison["schedulers"], 1.5), console)
    lines = captured.get().splitlines()
    tables = lines[: next(i for i, line in enumerate(lines) if line.startswith("uniform: "))]
    assert max(map(len, tables)) <= 80
    assert "…" not in captured.get()
    row = next(line for line in lines if line.strip().startswith("better"))
    assert row.count("*") == 2


def test_the_published_protocol_is_told_first(small_root):
    config, results = results_with(small_root, {"uniform": BASE, "better": BASE + 0.1})
    comparison = compare_results(config, results) | {"protocol": "published"}
    assert verdicts(comparison)[0].startswith("Selected on the test split")
