"""The stages one after the other on small data with three modalities."""

import csv
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from conftest import small_tree

from bss.config import config_from_tree, config_to_tree
from bss.data.store import Store
from bss.data.tables import read_table
from bss.errors import BssError
from bss.files import digest_file, read_json, write_json
from bss.stages.compare import compare
from bss.stages.measure import measure
from bss.stages.schedule import schedule
from bss.stages.sequence import check_sequence
from bss.stages.train import train

EXACT = ("scores.parquet", "initial.parquet", "history.csv", "metrics.json", "sequences.parquet")
EXACT += ("measurements.parquet", "predictions.parquet", "pacing.csv", "plan.json", "comparison.json", "curves.csv")


def exact_digests(folder):
    """Digests of all that a seed decides; times, places and commits lie in other files."""
    files = [p for p in folder.rglob("*") if p.name in EXACT or p.parent.parent.name == "plans"]
    return {p.relative_to(folder).as_posix(): digest_file(p) for p in files if p.is_file()}


def run_all(config, store, folder):
    scores, plans, runs, report = (folder / name for name in ("scores", "plans", "runs", "report"))
    measure(config, store, scores)
    schedule(config, store, scores, plans)
    train(config, store, scores, plans, runs)
    compare(config, store, scores, runs, report)


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.process
def test_the_same_seed_gives_the_same_bytes_from_another_folder_and_with_another_number_of_workers(
    pipeline, small_root, small_store, tmp_path, monkeypatch
):
    folder, _ = pipeline
    monkeypatch.chdir(tmp_path)
    tree = small_tree(small_root)
    tree["resources"]["jobs"] = 2
    run_all(config_from_tree(tree, "params.yaml"), small_store, tmp_path / "again")
    first, second = exact_digests(folder), exact_digests(tmp_path / "again")
    assert len(first) > 80
    assert second == first


def test_another_seed_gives_other_scores_and_sequences(pipeline):
    folder, _ = pipeline
    first, second = (folder / "scores" / f"seed={seed}" / "scores.parquet" for seed in (0, 1))
    assert digest_file(first) != digest_file(second)
    digests = [
        read_csv(folder / "runs" / "uniform" / f"seed={s}" / "history.csv")[0]["schedule/digest"] for s in (0, 1)
    ]
    assert digests[0] != digests[1]


def test_scores_have_a_row_per_training_sample_and_ranks_by_score(pipeline, small_store):
    folder, _ = pipeline
    store = Store.open(small_store)
    table = read_table(folder / "scores" / "seed=0" / "scores.parquet", "measure")
    np.testing.assert_array_equal(table["index"].to_numpy(), store.rows("train"))
    score, rank = table["score"].to_numpy(), table["rank"].to_numpy()
    assert (np.diff(score[np.argsort(rank)]) <= 0).all()
    for name in ("loss_audio", "p_true_image", "predicted_vector", "prediction_similarity", "training_loss"):
        assert name in table.column_names


def test_the_plan_says_when_each_sample_is_first_shown_and_training_obeys(pipeline):
    folder, config = pipeline
    plan = read_table(folder / "plans" / "bss-h" / "seed=1.parquet", "schedule")
    sequences = read_table(folder / "runs" / "bss-h" / "seed=1" / "sequences.parquet", "train")["sequence"]
    first_epoch = dict(zip(plan["index"].to_pylist(), plan["first_epoch"].to_pylist(), strict=True))
    pacing = read_csv(folder / "plans" / "bss-h" / "pacing.csv")
    for epoch, sequence in enumerate(sequences.to_pylist()):
        assert set(sequence) == {index for index, first in first_epoch.items() if first <= epoch}
        assert len(sequence) == int(pacing[epoch]["samples"])
    assert len(sequences) == config.train.epochs


def test_every_sequence_can_be_regenerated_from_its_plan(pipeline, small_store):
    folder, config = pipeline
    for name in config.schedule.schedulers:
        recorded = read_table(folder / "runs" / name / "seed=0" / "sequences.parquet", "train")["sequence"]
        for epoch in range(config.train.epochs):
            rows = check_sequence(config, small_store, folder / "plans", folder / "runs", name, 0, epoch)
            assert rows.tolist() == recorded[epoch].as_py()


def test_a_sequence_of_another_run_is_reported(pipeline, small_store, tmp_path):
    folder, config = pipeline
    shutil.copytree(folder / "runs" / "bss-h" / "seed=1", tmp_path / "bss-h" / "seed=0")
    with pytest.raises(BssError, match="the plan does not belong to this run"):
        check_sequence(config, small_store, folder / "plans", tmp_path, "bss-h", 0, 1)
    with pytest.raises(BssError, match=r"--epoch 9: .* has the epochs 0 to 2"):
        check_sequence(config, small_store, folder / "plans", folder / "runs", "bss-h", 0, 9)


def test_history_and_metrics_tell_of_every_epoch(pipeline):
    folder, _config = pipeline
    trial = folder / "runs" / "bss-l" / "seed=0"
    history, metrics = read_csv(trial / "history.csv"), read_json(trial / "metrics.json", "train")
    assert [int(row["epoch"]) for row in history] == [0, 1, 2]
    assert [float(row["learning_rate"]) for row in history] == pytest.approx([0.05, 0.05, 0.005])
    accuracies = [float(row["val/acc"]) for row in history]
    assert metrics["selected_epoch"] == accuracies.index(max(accuracies))
    assert metrics["val/acc"] == max(accuracies)
    assert metrics["steps"] == 9
    assert "test/acc" not in history[0]  # the honest protocol reads test once, at the end
    predictions = read_table(trial / "predictions.parquet", "train")
    right = (predictions["predicted"].to_numpy() == predictions["label"].to_numpy()).mean()
    assert metrics["test/acc"] == pytest.approx(right)
    for row in history:
        per_modality = [float(row[f"val/acc_{name}"]) for name in ("audio", "image", "vector")]
        assert float(row["balance/gap"]) == pytest.approx(max(per_modality) - min(per_modality))


@pytest.mark.slow
def test_the_published_protocol_selects_on_test_and_says_so(pipeline, small_root, small_store, tmp_path):
    folder, _ = pipeline
    tree = small_tree(small_root) | {"protocol": "published", "seeds": [0]}
    config = config_from_tree(tree, "params.yaml")
    runs = tmp_path / "runs"
    train(config, small_store, folder / "scores", folder / "plans", runs)
    history = read_csv(runs / "uniform" / "seed=0" / "history.csv")
    metrics = read_json(runs / "uniform" / "seed=0" / "metrics.json", "train")
    assert metrics["test/acc"] == max(float(row["test/acc"]) for row in history)
    compare(config, small_store, folder / "scores", runs, tmp_path / "report")
    assert read_json(tmp_path / "report" / "comparison.json", "compare")["protocol"] == "published"
    assert "Selected on the test split" in (tmp_path / "report" / "report.html").read_text()


def test_finished_trainings_are_kept_and_only_what_changed_is_trained(
    pipeline, small_root, small_store, tmp_path, capsys
):
    folder, _ = pipeline
    runs = tmp_path / "runs"
    shutil.copytree(folder / "runs", runs)
    marked = runs / "uniform" / "seed=0" / "timing.json"
    write_json(marked, {"seconds": 123.0, "measuring_seconds": 0.0})
    tree = small_tree(small_root)
    tree["schedule"]["schedulers"]["bss-l"]["beta"] = 0.9
    del tree["schedule"]["schedulers"]["official-l"]
    config = config_from_tree(tree, "params.yaml")
    schedule(config, small_store, folder / "scores", tmp_path / "plans")
    train(config, small_store, folder / "scores", tmp_path / "plans", runs)
    assert "10 trials, 8 kept" in capsys.readouterr().out
    assert read_json(marked, "train")["seconds"] == 123.0
    assert not (runs / "official-l").exists()


def test_one_trial_can_be_trained_alone(pipeline, small_store, tmp_path):
    folder, config = pipeline
    train(config, small_store, folder / "scores", folder / "plans", tmp_path / "runs", [("bss-h", 1)])
    made = tmp_path / "runs" / "bss-h" / "seed=1"
    assert digest_file(made / "metrics.json") == digest_file(folder / "runs" / "bss-h" / "seed=1" / "metrics.json")
    assert len(list((tmp_path / "runs").iterdir())) == 1


def changed(pipeline, change):
    tree = config_to_tree(pipeline[1])
    change(tree)
    return config_from_tree(tree, "params.yaml")


def test_a_batch_that_the_data_cannot_fill_is_refused(pipeline, small_store, tmp_path):
    config = changed(pipeline, lambda tree: tree["train"].update(batch_size=64))
    with pytest.raises(BssError, match=r"48 training samples do not fill a batch of 64: lower train\.batch_size"):
        schedule(config, small_store, pipeline[0] / "scores", tmp_path / "plans")


def test_trimming_below_a_batch_is_refused(pipeline, small_store, tmp_path):
    config = changed(pipeline, lambda tree: tree["schedule"]["schedulers"]["bss-h"].update(trim=0.8))
    with pytest.raises(BssError, match=r"bss-h\.trim: 0\.8 admits 10 samples, fewer than train\.batch_size \(16\)"):
        schedule(config, small_store, pipeline[0] / "scores", tmp_path / "plans")


def test_a_plan_of_another_dataset_or_of_other_parameters_is_refused(pipeline, small_store, tmp_path):
    folder, config = pipeline
    store = tmp_path / "store"
    shutil.copytree(small_store, store)
    header = read_json(store / "store.json", "prepare")
    write_json(store / "store.json", header | {"digest": "0" * 64})
    arguments = (folder / "scores", folder / "plans", tmp_path / "runs")
    with pytest.raises(BssError, match="this plan is for another dataset"):
        train(config, store, *arguments)
    other = changed(pipeline, lambda tree: tree["schedule"]["schedulers"]["bss-l"].update(beta=0.1))
    with pytest.raises(BssError, match="planned with other parameters of `bss-l`"):
        train(other, small_store, *arguments)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "initial"),
    [
        (lambda tree: tree["train"].update(precision="bf16"), True),
        (lambda tree: tree["train"].update(accumulate=2), False),
        (lambda tree: tree["network"]["encoders"]["image"].update(crop={"height": 6, "width": 6}), True),
    ],
    ids=["precision", "accumulate", "crop"],
)
def test_what_is_said_of_steps_and_their_inputs_reaches_measuring_and_training(
    change, initial, pipeline, small_store, tmp_path
):
    folder, _ = pipeline

    def of_one_seed(tree):
        change(tree)
        tree["seeds"] = [0]

    config = changed(pipeline, of_one_seed)
    measure(config, small_store, tmp_path / "scores")
    schedule(config, small_store, tmp_path / "scores", tmp_path / "plans")
    train(config, small_store, tmp_path / "scores", tmp_path / "plans", tmp_path / "runs", [("uniform", 0)])
    other = {"initial.parquet"} if initial else set()
    for path, name in (("scores", "initial.parquet"), ("scores", "scores.parquet"), ("runs/uniform", "history.csv")):
        file = f"{path}/seed=0/{name}"
        same = digest_file(tmp_path / file) == digest_file(folder / file)
        assert same == (name == "initial.parquet" and name not in other), file


@pytest.mark.slow
def test_the_precision_of_measuring_reaches_what_measures_and_nothing_else(pipeline, small_store, tmp_path):
    folder, _ = pipeline

    def of_one_seed(tree):
        tree["measure"]["precision"] = "bf16"
        tree["seeds"] = [0]

    config = changed(pipeline, of_one_seed)
    measure(config, small_store, tmp_path / "scores")
    for name in ("initial.parquet", "scores.parquet"):
        files = [path / "scores" / "seed=0" / name for path in (tmp_path, folder)]
        assert digest_file(files[0]) != digest_file(files[1])
    train(config, small_store, folder / "scores", folder / "plans", tmp_path / "runs")  # with the same first scores
    other = {
        name
        for name in config.schedule.schedulers
        if digest_file(tmp_path / "runs" / name / "seed=0" / "history.csv")
        != digest_file(folder / "runs" / name / "seed=0" / "history.csv")
    }
    assert other == {"bss-l", "official-l"}


def test_scores_of_other_samples_are_refused(pipeline, small_store, tmp_path):
    import pyarrow.parquet

    scores = tmp_path / "scores"
    shutil.copytree(pipeline[0] / "scores", scores)
    path = scores / "seed=1" / "scores.parquet"
    pyarrow.parquet.write_table(read_table(path, "measure").slice(1), path)
    with pytest.raises(BssError, match="its 47 samples are not the 48 training samples"):
        schedule(pipeline[1], small_store, scores, tmp_path / "plans")


def test_a_training_that_diverges_says_what_to_change_and_keeps_the_others(pipeline, small_store, tmp_path):
    folder, _ = pipeline
    config = changed(pipeline, lambda tree: tree["train"]["optimiser"].update(learning_rate=1e18))
    with pytest.raises(BssError, match=r"seed \d: the training loss is .* Lower train\.optimiser\.learning_rate"):
        train(config, small_store, folder / "scores", folder / "plans", tmp_path / "runs")
    assert not list((tmp_path / "runs").rglob("metrics.json"))


def test_a_missing_training_and_one_of_another_protocol_are_named(pipeline, small_store, tmp_path):
    folder, config = pipeline
    runs = tmp_path / "runs"
    shutil.copytree(folder / "runs", runs)
    with pytest.raises(BssError, match=r"trained under protocol honest, but params\.yaml has published"):
        compare(
            changed(pipeline, lambda t: t.update(protocol="published")),
            small_store,
            folder / "scores",
            runs,
            tmp_path / "r",
        )
    shutil.rmtree(runs / "bss-h" / "seed=1")
    with pytest.raises(BssError, match=r"this trial is missing\. Run `bss train --scheduler bss-h --seed 1`"):
        compare(config, small_store, folder / "scores", runs, tmp_path / "r")
    (runs / "uniform" / "seed=0" / "metrics.json").write_text("{")
    with pytest.raises(BssError, match=r"metrics\.json: damaged"):
        compare(config, small_store, folder / "scores", runs, tmp_path / "r")


HOLDER = """
import sys, time
from pathlib import Path
from bss.files import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.process
def test_a_second_run_in_the_same_folder_is_refused(pipeline, small_store, tmp_path):
    folder, config = pipeline
    runs = tmp_path / "runs"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, runs], stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(BssError, match="runs: another process is writing it"):
            train(config, small_store, folder / "scores", folder / "plans", runs, [("uniform", 0)])
    finally:
        holder.kill()
        holder.wait()
    train(config, small_store, folder / "scores", folder / "plans", runs, [("uniform", 0)])
    assert (runs / "uniform" / "seed=0" / "metrics.json").is_file()


@pytest.mark.process
def test_seeds_that_are_measured_at_a_time_give_the_same_scores(pipeline, small_store, tmp_path, capfd):
    folder, config = pipeline
    two = replace(config, resources=replace(config.resources, jobs=2))
    measure(two, small_store, tmp_path / "scores")
    for seed in config.seeds:
        for name in ("scores.parquet", "initial.parquet"):
            path = f"seed={seed}/{name}"
            assert digest_file(tmp_path / "scores" / path) == digest_file(folder / "scores" / path)
    assert "2 seeds, 2 concurrent" in capfd.readouterr().out
