"""Encoders from outside through every stage: one of your own code, two frozen pretrained ones, and kept features."""

import json
import re
import sys
from contextlib import contextmanager

import numpy as np
import pyarrow.parquet
import pytest
import torch
import transformers as hf
from conftest import small_tree
from killed import Killed, killed_after_saving
from trials import train_at

from bss.cli import main
from bss.config import config_from_tree
from bss.data.store import Store
from bss.errors import BssError
from bss.files import read_json
from bss.predict.trained import Trained
from bss.stages import measure as measure_stage
from bss.stages import train as train_stage
from bss.stages.measure import measure
from bss.stages.schedule import schedule
from bss.stages.train import train
from bss.training.predicting import predict
from bss.training.samples.frozen_features import cacheable, features_file, open_features, why_not_kept, write_features
from bss.training.samples.split_data import SplitData
from bss.training.trial_spec import TrialId, describe_trial, read_trial_plan
from tests.models.own_modules import write_modules
from tests.models.small_models import SIZES, SOUND, VIT_PROCESSOR

SAME = ("history.csv", "metrics.json", "model.pt", "network.json", "predictions.parquet", "sequences.parquet")


def save_models(folder):
    """Save a model of sounds and one of pictures for the small data."""
    torch.manual_seed(0)
    sound = hf.AutoModel.from_config(hf.Wav2Vec2Config(**SOUND))
    sound.save_pretrained(folder / "sound")
    hf.Wav2Vec2FeatureExtractor(sampling_rate=4000).save_pretrained(folder / "sound")
    picture = hf.AutoModel.from_config(hf.ViTConfig(image_size=6, patch_size=3, num_channels=1, **SIZES))
    picture.save_pretrained(folder / "picture")
    processor = VIT_PROCESSOR | {"size": {"height": 6, "width": 6}, "image_mean": [0.5], "image_std": [0.25]}
    (folder / "picture" / "preprocessor_config.json").write_text(json.dumps(processor), encoding="utf-8")


def own_tree(root, folder, **train_keys):
    tree = small_tree(root)
    tree["seeds"] = [0]
    tree["network"]["encoders"] = {
        "audio": {"kind": "huggingface", "model": str(folder / "sound"), "features": 8},
        "image": {"kind": "huggingface", "model": str(folder / "picture"), "pooling": "cls"},
        "vector": {"kind": "python", "factory": "own.nets:net", "arguments": {"inputs": 5, "width": 8}, "width": 8},
    }
    names = ("uniform", "bss-l-online")
    tree["schedule"]["schedulers"] = {name: tree["schedule"]["schedulers"][name] for name in names}
    tree["compare"] = {"control": None, "resamples": 1000}
    tree["train"] |= {"epochs": 2, "decay": {"at": []}, **train_keys}
    return tree


def run_stages(config, store, folder):
    measure(config, store, folder / "scores")
    schedule(config, store, folder / "scores", folder / "plans")
    train(config, store, folder / "scores", folder / "plans", folder / "runs")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project's folder with the package ``own`` and two saved models, as the current folder."""
    folder = tmp_path_factory.mktemp("project")
    write_modules(folder)
    save_models(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", list(sys.path))
        yield folder
    forget_own_modules()


def forget_own_modules():
    for name in [name for name in sys.modules if name == "own" or name.startswith("own.")]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def trained(project, small_root, small_store):
    """The configuration whose stages have run in the project's folder."""
    config = config_from_tree(own_tree(small_root, project), "params.yaml")
    run_stages(config, small_store, project)
    return config


@pytest.mark.slow
def test_features_are_kept_beside_the_store_and_equal_those_of_the_network(trained, project, small_store):
    store = Store.open(small_store)
    features = open_features(trained, store)
    assert {name: array.shape for name, array in features.items()} == {"audio": (84, 16), "image": (84, 16)}
    network = Trained(project / "runs" / "uniform" / "seed=0", own_code=True).network
    with_files = SplitData(store, "val", network, torch.device("cpu"), features)
    without = SplitData(store, "val", network, torch.device("cpu"))
    index = [np.array([4, 0, 17])]
    (found, _), (expected, _) = next(with_files.batches(index)), next(without.batches(index))
    for name in expected:
        assert torch.equal(found[name], expected[name]), name
    assert torch.equal(found["audio"], torch.from_numpy(features["audio"][store.rows("val")[index[0]]]))


@pytest.mark.slow
def test_results_are_the_same_bytes_without_kept_features(trained, project, small_store, tmp_path, monkeypatch):
    for stage in (measure_stage, train_stage):
        monkeypatch.setattr(stage, "write_features", lambda config, store: None)
    for module in ("bss.stages.measure", "bss.training.trial"):
        monkeypatch.setattr(f"{module}.open_features", lambda config, store: {})
    run_stages(trained, small_store, tmp_path)
    for trial in ("uniform/seed=0", "bss-l-online/seed=0"):
        for name in SAME:
            kept, computed = (folder / "runs" / trial / name for folder in (project, tmp_path))
            assert kept.read_bytes() == computed.read_bytes(), (trial, name)
    scores = "scores/seed=0/scores.parquet"
    assert (project / scores).read_bytes() == (tmp_path / scores).read_bytes()


def test_a_frozen_model_is_as_loaded_after_training_and_its_linear_layer_is_not(trained, project):
    from safetensors.torch import load_file

    weights = torch.load(project / "runs" / "uniform" / "seed=0" / "model.pt", weights_only=True)
    loaded = load_file(project / "picture" / "model.safetensors")
    for name in ("layers.0.attention.q_proj.weight", "layernorm.weight"):
        same = [value for key, value in weights.items() if key == f"transforms.image.backbone.model.{name}"]
        assert name not in loaded or torch.equal(same[0], loaded[name])
    assert any(key.startswith("transforms.image.backbone.model.") for key in weights)


def test_a_second_run_computes_and_trains_nothing(trained, project, small_store):
    store = Store.open(small_store)
    files = [features_file(trained, store, name) for name in ("audio", "image")]
    results = [project / "runs" / "uniform" / "seed=0" / "model.pt"]
    before = [path.stat().st_mtime_ns for path in (*files, *results)]
    write_features(trained, small_store)
    train(trained, small_store, project / "scores", project / "plans", project / "runs")
    assert [path.stat().st_mtime_ns for path in (*files, *results)] == before


def key_of(config, project, store):
    trial = TrialId("uniform", 0)
    plan = read_trial_plan(config, store, project / "plans", trial)
    return describe_trial(config, store, project / "plans", trial, project / "runs" / trial.path, plan).key


def test_other_source_or_weights_make_another_trial_and_other_features(trained, project, small_store):
    store = Store.open(small_store)
    key, file = key_of(trained, project, store), features_file(trained, store, "image")
    for path in (project / "own" / "sizes.py", project / "picture" / "model.safetensors"):
        kept = path.read_bytes()
        try:
            if path.suffix == ".py":
                path.write_bytes(kept + b"# changed\n")
            else:
                model = hf.AutoModel.from_pretrained(project / "picture")
                model.layernorm.weight.data.add_(1)
                model.save_pretrained(project / "picture")
            assert key_of(trained, project, store) != key
            assert (features_file(trained, store, "image") == file) == (path.suffix == ".py")
        finally:
            path.write_bytes(kept)
        assert key_of(trained, project, store) == key


def test_prediction_runs_code_only_if_it_may_and_then_repeats_the_test_split(trained, project, small_store):
    run = project / "runs" / "uniform" / "seed=0"
    with pytest.raises(BssError, match=r"the encoder of `vector` runs own\.nets:net\. .* with --own-code"):
        Trained(run)
    require_repeated(run, Store.open(small_store))


def test_prediction_says_if_the_code_is_not_the_one_that_was_trained(trained, project):
    run, parts, sizes = (
        project / "runs" / "uniform" / "seed=0",
        project / "own" / "parts.py",
        project / "own" / "sizes.py",
    )
    assert Trained(run, own_code=True).changed_code == []
    sentence = "own.nets:net, the encoder of `vector`, or what it imports has changed since the network was trained."
    with edited(parts, "# another"):
        assert Trained(run, own_code=True).changed_code == [sentence]
    with edited(sizes, "WIDTH = 9"):
        forget_own_modules()
        with pytest.raises(BssError, match=re.escape(f"{sentence} Rerun `bss train`.")):
            Trained(run, own_code=True)
    forget_own_modules()


@contextmanager
def edited(path, line):
    kept = path.read_bytes()
    path.write_bytes(kept + f"{line}\n".encode())
    try:
        yield
    finally:
        path.write_bytes(kept)


def require_repeated(run, store):
    """Require that the network that `run` holds predicts the test split as the trial did."""
    network = Trained(run, own_code=True).network
    scores, _ = predict(network, SplitData(store, "test", network, torch.device("cpu")))
    table = pyarrow.parquet.read_table(run / "predictions.parquet").to_pydict()
    assert scores.argmax(axis=1).tolist() == table["predicted"]


def test_the_provenance_of_scores_and_trials_has_the_digests(trained, project):
    inputs = read_json(project / "scores" / "provenance.json", "measure")["inputs"]
    assert set(inputs) == {"store", "source_vector", "weights_audio", "weights_image"}
    of_trial = read_json(project / "runs" / "uniform" / "seed=0" / "provenance.json", "train")["inputs"]
    assert of_trial == of_trial | {name: inputs[name] for name in inputs}


def test_features_that_are_not_finite_are_named_before_the_first_step(project, small_root, small_store, tmp_path):
    tree = own_tree(small_root, project)
    arguments = {"how": "nan"}
    tree["network"]["encoders"]["vector"] = {
        "kind": "python",
        "factory": "own.nets:wrong",
        "arguments": arguments,
        "width": 5,
    }
    with pytest.raises(BssError, match=r"network\.encoders\.vector: its features of the samples .* are not finite"):
        measure(config_from_tree(tree, "params.yaml"), small_store, tmp_path / "scores")


def test_an_augmenting_crop_and_adapters_keep_no_features(trained, project, small_root):
    tree = own_tree(small_root, project)
    tree["network"]["encoders"]["image"]["crop"] = {"height": 6, "width": 6}
    config = config_from_tree(tree, "params.yaml")
    assert cacheable(trained) == ["audio", "image"]
    assert why_not_kept(trained) == []
    assert cacheable(config) == ["audio"]
    assert why_not_kept(config) == [
        "those of image are not kept, because its crop augments: they change while it trains"
    ]
    tree["network"]["encoders"]["audio"]["trainable"] = "lora"
    config = config_from_tree(tree, "params.yaml")
    assert cacheable(config) == []
    assert why_not_kept(config)[0] == (
        "those of audio are not kept, because trainable is lora: they change while it trains"
    )


def test_a_processor_that_disagrees_with_prepare_is_named_before_anything_is_computed(
    project, small_root, small_store, tmp_path, capsys
):
    tree = own_tree(small_root, project)
    tree["prepare"]["modalities"]["audio"]["sample_rate"] = 8000
    message = r"params\.yaml: prepare\.modalities\.audio\.sample_rate: 8000, but the processor of .* takes 4000 Hz\."
    with pytest.raises(BssError, match=message):
        measure(config_from_tree(tree, "params.yaml"), small_store, tmp_path / "scores")
    assert not (tmp_path / "scores").exists()
    (tmp_path / "params.json").write_text(json.dumps(tree), encoding="utf-8")
    arguments = ("--params", str(tmp_path / "params.json"), "--store", str(tmp_path / "store"))
    assert main(["prepare", "--features", *arguments]) == 1
    assert "but the processor of network.encoders.audio.model takes 4000 Hz" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


LAST = {"trainable": "last:1", "learning_rate": 0.001}
LORA = {"trainable": "lora", "lora": {"r": 2, "dropout": 0.5, "target_modules": ["q_proj", "v_proj"]}}


@pytest.mark.slow
@pytest.mark.parametrize("keys", [LAST, LORA], ids=["last blocks", "adapters"])
def test_a_stopped_training_of_a_part_of_a_model_resumes_bit_for_bit_and_predicts(
    keys, trained, project, small_root, small_store, tmp_path
):
    tree = own_tree(small_root, project)
    tree["network"]["encoders"]["image"] |= keys
    tree["resources"]["checkpoints"] = {"minutes": None, "steps": 1}
    config, store = config_from_tree(tree, "params.yaml"), Store.open(small_store)
    with killed_after_saving(lambda done: done == 4), pytest.raises(Killed):
        train_at(tmp_path / "stopped", config, store, project / "plans", "uniform", 0, lambda row: None)
    for name in ("stopped", "whole"):
        train_at(tmp_path / name, config, store, project / "plans", "uniform", 0, lambda row: None)
    for name in SAME:
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    run = tmp_path / "whole"
    assert (run / "model.pt").read_bytes() != (project / "runs" / "uniform" / "seed=0" / "model.pt").read_bytes()
    require_repeated(run, store)
    base = hf.AutoModel.from_pretrained(project / "picture").state_dict()["layers.0.attention.q_proj.weight"]
    weights = torch.load(run / "model.pt", weights_only=True)
    prefix = "encoders.image.model.model.layers.0.attention.q_proj."
    if keys is LORA:
        assert torch.equal(weights[f"{prefix}base_layer.weight"], base)
        assert weights[f"{prefix}lora_B.default.weight"].abs().max() > 0
        metrics = read_json(run / "metrics.json", "train")
        assert metrics["parameters_trained/image"] == 3 * 2 * (16 * 2 + 2 * 16)  # of two layers in each of three blocks
        own = sum(x.numel() for x in hf.AutoModel.from_pretrained(project / "picture").parameters())
        assert metrics["parameters/image"] == own + 384
        assert metrics["parameters_trained/audio"] == 16 * 8 + 8  # the linear layer after a frozen model


@pytest.mark.process
def test_two_ranks_train_as_one_process_does(trained, project, small_root, small_store, tmp_path):
    config = config_from_tree(own_tree(small_root, project, processes=2), "params.yaml")
    only = [("uniform", 0)]
    train(config, small_store, project / "scores", project / "plans", tmp_path / "runs", only)
    one, two = (torch.load(f / "runs" / "uniform" / "seed=0" / "model.pt") for f in (project, tmp_path))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-5, rtol=1e-4)
