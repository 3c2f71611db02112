"""`bss predict`: the test samples' own files give the trial's own predictions, and bad rows are reported."""

import csv
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import soundfile
import torch
from conftest import write_manifest
from media import every_kind_sections, write_every_kind, write_tokenizer
from refused import refused

from bss.balance.criteria import prediction_similarity
from bss.cli import _parser, main
from bss.data.store import Store
from bss.data.tables import read_table
from bss.errors import BssError
from bss.files import digest_file, read_json, write_json
from bss.models.network import build_network
from bss.predict import command
from bss.predict.command import predict
from bss.stages.measure import measure
from bss.stages.prepare import prepare
from bss.stages.schedule import schedule
from bss.stages.train import train

MODALITIES = ("audio", "image", "vector")


def read_rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def run(pipeline):
    return pipeline[0] / "runs" / "bss-l" / "seed=0"


@pytest.fixture
def new(own_root):
    """The test samples' files in a folder of their own, with the rows of their manifest, which has no split."""
    root, rows = own_root
    rows = [{k: v for k, v in row.items() if k not in ("split", "group")} for row in rows if row["split"] == "test"]
    (root / "manifest.csv").unlink()
    return root, rows


@pytest.fixture
def predicted(run, new, tmp_path):
    """Predict changed rows; return the rows of the output."""
    root, rows = new

    def predicted(change=lambda rows: rows, run=run, **more):
        manifest = write_manifest(root, change([dict(row) for row in rows]))
        predict(run, manifest, tmp_path / "predictions.csv", **more)
        return read_rows(tmp_path / "predictions.csv")

    predicted.output = tmp_path / "predictions.csv"
    predicted.root, predicted.rows = root, rows
    return predicted


def trained(tree, make_config, store, folder):
    """Run one uniform trial with `tree`; return its folder."""
    tree["schedule"]["schedulers"] = {"uniform": {"kind": "uniform"}}
    tree |= {"seeds": [0], "compare": {"resamples": 1000}}
    config = make_config(tree)
    measure(config, store, folder / "scores")
    schedule(config, store, folder / "scores", folder / "plans")
    train(config, store, folder / "scores", folder / "plans", folder / "runs")
    return folder / "runs" / "uniform" / "seed=0"


def reference(run, store, rows):
    """The trained network on stored samples, by hand: unimodal logits and fused logits."""
    network = build_network(read_json(run / "network.json", "train"))
    network.load_state_dict(torch.load(run / "model.pt", weights_only=True))
    network.eval()
    raw = {}
    for name in MODALITIES:
        found = store.read(name, rows)
        raw[name] = torch.from_numpy(getattr(found, "values", found))
        if name == "audio":
            raw[name] = raw[name].reshape(len(rows), -1)  # all sounds of the small data have one length
    with torch.no_grad():
        return network, network(network.transform(raw))


def test_the_stores_test_samples_get_the_predictions_of_the_training(predicted, run, small_store, capsys):
    rows = predicted()
    store = Store.open(small_store)
    saved = read_table(run / "predictions.parquet", "train")
    assert [row["id"] for row in rows] == saved["id"].to_pylist()
    for column in ("label", "predicted", *(f"predicted_{name}" for name in MODALITIES)):
        assert [row[column] for row in rows] == [store.classes[i] for i in saved[column].to_pylist()], column
    assert list(rows[0]) == [
        *("id", "label", "predicted", "probability", "predicted_audio", "confidence_audio", "predicted_image"),
        *("confidence_image", "predicted_vector", "confidence_vector", "agreement"),
    ]
    _, outputs = reference(run, store, store.rows("test"))
    summed = outputs.fused + sum(outputs.logits.values())
    near = {"rtol": 1e-5, "atol": 1e-6}
    found = {name: np.array([row[name] for row in rows], dtype=float) for name in rows[0] if name[:4] in "probconfagre"}
    np.testing.assert_allclose(found["probability"], summed.softmax(1).amax(1).numpy(), **near)
    for name, logits in outputs.logits.items():
        np.testing.assert_allclose(found[f"confidence_{name}"], logits.softmax(1).amax(1).numpy(), **near)
    np.testing.assert_allclose(found["agreement"], prediction_similarity(outputs.logits).numpy(), **near)
    metrics = read_json(run / "metrics.json", "train")
    right = round(metrics["test/acc"] * 18)
    printed = capsys.readouterr().out
    assert f"accuracy, all modalities: {metrics['test/acc']:.4f} ({right} of 18 with a label)" in printed
    assert f"accuracy, image: {metrics['test/acc_image']:.4f} (" in printed


def test_labels_and_splits_are_optional(predicted, capsys):
    whole = predicted()
    capsys.readouterr()
    some = predicted(
        lambda rows: [{**row, "label": row["label"] * (i < 2), "split": "new"} for i, row in enumerate(rows)]
    )
    assert [row["label"] for row in some] == [row["label"] if i < 2 else "" for i, row in enumerate(whole)]
    assert "of 2 with a label)" in capsys.readouterr().out
    none = predicted(lambda rows: [{k: v for k, v in row.items() if k != "label"} for row in rows])
    assert none == [{k: v for k, v in row.items() if k != "label"} for row in whole]
    assert "accuracy" not in capsys.readouterr().out


def test_the_same_command_gives_the_same_bytes_and_the_size_of_chunks_changes_no_label(predicted, monkeypatch):
    whole = predicted()
    first = digest_file(predicted.output)
    predicted()
    assert digest_file(predicted.output) == first
    monkeypatch.setattr(command, "CHUNK", 5)
    for a, b in zip(predicted(), whole, strict=True):
        assert a["predicted"] == b["predicted"]
        assert float(a["probability"]) == pytest.approx(float(b["probability"]), abs=1e-6)


def test_parquet_in_and_out_hold_the_same(predicted, run, tmp_path):
    rows = predicted()
    table = pyarrow.table({name: [row[name] for row in predicted.rows] for name in predicted.rows[0]})
    pyarrow.parquet.write_table(table, predicted.root / "new.parquet")
    predict(run, predicted.root / "new.parquet", tmp_path / "out.parquet")
    out = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    assert out["predicted"].to_pylist() == [row["predicted"] for row in rows]
    assert out["agreement"].type == pyarrow.float32()
    assert out["agreement"].to_numpy().tolist() == [np.float32(row["agreement"]) for row in rows]


def without(*names):
    return lambda rows: [{k: v for k, v in row.items() if k not in names} for row in rows]


def test_a_fusion_that_needs_all_modalities_refuses_a_missing_one_and_says_what_to_do(predicted):
    message = r"missing 'vector', but the fusion `concatenation` needs all modalities \(audio, image, vector\).*" + (
        "unimodal-heads, or with the fusion sum or weighted-sum"
    )
    with pytest.raises(BssError, match=message):
        predicted(without("vector"))
    with pytest.raises(BssError, match=r"row 3: vector is empty, but the fusion `concatenation` needs all"):
        predicted(lambda rows: [{**row, "vector": row["vector"] * (i != 1)} for i, row in enumerate(rows)])
    assert not predicted.output.exists()


def test_unimodal_heads_predict_from_what_is_there(predicted, tree, make_config, small_store, tmp_path):
    tree["network"]["prediction"] = "unimodal-heads"
    run = trained(tree, make_config, small_store, tmp_path)
    store = Store.open(small_store)
    _, outputs = reference(run, store, store.rows("test"))
    saved = read_table(run / "predictions.parquet", "train")["predicted"].to_pylist()
    assert [row["predicted"] for row in predicted(run=run)] == [store.classes[i] for i in saved]
    # The first three rows have no image, the next two neither image nor audio.
    kept = [("audio", "vector")] * 3 + [("vector",)] * 2 + [MODALITIES] * 13
    rows = predicted(
        lambda rows: [
            {k: v if k not in MODALITIES or k in kept[i] else "" for k, v in row.items()} for i, row in enumerate(rows)
        ],
        run=run,
    )
    for i, (row, names) in enumerate(zip(rows, kept, strict=True)):
        scores = sum(outputs.logits[name][i] for name in names)
        assert row["predicted"] == store.classes[scores.argmax()]
        assert float(row["probability"]) == pytest.approx(scores.softmax(0).max().item(), abs=1e-5)
        assert {name for name in MODALITIES if row[f"predicted_{name}"]} == set(names)
        assert bool(row["agreement"]) == (len(names) > 1)
    similarity = prediction_similarity({name: outputs.logits[name][:1] for name in ("audio", "vector")})
    assert float(rows[0]["agreement"]) == pytest.approx(similarity.item(), abs=1e-5)
    alone = predicted(without("audio", "image"), run=run)
    assert [row["predicted"] for row in alone] == [store.classes[i] for i in outputs.logits["vector"].argmax(1)]


@pytest.mark.parametrize("kind", ["sum", "weighted-sum"])
def test_fusions_that_sum_do_without_a_modality(kind, predicted, tree, make_config, small_store, tmp_path):
    tree["network"]["fusion"] = {"kind": kind}
    run = trained(tree, make_config, small_store, tmp_path)
    store = Store.open(small_store)
    network, outputs = reference(run, store, store.rows("test"))
    rows = predicted(without("image"), run=run)
    features = {name: network.encoders[name].activate(outputs.features[name]) for name in ("audio", "vector")}
    weights = {"audio": 1.0, "vector": 1.0}
    if kind == "weighted-sum":
        learned = dict(zip(MODALITIES, network.fusion.weights.detach().exp().tolist(), strict=True))
        weights = {name: learned[name] / (learned["audio"] + learned["vector"]) for name in weights}
    with torch.no_grad():  # the features of the small data have one width, so no layer brings them to it
        fused = network.fusion.head(sum(weights[name] * features[name] for name in weights))
    scores = fused + outputs.logits["audio"] + outputs.logits["vector"]
    assert [row["predicted"] for row in rows] == [store.classes[i] for i in scores.argmax(1)]
    found = [float(row["probability"]) for row in rows]
    np.testing.assert_allclose(found, scores.softmax(1).amax(1).numpy(), rtol=1e-5)


def test_every_bad_row_is_reported_at_once_and_skipped_on_demand(predicted, tmp_path):
    def spoil(rows):
        rows[0]["label"] = "rat"
        rows[1]["image"] = "../elsewhere.png"
        rows[2]["id"] = ""
        rows[4] = dict(rows[3]) | {"label": ""}
        return rows

    message = refused(predicted, spoil)
    assert "5 problems" in message
    assert "row 2: label 'rat' is not a class of the network (cat, dog, owl)" in message
    assert "row 3: image '../elsewhere.png' is not a path inside the data root" in message
    assert "row 4: id is empty" in message
    assert "row 5: id 'test-cat-3' is not unique: the row differs from row 6" in message
    assert not predicted.output.exists()
    rows = predicted(spoil, on_bad="skip")
    assert [row["id"] for row in rows] == [row["id"] for row in predicted.rows[5:]]
    skipped = read_rows(tmp_path / "predictions.skipped.csv")
    assert [row["row"] for row in skipped] == ["2", "3", "4", "5", "6"]


def test_every_bad_file_is_reported_at_once_and_skipped_on_demand(predicted, tmp_path, capsys):
    whole = predicted()
    predicted.output.unlink()
    (predicted.root / predicted.rows[2]["audio"]).write_bytes(b"")
    (predicted.root / predicted.rows[7]["image"]).unlink()
    np.save(predicted.root / predicted.rows[9]["vector"], np.zeros(6, np.float32))
    message = refused(predicted)
    assert "row 4 (id test-cat-2): audio test-cat-2.wav: file is empty" in message
    assert "row 9 (id test-dog-1): image test-dog-1.png: file not found" in message
    assert "vector test-dog-3.npy: has shape [6], the trial's samples have [5]" in message
    assert "--on-bad-sample skip" in message
    assert not predicted.output.exists()
    capsys.readouterr()
    rows = predicted(on_bad="skip")
    assert [row["predicted"] for row in rows] == [row["predicted"] for i, row in enumerate(whole) if i not in (2, 7, 9)]
    assert [row["id"] for row in read_rows(tmp_path / "predictions.skipped.csv")] == [
        predicted.rows[i]["id"] for i in (2, 7, 9)
    ]
    assert "3 samples skipped, listed in" in capsys.readouterr().out


def test_values_that_decoding_changed_are_reported(predicted, capsys):
    loud = np.full(800, 1.5, dtype=np.float32)
    soundfile.write(predicted.root / predicted.rows[0]["audio"], loud, 4000, subtype="FLOAT")
    predicted()
    assert "Caution: audio: 800 values in 1 samples were clipped to [-1, 1]" in capsys.readouterr().out


@pytest.mark.slow
def test_every_kind_of_file_is_decoded_as_the_store_was_without_the_stores_folder(tmp_path, make_config, tree, capsys):
    root = tmp_path / "birds"
    root.mkdir()
    rows = write_every_kind(root)
    shutil.rmtree(root / "tokenizer")
    write_tokenizer(root / "tokenizer", ["owl", "cat", "jay"])  # no text of the trial has the last
    write_manifest(root, rows)
    tree |= every_kind_sections(root)
    tree["network"]["encoders"]["words"] = {"kind": "bert", "hidden": 8, "layers": 1, "heads": 2, "intermediate": 16}
    tree["network"]["encoders"]["words"]["vocabulary"] = 7
    tree["train"] |= {"epochs": 1, "batch_size": 4}
    prepare(make_config(tree), root, tmp_path / "store")
    run = trained(tree, make_config, tmp_path / "store", tmp_path)
    saved = read_table(run / "predictions.parquet", "train")
    classes = Store.open(tmp_path / "store").classes
    shutil.rmtree(root / "tokenizer")  # the run has a copy
    shutil.rmtree(tmp_path / "store")
    test = [row for row in rows if row["split"] == "test"]
    write_manifest(root, test)
    predict(run, root / "manifest.csv", tmp_path / "new.csv")
    found = read_rows(tmp_path / "new.csv")
    assert [row["id"] for row in found] == saved["id"].to_pylist()
    for column in [name for name in saved.column_names if name.startswith("predicted")]:
        assert [row[column] for row in found] == [classes[i] for i in saved[column].to_pylist()]
    write_manifest(root, [test[0] | {"words": "A jay!"}, *test[1:]])
    with pytest.raises(BssError, match=r"row 2 \(id b\d+\): words A jay!: has token id 7, but the network knows 7"):
        predict(run, root / "manifest.csv", tmp_path / "new.csv")
    kept = read_json(run / "preprocessing.json", "train")
    write_json(run / "preprocessing.json", kept | {"tokenizers": {"words": "{}"}})
    with pytest.raises(BssError, match="the saved tokenizer of `words` cannot be read"):
        predict(run, root / "manifest.csv", tmp_path / "new.csv")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (shutil.rmtree, r"no such folder\. --run needs the folder of one trial"),
        (lambda run: (run / "network.json").unlink(), "has no finished trial"),
        (lambda run: (run / "model.pt").unlink(), r"model\.pt: not found\. Rerun `bss train`"),
        (lambda run: (run / "model.pt").write_bytes(b"PK"), r"model\.pt and network\.json cannot be read"),
        (
            lambda run: (run / "preprocessing.json").unlink(),
            r"preprocessing\.json: not found; it records how to decode new files",
        ),
        (lambda run: (run / "preprocessing.json").write_text("{"), r"preprocessing\.json: damaged"),
    ],
)
def test_a_run_that_is_not_whole_is_refused_by_name(spoil, message, run, predicted, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    spoil(tmp_path / "run")
    with pytest.raises(BssError, match=message):
        predicted(run=tmp_path / "run")


def test_unknown_keys_of_the_preprocessing_are_errors(run, predicted, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    path = tmp_path / "run" / "preprocessing.json"
    tree = read_json(path, "train")
    tree["modalities"]["audio"]["loudness"] = 3
    write_json(path, tree)
    with pytest.raises(BssError, match="loudness: unknown key"):
        predicted(run=tmp_path / "run")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--output", "out.txt"], "must end in .csv or .parquet"),
        (["--output", "new.csv"], "would overwrite the manifest"),
        (["--output", "nowhere/out.csv"], "must be a file in an existing folder"),
        (["--manifest", "none.csv"], "none.csv: no such file"),
    ],
)
def test_the_command_line_refuses_before_any_work(more, message, run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "new.csv").write_text("id,audio\na,a.wav\n")
    arguments = ["predict", "--run", str(run), *more]
    assert main(arguments if "--manifest" in more else [*arguments, "--manifest", "new.csv"]) == 1
    assert message in capsys.readouterr().err


def test_the_command_line_predicts(run, new, monkeypatch, tmp_path, capsys):
    root, rows = new
    monkeypatch.chdir(tmp_path)
    write_manifest(root, rows)
    assert main(["predict", "--run", str(run), "--manifest", str(root / "manifest.csv")]) == 0
    assert len(read_rows(tmp_path / "predictions.csv")) == 18
    assert "18 samples predicted, in predictions.csv" in capsys.readouterr().out


def test_the_command_in_the_docs_is_one_that_the_command_line_takes():
    text = (Path(__file__).parents[2] / "docs" / "predict.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^bss (predict .*)$", text, flags=re.M)
    options = _parser().parse_args(line.split())
    assert options.output == Path("predictions.csv")
    assert options.run == Path("outputs/runs/bss-l/seed=0")
