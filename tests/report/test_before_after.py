"""Before and after decisions: differences paired by seed, and what makes them incomparable."""

import json
import shutil

import numpy as np
import pytest
from conftest import small_tree
from made import made_results
from ruamel.yaml import YAML
from scipy import stats

from bss.cli import main
from bss.config import config_from_tree
from bss.data.decisions import summarise
from bss.data.store import Store
from bss.errors import BssError
from bss.files import digest_file, read_json, write_json
from bss.report.before_after import basis_of, before_after, before_cautions, before_table, decided_lines, read_before
from bss.report.comparison import compare_results
from bss.stages.prepare import prepare

SEEDS = 8


def config_of(root, seeds, **changes):
    tree = small_tree(root) | {"seeds": list(seeds)}
    for section, values in changes.items():
        tree[section] = tree[section] | values
    return config_from_tree(tree, "params.yaml")


def compared(config, store, shift):
    """A comparison of made-up trials, each `shift[seed]` better than without."""
    results = made_results(list(config.schedule.schedulers), SEEDS, store.modalities)
    for trials in results.values():
        trials[:] = [trials[seed] for seed in config.seeds]
        for trial, seed in zip(trials, config.seeds, strict=True):
            trial.metrics["test/acc"] += shift[seed]
    comparison = compare_results(config, results, len(store.rows("val")))
    decisions = summarise(store.path / "decisions.csv")
    return comparison | {"basis": basis_of(config, store, results)} | ({"decisions": decisions} if decisions else {})


@pytest.fixture(scope="module")
def stores(small_root, small_store, small_data, tmp_path_factory):
    """The small store, one with decisions about train, and one with a decision about test."""
    root = shutil.copytree(small_root, tmp_path_factory.mktemp("decided") / "pets")
    (root / "train.csv").write_text(
        "id,decision,value\ntrain-cat-0,drop,\ntrain-dog-1,relabel,owl\ntrain-owl-2,keep,\n"
    )
    (root / "test.csv").write_text("id,decision,value\ntest-cat-0,ignore,audio\n")
    found = [Store.open(small_store)]
    for name in ("train", "test"):
        config = config_of(root, [0], prepare={"decisions": f"{name}.csv", "decide_test": name == "test"})
        prepare(config, root, root.parent / name)
        found.append(Store.open(root.parent / name))
    return (root, *found)


@pytest.fixture(scope="module")
def earlier(small_root, stores, tmp_path_factory):
    """The file of a comparison before decisions, of the seeds 0 to 7."""
    path = tmp_path_factory.mktemp("before") / "comparison.json"
    write_json(path, compared(config_of(small_root, range(SEEDS)), stores[1], np.zeros(SEEDS)))
    return path


@pytest.mark.slow
def test_differences_are_paired_by_the_seeds_that_both_have(small_root, stores, earlier):
    root, _, decided, _ = stores
    seeds = [7, 2, 3, 4, 5, 6]
    shift = np.random.default_rng(1).normal(0.02, 0.002, SEEDS)
    config = config_of(small_root, seeds)
    now = compared(config, decided, shift)
    found = before_after(config, read_before(earlier, config, decided), now["basis"])
    assert found["seeds"] == seeds
    assert list(found["schedulers"]) == list(config.schedule.schedulers)
    own = 100 * shift[seeds]
    expected = stats.ttest_1samp(own, 0).confidence_interval(0.95)
    for entry in found["schedulers"].values():
        assert entry["difference"] == pytest.approx(own.mean())
        assert (entry["low"], entry["high"]) == pytest.approx((expected.low, expected.high))
        assert entry["after"] - entry["before"] == pytest.approx(own.mean())
        assert entry["p"] == 2 / 2**6
        assert entry["verdict"] == "better"
    comparison = now | {"before": found}
    assert before_cautions(comparison) == []
    titles, rows = before_table(comparison)
    assert titles == ["scheduler", "before", "after", "after - before", "p", "corrected", "verdict"]
    assert rows[0][0] == "uniform"
    assert rows[0][3].startswith(f"{own.mean():+.2f} [")
    digest = digest_file(root / "train.csv")
    line = f"Decisions of decisions.csv (sha256 {digest[:12]}): train 1 drop, 1 relabel."
    assert decided_lines(comparison) == [line]


def test_a_changed_test_split_and_other_parameters_are_cautions(small_root, stores, earlier):
    config = config_of(small_root, range(SEEDS), train={"epochs": 4})
    now = compared(config, stores[3], np.zeros(SEEDS))
    found = before_after(config, read_before(earlier, config, stores[3]), now["basis"])
    assert found["differ"] == ["train.epochs"]
    first, second = before_cautions(now | {"before": found})
    assert first.startswith("Before and after have different test samples or labels")
    assert second == "Before and after differ in more than decisions: train.epochs."
    same = compared(config_of(small_root, range(SEEDS)), stores[1], np.zeros(SEEDS))
    found = before_after(config, read_before(earlier, config, stores[1]), same["basis"])
    assert before_cautions(same | {"before": found}) == ["Before and after have the same decisions."]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("basis"), "has no per-seed accuracies"),
        (lambda c: c["basis"].update(dataset="0" * 64), "is a comparison on another dataset"),
        (lambda c: c.update(protocol="published"), "has the protocol published, but params.yaml honest"),
        (lambda c: c.update(seed_numbers=list(range(10, 18))), r"has the seeds \[10, .*nothing can be paired"),
        (
            lambda c: c["basis"].update(test_acc={"other": [0.5] * 8}),
            "has none of the schedulers of params.yaml: other",
        ),
        (
            lambda c: c["basis"]["test_acc"].update(uniform=[0.5]),
            r"damaged \(the accuracies of uniform are not one per",
        ),
    ],
)
def test_what_cannot_be_compared_is_one_message(small_root, stores, earlier, tmp_path, change, message):
    comparison = json.loads(earlier.read_text())
    change(comparison)
    write_json(tmp_path / "comparison.json", comparison)
    with pytest.raises(BssError, match=message):
        read_before(tmp_path, config_of(small_root, range(SEEDS)), stores[1])
    with pytest.raises(BssError, match="no such file"):
        read_before(tmp_path / "other.json", config_of(small_root, range(SEEDS)), stores[1])


@pytest.mark.slow
def test_the_command_shows_before_and_after_and_says_why_they_are_alike(
    pipeline, small_root, small_store, tmp_path, capsys
):
    YAML().dump(small_tree(small_root), tmp_path / "params.yaml")
    folders = [f"--{name}={pipeline[0] / name}" for name in ("scores", "runs")]
    where = [f"--store={small_store}", f"--report={tmp_path / 'report'}", f"--params={tmp_path / 'params.yaml'}"]
    assert main(["compare", *folders, *where, f"--before={pipeline[0] / 'report'}"]) == 0
    printed = capsys.readouterr().out
    assert "Before and after the decisions: accuracy on test in %, 2 seeds" in printed
    assert "Before and after have the same decisions." in printed
    comparison = read_json(tmp_path / "report" / "comparison.json", "compare")
    assert {entry["difference"] for entry in comparison["before"]["schedulers"].values()} == {0}
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert page.count("<h2>Before and after the decisions</h2>") == 1
    assert main(["show", f"--report={tmp_path / 'report'}"]) == 0
    assert "after - before" in capsys.readouterr().out
