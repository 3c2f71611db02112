"""The comparison of many schedulers: 60 x 8 seeds."""

import re

import numpy as np
import pytest
from rich.console import Console

from bss.report.comparison import ROLES
from bss.report.families import compare_family
from bss.report.forest import forest_plot
from bss.report.headline import headline
from bss.report.selection import MOST_SHOWN, listed, shown
from bss.report.terminal import print_comparison

COUNT = 60


@pytest.fixture(scope="module")
def comparison():
    """uniform, the control and 58 others from 3 points below to 3 points above uniform."""
    random = np.random.default_rng(0)
    base = random.normal(80, 1, 8)
    values = {"uniform": base, "control": base + random.normal(-0.5, 1, 8)}
    for i, offset in enumerate(np.linspace(-3, 3, COUNT - 2)):
        values[f"strategy-{i:02}"] = base + offset + random.normal(0, 0.5, 8)
    schedulers = {}
    for name, row in values.items():
        mean = {"mean": row.mean() / 100, "sd": row.std(ddof=1) / 100}
        schedulers[name] = dict.fromkeys(("test_acc", "last_test_acc", "val_acc", "test_acc_audio"), mean)
        schedulers[name] |= {"steps": {"mean": 9.0, "sd": 0.0}, "selected_epoch": {"mean": 1.0, "sd": 0.0}}
    comparison = {
        **{"protocol": "honest", "seeds": 8, "seed_numbers": list(range(8)), "val_samples": 10**6},
        **{"baseline": "uniform", "control": "control", "correction": "max-t", "margin": 1.0},
        "schedulers": schedulers,
    }
    for key, role in ROLES:
        names = [name for name in values if name != comparison[role]]
        found = compare_family([values[name] for name in names], values[comparison[role]], "max-t", 1.0, 1000)
        for name, difference in zip(names, found, strict=True):
            schedulers[name] = schedulers[name] | {key: {"test_acc": vars(difference)}}
    return comparison


def test_the_best_and_the_references_are_kept_and_the_best_come_first(comparison):
    kept = shown(comparison)
    means = {name: entry["test_acc"]["mean"] for name, entry in comparison["schedulers"].items()}
    best = sorted((name for name in means if name.startswith("s")), key=means.get)[-(MOST_SHOWN - 2) :]
    assert set(kept) == {"uniform", "control", *best}
    assert kept[:2] == ["uniform", "control"]  # in the order of params.yaml
    in_order = listed(comparison, list(means))
    assert len(in_order) == COUNT
    assert np.all(np.diff([means[name] for name in in_order]) <= 0)


def test_the_terminal_fits_on_two_screens(comparison):
    console = Console(width=100)
    with console.capture() as captured:
        print_comparison(comparison, dict.fromkeys(comparison["schedulers"], 1.5), console)
    lines = captured.get().splitlines()
    assert len(lines) <= 2 * (MOST_SHOWN + 5) + 6
    assert sum("±" in line and "[" in line for line in lines) == MOST_SHOWN
    assert f"{COUNT - MOST_SHOWN} more schedulers have a lower accuracy than these" in captured.get()
    (against,) = [line for line in lines if line.startswith("Against uniform, ")]
    better = sum(
        e["vs_baseline"]["test_acc"]["verdict"] == "better"
        for e in comparison["schedulers"].values()
        if "vs_baseline" in e
    )
    assert better > 6
    assert f"and {better - 6} more; worse: " in against
    assert max(map(len, lines)) < 500


def test_the_sentence_names_the_three_best(comparison):
    found = {n: e["vs_baseline"]["test_acc"] for n, e in comparison["schedulers"].items() if n.startswith("s")}
    better = sorted((n for n in found if found[n]["verdict"] == "better"), key=lambda n: -found[n]["difference"])
    worse = sum(one["verdict"] == "worse" for one in found.values())
    expected = f"{', '.join(better[:3])} and {len(better) - 3} more are better than uniform ({worse} worse, "
    assert headline(comparison).startswith(expected)


@pytest.mark.slow
def test_the_forest_plot_has_a_row_for_each_and_stays_low(comparison):
    svg = forest_plot(comparison, "test_acc")
    texts = re.findall("<text[^>]*>(.*?)</text>", svg)
    assert [text for text in texts if text in comparison["schedulers"]] == listed(
        comparison, list(comparison["schedulers"])
    )
    height = float(re.search(r'height="([\d.]+)pt"', svg).group(1))
    assert height < 20 * COUNT
    verdicts = [text.split(",")[0] for text in texts if ", p " in text]
    assert len(verdicts) == 2 * (COUNT - 1)
    for word in ("better", "worse", "inconclusive", "no difference"):
        assert word in verdicts
