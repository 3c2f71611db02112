"""Networks of the paper's kinds through measure, schedule and train, on the kinds of modalities it has."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from paper_networks import BERT, RESNET, SPECTROGRAM, config_of, write_store

from bss.artifacts.history import read_history
from bss.data.store import Store
from bss.data.tables import read_table
from bss.errors import BssError
from bss.files import digest_file, read_json
from bss.models.inputs.waveforms import read_filled
from bss.models.network import build_network, describe_network
from bss.stages.measure import measure
from bss.stages.schedule import schedule
from bss.stages.train import train
from bss.tracking.model import log_model

THREE = {
    "encoders": {
        "audio": RESNET | {"spectrogram": SPECTROGRAM},
        "image": RESNET | {"depth": 50, "width": 1, "features": 12},
        "text": BERT,
    },
    "fusion": {"kind": "gated"},
}
CROP = {"height": 12, "width": 14, "train": "random", "evaluation": "centre", "frames": 3}
TRIALS = ("uniform", "bss-h", "bss-l", "official-l")


def run(config, store, folder, names=TRIALS):
    measure(config, store, folder / "scores")
    schedule(config, store, folder / "scores", folder / "plans")
    train(config, store, folder / "scores", folder / "plans", folder / "runs", [(name, 0) for name in names])


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("three") / "store", ["audio", "image", "text"])


@pytest.fixture(scope="module")
def ran(store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ran")
    config = config_of(folder, THREE, epochs=6, optimiser={"kind": "adam", "learning_rate": 0.01}, decay={})
    run(config, store, folder)
    return config, folder


@pytest.mark.slow
def test_three_modalities_train_end_to_end_and_learn(ran, store):
    _, folder = ran
    for name in TRIALS:
        rows = read_history(folder / "runs" / name / "seed=0" / "history.csv")
        assert len(rows) == 6
        assert rows[-1]["train/loss"] < rows[0]["train/loss"]
    metrics = read_json(folder / "runs" / "uniform" / "seed=0" / "metrics.json", "train")
    assert metrics["test/acc"] > 0.5  # a guess is right in a third
    scores = read_table(folder / "scores" / "seed=0" / "scores.parquet", "measure")
    assert np.isfinite(scores["score"].to_numpy()).all()
    assert {"loss_text", "p_true_audio", "predicted_image"} <= set(scores.column_names)


@pytest.mark.process
def test_dropout_makes_no_difference_between_two_trainings_with_one_seed(ran, store, tmp_path):
    config, folder = ran
    torch.manual_seed(1234)
    torch.rand(99)
    names = ("uniform", "official-l")  # one trains alone, the other measures in train mode too
    run(replace(config, resources=replace(config.resources, jobs=2)), store, tmp_path, names)
    exact = ["scores/seed=0/scores.parquet", "scores/seed=0/initial.parquet"]
    exact += [f"runs/{name}/seed=0/{file}" for name in names for file in ("history.csv", "model.pt")]
    for path in exact:
        assert digest_file(tmp_path / path) == digest_file(folder / path), path


@pytest.mark.slow
def test_a_trained_network_is_rebuilt_from_its_folder(ran, store):
    trial = ran[1] / "runs" / "bss-h" / "seed=0"
    network = build_network(read_json(trial / "network.json", "train")).eval()
    network.load_state_dict(torch.load(trial / "model.pt", weights_only=True))
    data = Store.open(store)
    rows = data.rows("test")
    raw = {name: torch.from_numpy(read_filled(data, name, rows)) for name in data.modalities}
    with torch.no_grad():
        predicted = network.scores(network(network.transform(raw))).argmax(dim=1)
    np.testing.assert_array_equal(predicted, read_table(trial / "predictions.parquet", "train")["predicted"].to_numpy())


@pytest.mark.slow
def test_pretrained_weights_start_every_training_and_are_not_needed_afterwards(ran, store, tmp_path):
    config, _ = ran
    description = describe_network(config.network, Store.open(store))
    pretrained = build_network(description, seed=77).encoders["text"].model
    pretrained.save_pretrained(tmp_path / "weights")
    text = replace(config.network.encoders["text"], weights=str(tmp_path / "weights"))
    network = replace(config.network, encoders=config.network.encoders | {"text": text})
    still = replace(config.train, epochs=1, optimiser=replace(config.train.optimiser, learning_rate=1e-30))
    config = replace(config, network=network, train=still, measure=replace(config.measure, warmup_epochs=0))
    run(config, store, tmp_path, ["uniform"])
    trial = tmp_path / "runs" / "uniform" / "seed=0"
    state = torch.load(trial / "model.pt", weights_only=True)
    for name, value in pretrained.state_dict().items():
        torch.testing.assert_close(state[f"encoders.text.model.{name}"], value, atol=1e-20, rtol=0)
    assert str(tmp_path) not in (trial / "network.json").read_text(encoding="utf-8")
    provenance = read_json(tmp_path / "scores" / "provenance.json", "measure")
    assert provenance["inputs"]["weights_text"] == digest_file(tmp_path / "weights" / "model.safetensors")

    before = digest_file(trial / "provenance.json")
    train(config, store, tmp_path / "scores", tmp_path / "plans", tmp_path / "runs", [("uniform", 0)])
    assert digest_file(trial / "provenance.json") == before
    build_network(description, seed=78).encoders["text"].model.save_pretrained(tmp_path / "weights")
    train(config, store, tmp_path / "scores", tmp_path / "plans", tmp_path / "runs", [("uniform", 0)])
    assert digest_file(trial / "provenance.json") != before
    (tmp_path / "weights" / "model.safetensors").unlink()
    with pytest.raises(BssError, match=r"network\.encoders\.text\.weights: the folder .* has neither"):
        measure(config, store, tmp_path / "scores")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoders", "fusion", "criteria"),
    [
        (
            {"clip": {"kind": "i3d", "crop": CROP}, "flow": {"kind": "i3d", "crop": CROP}},
            "channel-exchange",
            ["training_loss"],
        ),
        (
            {"audio": RESNET | {"spectrogram": SPECTROGRAM}, "frames": RESNET, "text": BERT},
            "film",
            ["gradient_magnitude", "prediction_similarity"],
        ),
    ],
)
def test_clips_flow_and_frames_train_and_every_criterion_is_measured(encoders, fusion, criteria, tmp_path):
    store = write_store(tmp_path / "store", list(encoders))
    config = config_of(tmp_path, {"encoders": encoders, "fusion": {"kind": fusion}})
    score = replace(config.measure.score, criteria=tuple(criteria))
    config = replace(config, measure=replace(config.measure, warmup_epochs=0, score=score))
    run(config, store, tmp_path, ["bss-l"])
    metrics = read_json(tmp_path / "runs" / "bss-l" / "seed=0" / "metrics.json", "train")
    assert 0 <= metrics["test/acc"] <= 1
    measurements = read_table(tmp_path / "runs" / "bss-l" / "seed=0" / "measurements.parquet", "train")
    assert set(measurements["epoch"].to_pylist()) == {0, 1}
    assert np.isfinite(measurements["score"].to_numpy()).all()


@pytest.mark.slow
def test_the_similarity_of_features_of_different_lengths_is_refused_before_anything_is_trained(ran, store, tmp_path):
    score = replace(ran[0].measure.score, criteria=("feature_similarity",))
    config = replace(ran[0], measure=replace(ran[0].measure, score=score))
    with pytest.raises(BssError, match=r"`feature_similarity` needs features of one length, .*'audio': 16"):
        measure(config, store, tmp_path / "scores")


@pytest.mark.slow
def test_a_logged_model_predicts_from_stored_samples_and_names_the_packages_it_needs(
    ran, store, database, tmp_path, monkeypatch
):
    import mlflow

    monkeypatch.chdir(tmp_path)
    trial, data = ran[1] / "runs" / "uniform" / "seed=0", Store.open(store)
    rows = data.rows("test")
    samples = {name: read_filled(data, name, rows) for name in data.modalities}
    previous = mlflow.get_tracking_uri()
    client = mlflow.MlflowClient(database)
    run_id = client.create_run(client.create_experiment("paper", (tmp_path / "artifacts").as_uri())).info.run_id
    try:
        log_model(client, run_id, trial, {name: x[:2] for name, x in samples.items()})
        (logged,) = client.search_logged_models([client.get_run(run_id).info.experiment_id])
        mlflow.set_tracking_uri(database)
        model = mlflow.pyfunc.load_model(f"models:/{logged.model_id}")
        packages = mlflow.pyfunc.get_model_dependencies(f"models:/{logged.model_id}")
    finally:
        mlflow.set_tracking_uri(previous)
    table = model.predict(samples)
    predicted = read_table(trial / "predictions.parquet", "train")["predicted"].to_pylist()
    assert table["label"].tolist() == [data.classes[index] for index in predicted]
    assert "transformers==" in Path(packages).read_text(encoding="utf-8")


def test_a_token_that_the_vocabulary_lacks_is_told_before_anything_is_trained(store, tmp_path):
    network = {"encoders": THREE["encoders"] | {"text": BERT | {"vocabulary": 19}}}
    with pytest.raises(BssError, match=r"network\.encoders\.text\.vocabulary is 19, but `text` has the token id 19"):
        measure(config_of(tmp_path, network), store, tmp_path / "scores")
    assert not (tmp_path / "scores").exists()


def test_bf16_on_a_cpu_is_refused_where_gradients_would_be_left_to_chance(store, tmp_path):
    config = config_of(tmp_path, {"encoders": THREE["encoders"]}, precision="bf16")
    with pytest.raises(BssError, match=r"train\.precision: bf16 on a CPU cannot train encoders\..*maps of one pixel"):
        measure(config, store, tmp_path / "scores")
    assert not (tmp_path / "scores").exists()


@pytest.mark.slow
def test_a_pass_in_bf16_has_no_gradients_that_could_be_left_to_chance(ran, store, tmp_path):
    measured = {}
    for precision in ("bf16", "bf16", "fp32"):
        config = replace(ran[0], measure=replace(ran[0].measure, precision=precision))
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        measure(config, store, folder)
        columns = read_table(folder / "seed=0" / "scores.parquet", "measure")
        measured.setdefault(precision, []).append(columns["training_loss"].to_numpy())
    first, again = measured["bf16"]
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, measured["fp32"][0])
    np.testing.assert_allclose(first, measured["fp32"][0], rtol=0.05)
