import re
from dataclasses import replace

import numpy as np
import pytest
from conftest import small_tree
from rich.console import Console

from bss.config import config_from_tree
from bss.report.comparison import compare_results
from bss.report.markdown import markdown_comparison
from bss.report.next_steps import next_steps
from bss.report.results import Result
from bss.report.statistics import max_t_p
from bss.report.terminal import print_comparison
from bss.report.verdicts import cautions, findings, headlines, verdicts
from bss.report.wording import interval, more_seeds

METRICS = {"protocol": "honest", "selected_epoch": 1, "steps": 9, "flops": 10**9, "samples": 144, "val/acc": 0.5}


def results_with(small_root, accuracies):
    """The config, results whose test accuracies are given per scheduler, and the size of val."""
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
    return config_from_tree(tree, "params.yaml"), results, 1_000_000


BASE = np.array([0.50, 0.60, 0.55, 0.52, 0.58, 0.61])


@pytest.fixture
def comparison(small_root):
    accuracies = {
        "uniform": BASE,
        "control": BASE + 0.001 * np.array([1, -2, 3, -1, 2, -3]),
        "better": BASE + 0.02 + 0.001 * np.arange(6),
        "worse": BASE - 0.03 - 0.001 * np.arange(6),
        "noisy": BASE + 0.04 * np.array([1, -1, 1, -1, 1, 0]),
    }
    return compare_results(*results_with(small_root, accuracies))


def test_differences_are_paired_by_seed_and_in_points(comparison):
    better = comparison["schedulers"]["better"]
    assert better["test_acc"]["mean"] == pytest.approx(BASE.mean() + 0.0225)
    assert better["test_acc"]["sd"] == pytest.approx(np.std(BASE + 0.001 * np.arange(6), ddof=1))
    found = better["vs_baseline"]["test_acc"]
    assert found["difference"] == pytest.approx(2.25)
    assert found["sd"] == pytest.approx(np.std([0, 0.1, 0.2, 0.3, 0.4, 0.5], ddof=1))
    assert found["low"] == pytest.approx(2.25 - 2.5706 * found["sd"] / 6**0.5, abs=1e-4)
    assert found["high"] == pytest.approx(2.25 + 2.5706 * found["sd"] / 6**0.5, abs=1e-4)
    assert found["p"] == pytest.approx(2 / 2**6)
    assert found["verdict"] == "better"
    assert "vs_baseline" not in comparison["schedulers"]["uniform"]
    assert "vs_control" not in comparison["schedulers"]["control"]


def test_a_family_is_all_schedulers_against_one_reference_on_one_metric(comparison, small_root):
    schedulers = comparison["schedulers"]
    rows = [name for name in schedulers if name != "uniform"]
    differences = np.array(
        [
            0.1 * np.array([1, -2, 3, -1, 2, -3]),
            2 + 0.1 * np.arange(6),
            -3 - 0.1 * np.arange(6),
            4.0 * np.array([1, -1, 1, -1, 1, 0]),
        ]
    )
    expected = max_t_p(differences, 1000)
    found = [schedulers[name]["vs_baseline"]["test_acc"]["p_corrected"] for name in rows]
    np.testing.assert_allclose(found, expected)


def test_verdicts_say_what_was_found_and_no_more(comparison):
    lines = {line.split(":")[0]: line for line in verdicts(comparison)}
    assert lines["better"].startswith(
        "better: better than uniform (+2.25 [+2.05, +2.45], p = 0.031, corrected 0.031); "
    )
    assert "better than control" in lines["better"]
    assert lines["worse"].startswith("worse: worse than uniform (-3.25 [")
    assert lines["uniform"].startswith("uniform: within 1 point of control (+0.00 [-0.25, +0.25], p = 1.000")
    assert lines["noisy"].startswith("noisy: inconclusive against uniform (+0.67 [")
    assert "control" not in lines


def test_what_is_inconclusive_gets_the_seeds_that_would_decide_and_their_command(comparison, small_root):
    assert comparison["schedulers"]["noisy"]["vs_baseline"]["test_acc"]["seeds_needed"] > 64
    assert next_steps(comparison) == []  # too many to list, yet in the finding
    assert ", about " in findings(comparison)[-1]
    steps = {"uniform": BASE, "noisy": BASE + 0.01 * np.array([1, 2, -1, 1, 3, 0])}
    fewer = compare_results(*results_with(small_root, steps))
    (finding,) = findings(fewer)
    seeds = fewer["schedulers"]["noisy"]["vs_baseline"]["test_acc"]["seeds_needed"]
    assert 8 < seeds < 40
    assert finding.endswith(f", about {seeds} seeds would decide).")
    numbers = ",".join(map(str, range(seeds)))
    expected = f"{seeds - 6} more seeds would probably decide noisy: `dvc exp run -S 'seeds=[{numbers}]'`"
    assert next_steps(fewer) == [expected]
    # Decided things ask for nothing.
    assert next_steps(compare_results(*results_with(small_root, {"uniform": BASE, "better": BASE + 0.1}))) == []


def test_more_seeds_keep_those_there_are_and_skip_used_numbers(comparison):
    assert more_seeds(comparison | {"seed_numbers": [5, 1]}, 5) == "dvc exp run -S 'seeds=[5,1,0,2,3]'"


def test_dvc_understands_the_command(comparison):
    from dvc.utils.hydra import to_hydra_overrides

    (override,) = to_hydra_overrides([more_seeds(comparison, 8).split("'")[1]])
    assert override.value() == list(range(8))


def test_a_clear_difference_within_the_margin_is_called_small(small_root):
    small = {"uniform": BASE, "small": BASE + 0.002 + 0.0001 * np.arange(6)}
    (finding,) = findings(compare_results(*results_with(small_root, small)))
    assert finding.startswith("small: better than uniform, by less than 1 point (+0.22 [")


def test_the_headline_sums_up_each_reference(comparison):
    assert headlines(comparison) == [
        "Against uniform, better: better; worse: worse; inconclusive: noisy.",
        "Against control, better: better; worse: worse; inconclusive: noisy.",
    ]
    entry = comparison["schedulers"]["worse"]
    entry["vs_control"]["test_acc"]["verdict"] = "within-margin"
    assert headlines(comparison)[1] == "Against control, better: better; within 1 point: worse; inconclusive: noisy."
    assert headlines(comparison | {"seeds": 5}) == []


def test_cautions_come_before_the_findings(comparison):
    assert cautions(comparison) == []
    both = comparison | {"protocol": "published", "seeds": 2, "seed_numbers": [0, 1]}
    assert [line.split()[0] for line in cautions(both)] == ["Selected", "Seeds:"]
    assert verdicts(both) == cautions(both)


def test_a_strategy_that_never_acted_is_a_caution(comparison):
    text = "strategies.a: `remix` acts in none of the epochs (train.epochs: 5) with `warm_up: 10`"
    assert cautions(comparison | {"idle_strategies": [text]}) == [f"{text}."]


def test_without_a_correction_that_is_said_and_p_stands_alone(small_root):
    config, results, size = results_with(small_root, {"uniform": BASE, "a": BASE + 0.1, "b": BASE - 0.1})
    config = replace(config, compare=replace(config.compare, correction="none"))
    comparison = compare_results(config, results, size)
    assert cautions(comparison)[0].startswith("Not corrected for multiple comparisons")
    assert findings(comparison)[0] == "a: better than uniform (+10.00 in every seed, p = 0.031)."
    assert "max-T" not in markdown_comparison(comparison)


def test_an_interval_is_written_with_its_sign():
    difference = {"difference": 1.0, "sd": 1.0, "low": 0.1, "high": 2.0}
    assert interval(difference) == "+1.00 [+0.10, +2.00]"
    assert interval(difference | {"sd": 0.0, "low": 1.0, "high": 1.0}) == "+1.00 in every seed"
    assert interval(difference | {"sd": None, "low": None, "high": None}) == "+1.00"


def test_few_seeds_get_no_verdict(small_root):
    comparison = compare_results(*results_with(small_root, {"uniform": BASE[:5], "better": BASE[:5] + 0.1}))
    assert verdicts(comparison) == [
        "Seeds: 5, too few for a verdict, which needs at least 6. The smallest p that the sign-flip test can reach is "
        "2 / 2^5 = 0.0625, above 0.05. Run `dvc exp run -S 'seeds=[0,1,2,3,4,5]'`."
    ]


def test_a_validation_split_that_is_no_judge_is_named(small_root):
    config, results, size = results_with(small_root, {"uniform": BASE, "a": BASE + 0.1})
    for result in results["a"]:
        result.metrics["val/acc"] = result.metrics["test/acc"] + 0.2
    (far,) = cautions(compare_results(config, results, size))
    assert far.startswith("Validation accuracy is far above test accuracy (a 86.0 / 66.0 %)")
    # 10 points apart in test; with val accuracy 0.5 the standard error is 50 / sqrt(samples)
    results["a"][0].metrics["val/acc"] = 0.5
    for result in results["a"]:
        result.metrics["val/acc"] = 0.5
    assert cautions(compare_results(config, results, 26)) == []
    (small,) = cautions(compare_results(config, results, 24))
    assert small.startswith(
        "Validation accuracy has a standard error of 10.2 points (24 samples), more than the largest"
    )


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
    marks = {line.split()[0]: (line.count("*"), line.count("=")) for line in tables if "±" in line and "[" in line}
    assert marks == {"uniform": (0, 1), "control": (0, 1), "better": (2, 0), "worse": (2, 0), "noisy": (0, 0)}


def test_a_table_that_is_too_wide_becomes_several(comparison):
    console = Console(width=50)
    with console.capture() as captured:
        print_comparison(comparison, dict.fromkeys(comparison["schedulers"], 1.0), console)
    details = captured.get().split("Means over seeds, in %")[1:]
    titles = [re.split(r"\s{2,}", table.split("\n", 3)[2].strip()) for table in details]
    assert titles == [
        ["scheduler", "last epoch", "macro-F1", "mAP", "audio"],
        ["scheduler", "epoch", "steps", "seconds"],
    ]


def test_the_markdown_table_marks_the_same_differences(comparison):
    lines = markdown_comparison(comparison).splitlines()
    assert lines[0] == "| scheduler | test accuracy, % | vs uniform | vs control | last epoch, % | steps |"
    assert lines[2].startswith("| uniform | 56.00 ± 4.43 |  | +0.00 [-0.25, +0.25] = | 56.0 | 9 |")
    assert lines[4].startswith("| better | 58.25 ± 4.53 | **+2.25** [+2.05, +2.45] | **+2.25** [")
    assert lines[6].startswith("| noisy | ")
    assert "**" not in lines[6]
    assert lines[-1].startswith("6 seeds. ± is the standard deviation over seeds (ddof = 1).")


def test_the_published_protocol_is_told_first(small_root):
    config, results, size = results_with(small_root, {"uniform": BASE, "better": BASE + 0.1})
    comparison = compare_results(config, results, size) | {"protocol": "published"}
    assert verdicts(comparison)[0].startswith("Selected on the test split")
