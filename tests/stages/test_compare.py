"""What the comparison writes, and what it refuses to rest on."""

import csv
import json
import re
import shutil

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from rich.console import Console

from bss.data.tables import read_table
from bss.errors import BssError
from bss.files import digest_file, read_json, write_json
from bss.report.markdown import markdown_comparison
from bss.report.terminal import show
from bss.stages.compare import compare


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def own(pipeline, small_store, tmp_path):
    """Folders of one's own to damage, and a function that compares what is in them."""
    for name in ("scores", "runs"):
        shutil.copytree(pipeline[0] / name, tmp_path / name)

    def run():
        compare(pipeline[1], small_store, tmp_path / "scores", tmp_path / "runs", tmp_path / "report")

    return tmp_path, run


def test_every_difference_is_the_mean_of_the_seeds_own(pipeline):
    folder, config = pipeline
    rows = {(r["scheduler"], r["reference"], r["metric"]): r for r in read_csv(folder / "report" / "differences.csv")}
    metrics = {
        (name, seed): read_json(folder / "runs" / name / f"seed={seed}" / "metrics.json", "train")
        for name in config.schedule.schedulers
        for seed in config.seeds
    }
    # six schedulers against two references, themselves left out, at the selected and at the last epoch
    assert len(rows) == (5 + 5) * 2
    for (name, reference, metric), row in rows.items():
        key = {"test_acc": "test/acc", "last_test_acc": "last/test_acc"}[metric]
        own = [100 * (metrics[name, seed][key] - metrics[reference, seed][key]) for seed in config.seeds]
        assert float(row["difference"]) == pytest.approx(np.mean(own))
        # Student's t with one degree of freedom; the standard error of two seeds is half of what they differ by.
        half = 12.70620 * abs(own[0] - own[1]) / 2
        expected = (np.mean(own) - half, np.mean(own) + half)
        assert (float(row["low"]), float(row["high"])) == pytest.approx(expected, rel=1e-5, abs=1e-9)
        assert float(row["sd"]) == pytest.approx(np.std(own, ddof=1))
        assert row["verdict"] == "inconclusive"  # two seeds cannot show one


def test_curves_are_means_over_seeds_with_steps_that_add_up(pipeline):
    folder, config = pipeline
    rows = [row for row in read_csv(folder / "report" / "curves.csv") if row["scheduler"] == "bss-h"]
    histories = [read_csv(folder / "runs" / "bss-h" / f"seed={seed}" / "history.csv") for seed in config.seeds]
    assert [int(row["epoch"]) for row in rows] == [0, 1, 2]
    steps = 0
    for epoch, row in enumerate(rows):
        steps += int(float(histories[0][epoch]["schedule/steps"]))
        assert int(row["steps"]) == steps
        for short, long in (("acc_image", "val/acc_image"), ("gap", "balance/gap"), ("train_loss", "train/loss")):
            assert float(row[short]) == pytest.approx(np.mean([float(h[epoch][long]) for h in histories]))


def test_the_metrics_of_dvc_are_those_of_the_comparison(pipeline):
    folder, config = pipeline
    comparison = read_json(folder / "report" / "comparison.json", "compare")
    found = {
        path.stem: read_json(path, "compare") for path in (folder / "report" / "metrics").iterdir()
    }  # a file per scheduler
    assert set(found) == set(config.schedule.schedulers)
    trials = [read_json(folder / "runs" / "bss-h" / f"seed={s}" / "metrics.json", "train") for s in config.seeds]
    accuracies = [trial["test/acc"] for trial in trials]
    bss_h = found["bss-h"]
    assert bss_h["test_acc"] == pytest.approx(np.mean(accuracies))
    assert bss_h["test_acc_sd"] == pytest.approx(np.std(accuracies, ddof=1))
    for reference, key in (("uniform", "vs_baseline_points"), ("control", "vs_control_points")):
        assert bss_h[key] == pytest.approx(100 * (bss_h["test_acc"] - found[reference]["test_acc"]))
        assert key not in found[reference]
    assert bss_h["steps"] == comparison["schedulers"]["bss-h"]["steps"]["mean"]


@pytest.mark.slow
def test_the_report_is_the_same_bytes_again_but_for_times(own, pipeline):
    folder, run = own
    for seed, seconds in ((0, 2.0), (1, 5.0)):
        write_json(folder / "runs" / "bss-l" / f"seed={seed}" / "timing.json", {"seconds": seconds})
    run()
    assert read_json(folder / "report" / "times.json", "compare")["bss-l"] == 3.5
    for name in ("comparison.json", "comparison.csv", "curves.csv", "differences.csv"):
        assert digest_file(folder / "report" / name) == digest_file(pipeline[0] / "report" / name), name
    first, second = ((path / "report" / "report.html").read_text() for path in (pipeline[0], folder))
    drawings = [re.findall(r"<svg.*?</svg>", page, re.DOTALL) for page in (first, second)]
    assert len(drawings[0]) >= 10
    assert drawings[1] == drawings[0]


def test_show_prints_the_table_alone_in_markdown(pipeline):
    folder, config = pipeline
    console = Console(width=40)
    with console.capture() as captured:
        show(folder / "report", console, markdown=True)
    lines = captured.get().splitlines()
    comparison = read_json(folder / "report" / "comparison.json", "compare")
    assert lines == markdown_comparison(comparison).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:8]] == [f"| {name}" for name in config.schedule.schedulers]


@pytest.mark.parametrize(
    ("ui", "last"),
    [({}, ["MLflow UI: make ui (or `bss ui`)"]), ({"ui": "x bss ui"}, ["MLflow UI: x bss ui"]), ({"ui": None}, [])],
)
def test_show_ends_with_the_places_of_the_report_and_the_runs(ui, last, pipeline):
    console = Console(width=40)
    with console.capture() as captured:
        show(pipeline[0] / "report", console, **ui)
    path = pipeline[0] / "report" / "report.html"
    assert captured.get().splitlines()[-1 - len(last) :] == [f"Report: {path}", *last]


def change_metrics(trial, **values):
    metrics = json.loads((trial / "metrics.json").read_text())
    (trial / "metrics.json").write_text(json.dumps(metrics | values))


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


DAMAGES = {
    "not JSON": (lambda c: (c / "metrics.json").write_text("{"), r"metrics\.json: damaged"),
    "not an object": (lambda c: (c / "metrics.json").write_text("[]"), r"metrics\.json: damaged .* a list"),
    "null": (lambda c: change_metrics(c, **{"test/map": None}), r"metrics\.json: test/map is None, not a number"),
    "text": (lambda c: change_metrics(c, **{"test/acc_image": "0.5"}), r"test/acc_image is '0\.5', not a number"),
    "NaN": (
        lambda c: change_metrics(c, **{"last/test_acc": float("nan")}),
        r"metrics\.json: damaged \(NaN is not a finite number",
    ),
    "no times": (lambda c: (c / "timing.json").unlink(), r"timing\.json: not found"),
    "empty times": (lambda c: (c / "timing.json").write_text("{}"), r"timing\.json: seconds is None"),
    "no history": (lambda c: (c / "history.csv").unlink(), r"history\.csv: missing or damaged"),
    "cut history": (
        lambda c: (c / "history.csv").write_text("".join((c / "history.csv").read_text().splitlines(True)[:-1])),
        r"history\.csv: has 2 epochs, but train\.epochs is 3",
    ),
    "no column": (
        lambda c: edit(c / "history.csv", "val/acc_audio", "other"),
        r"history\.csv, epoch 0: val/acc_audio is None",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_training_is_named_with_its_fix(own, damage):
    folder, run = own
    trial = folder / "runs" / "bss-l" / "seed=1"
    break_it, message = DAMAGES[damage]
    break_it(trial)
    with pytest.raises(BssError, match=message) as caught:
        run()
    assert f"remove {trial}, then run `bss train --scheduler bss-l --seed 1`." in str(caught.value)
    assert not (folder / "report").exists()


@pytest.mark.slow
def test_scores_in_another_order_would_name_the_wrong_samples_and_are_refused(own):
    folder, run = own
    path = folder / "scores" / "seed=1" / "scores.parquet"
    table = read_table(path, "measure")
    pyarrow.parquet.write_table(table.take(list(range(len(table)))[::-1]), path)
    with pytest.raises(BssError, match=r"seed=1/scores\.parquet: its 48 samples are not"):
        run()


@pytest.mark.slow
def test_measurements_that_are_cut_short_are_refused(own):
    folder, run = own
    path = folder / "runs" / "bss-l" / "seed=0" / "measurements.parquet"
    table = read_table(path, "train")
    pyarrow.parquet.write_table(table.slice(1), path)
    with pytest.raises(BssError, match=rf"measurements\.parquet: its {len(table) - 1} rows do not have each of"):
        run()


def test_a_failed_comparison_leaves_the_last_report(own, pipeline):
    folder, run = own
    shutil.copytree(pipeline[0] / "report", folder / "report")
    (folder / "scores" / "seed=0" / "scores.parquet").write_bytes(b"no parquet")
    with pytest.raises(BssError, match="not a readable Parquet file"):
        run()
    before, after = (digest_file(path / "report" / "report.html") for path in (pipeline[0], folder))
    assert after == before
    assert [path.name for path in folder.glob(".report*")] == []
