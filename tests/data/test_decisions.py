"""Decisions: what they change, and a message for each way in which they can be wrong."""

import csv
import shutil

import numpy as np
import pytest
import torch
from conftest import small_tree, write_manifest
from in_shards import joined

from bss.config import config_from_tree
from bss.data.decisions import write_decisions
from bss.data.store import Store
from bss.errors import BssError
from bss.files import digest_file, digest_folder, read_json
from bss.models.network import IGNORED, build_network, describe_network
from bss.stages.prepare import prepare
from bss.training.samples.split_data import SplitData


def write(root, rows, columns=("id", "decision", "value")):
    with (root / "decisions.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def config_for(root, **changes):
    tree = small_tree(root)
    tree["prepare"] |= {"decisions": "decisions.csv", **changes}
    return config_from_tree(tree, "params.yaml")


def prepared(root, folder, **changes):
    store = folder / "store"
    prepare(config_for(root, **changes), root, store)
    return Store.open(store)


DECIDED = [
    ("train-cat-1", "drop", ""),
    ("train-cat-2", "relabel", "dog"),
    ("train-cat-3", "ignore", "image"),
    ("train-cat-4", "keep", ""),
    ("val-dog-0", "drop", ""),
]


def test_each_decision_changes_its_sample_and_no_other(own_root, small_store, tmp_path):
    root, _ = own_root
    write(root, DECIDED)
    store, before = prepared(root, tmp_path), Store.open(small_store)
    labels = dict(zip(before.ids.tolist(), before.labels.tolist(), strict=True))
    expected = {name: label for name, label in labels.items() if name not in ("train-cat-1", "val-dog-0")}
    expected["train-cat-2"] = store.classes.index("dog")
    assert dict(zip(store.ids.tolist(), store.labels.tolist(), strict=True)) == expected
    ignored = store.ignored(np.arange(len(store)))
    assert [(store.ids[i], m) for i, m in zip(*np.nonzero(ignored), strict=True)] == [("train-cat-3", 1)]
    assert before.ignored(np.arange(len(before))) is None
    assert store.ignored(store.rows("test")) is None


@pytest.mark.slow
def test_they_are_recorded_and_change_the_digest(own_root, small_store, tmp_path):
    root, _ = own_root
    write(root, DECIDED)
    store = prepared(root, tmp_path)
    inputs = read_json(store.path / "provenance.json", "prepare")["inputs"]
    assert inputs["decisions"] == digest_file(root / "decisions.csv")
    assert inputs["manifest"] == digest_file(root / "manifest.csv")
    lines = (store.path / "decisions.csv").read_text().splitlines()
    assert lines[0] == "id,decision,value,split,label"
    assert "train-cat-2,relabel,dog,train,cat" in lines
    write(root, DECIDED[2:3])
    assert prepared(root, tmp_path).digest != store.digest
    assert Store.open(small_store).digest != store.digest


@pytest.mark.slow
def test_val_is_the_same_with_and_without_decisions(own_root, tmp_path):
    root, rows = own_root
    write_manifest(root, [row | {"split": row["split"].replace("val", "train")} for row in rows])
    write(root, [])
    before = prepared(root, tmp_path)
    vals = set(before.ids[before.rows("val")])
    gone = [*sorted(vals)[:2], *sorted(set(before.ids[before.rows("train")]))[:2]]
    write(root, [(name, "drop", "") for name in gone])
    after = prepared(root, tmp_path)
    assert set(after.ids[after.rows("val")]) == vals - set(gone)


def test_shards_join_to_the_same_store(own_root, tmp_path):
    root, _ = own_root
    write(root, DECIDED)
    whole, config = prepared(root, tmp_path), config_for(root)
    made = joined(config, root, tmp_path, 2)
    for name in ("samples.parquet", "decisions.csv", "provenance.json", "store.json"):
        assert (made / name).read_bytes() == (whole.path / name).read_bytes()


def test_an_ignored_modality_gives_no_features_no_logits_and_no_gradient(own_root, tmp_path):
    root, _ = own_root
    write(root, DECIDED)
    store, config = prepared(root, tmp_path), config_for(root)
    network = build_network(describe_network(config.network, store))
    data = SplitData(store, "train", network, torch.device("cpu"))
    position = store.ids[data.rows].tolist().index("train-cat-3")
    ((inputs, labels),) = data.batches([np.array([position, position + 1])])
    assert inputs[IGNORED].tolist() == [[False, True, False], [False] * 3]
    network.eval()
    outputs, plain = network(inputs), network({name: x for name, x in inputs.items() if name != IGNORED})
    assert (outputs.features["image"][0] == 0).all()
    assert (outputs.logits["image"][0] == 0).all()
    torch.testing.assert_close(outputs.logits["image"][1], plain.logits["image"][1])
    torch.testing.assert_close(outputs.logits["audio"], plain.logits["audio"])
    # The fusion is that of features without the picture, and the loss that of guessing among three classes.
    active = network.activate(plain.features)
    active["image"] = active["image"] * torch.tensor([[0.0], [1.0]])
    torch.testing.assert_close(outputs.fused, network.fusion(active))
    heads = torch.nn.functional.cross_entropy
    of_others = sum(heads(plain.logits[name][:1], labels[:1]) for name in ("audio", "vector"))
    expected = heads(outputs.fused[:1], labels[:1]) + of_others + np.log(3)
    torch.testing.assert_close(network.loss(outputs, labels)[0], expected)
    network.loss(outputs, labels)[0].backward()
    image = [p.grad for part in (network.encoders["image"], network.heads["image"]) for p in part.parameters()]
    assert all(gradient is None or (gradient == 0).all() for gradient in image)
    assert any((p.grad != 0).any() for p in network.encoders["audio"].parameters())


@pytest.fixture(scope="module")
def decided(small_data, tmp_path_factory):
    """A root with decisions, and its prepared store; a refused prepare changes neither but decisions.csv."""
    root = shutil.copytree(small_data[0], tmp_path_factory.mktemp("decided") / "pets")
    write(root, DECIDED)
    store = prepared(root, root.parent)
    return root, store, digest_folder(store.path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("train-cow-1", "drop", "")], r"row 2: no sample has the id 'train-cow-1'"),
        (
            [("train-cat-1", "drop", ""), ("train-cat-1", "keep", "")],
            r"(?s)row 2: id 'train-cat-1' is not unique.*row 3: id 'train-cat-1' is not unique",
        ),
        ([("train-cat-1", "delete", "")], r"row 2: decision 'delete' is not one of keep, drop, relabel, ignore"),
        ([("train-cat-1", "relabel", "cow")], r"row 2: value 'cow' is not a label of this dataset"),
        ([("train-cat-1", "relabel", "cat")], r"row 2: value 'cat' is the label that the sample has"),
        ([("train-cat-1", "ignore", "video")], r"row 2: value 'video' is not a modality of this dataset"),
        ([("train-cat-1", "drop", "x")], r"row 2: value 'x': drop takes none"),
        ([("test-cat-1", "drop", "")], r"row 2 changes a sample of test, .*prepare.decide_test: true"),
        (
            [(f"test-cat-{i}", "drop", "") for i in range(3)],
            r"row 2 and 2 more change samples of test, .*prepare.decide_test: true",
        ),
        (
            [(f"train-cat-{i}", "drop", "") for i in range(16)],
            r"the decisions would leave train without class cat",
        ),
        (
            [(f"train-cat-{i}", "relabel", "dog") for i in range(16)],
            r"the decisions would leave train without class cat",
        ),
        (
            [(f"val-{label}-{i}", "drop", "") for label in ("cat", "dog", "owl") for i in range(6)],
            r"the decisions would leave val without samples",
        ),
        ([(f"val-owl-{i}", "drop", "") for i in range(6)], r"the decisions would leave val without class owl"),
    ],
)
def test_wrong_decisions_are_one_message_and_change_nothing(decided, rows, message):
    root, before, files = decided
    write(root, rows)
    with pytest.raises(BssError, match=message):
        prepared(root, root.parent)
    assert Store.open(before.path).digest == before.digest
    assert digest_folder(before.path) == files


def test_decisions_of_another_dataset_are_refused(own_root, tmp_path):
    root, _ = own_root
    digest = digest_file(root / "manifest.csv")
    write_decisions(root / "decisions.csv", DECIDED, digest)
    store = prepared(root, tmp_path)
    write_decisions(root / "decisions.csv", DECIDED, "0123456789abcdef")
    with pytest.raises(BssError, match=rf"another dataset: dataset is '0123456789abcdef'.*begins with {digest[:16]}"):
        prepared(root, tmp_path)
    assert Store.open(tmp_path / "store").digest == store.digest


def test_other_columns_and_a_missing_file_are_errors(own_root, tmp_path):
    root, _ = own_root
    write(root, [("train-cat-1", "drop")], ("id", "decision"))
    with pytest.raises(BssError, match="needs the columns id, decision, value"):
        prepared(root, tmp_path)
    (root / "decisions.csv").unlink()
    with pytest.raises(BssError, match=r"decisions.csv: not found. Set prepare.decisions to null"):
        prepared(root, tmp_path)


def test_test_is_changed_only_with_the_flag_and_keeping_a_sample_needs_none(own_root, tmp_path):
    root, _ = own_root
    write(root, [("test-cat-1", "keep", "")])
    assert len(prepared(root, tmp_path).rows("test")) == 18
    write(root, [("test-cat-1", "drop", "")])
    assert len(prepared(root, tmp_path, decide_test=True).rows("test")) == 17
    write(root, [(f"test-owl-{i}", "relabel", "cat") for i in range(6)])
    with pytest.raises(BssError, match="the decisions would leave test without class owl"):
        prepared(root, tmp_path, decide_test=True)
