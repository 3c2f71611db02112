"""The decisions of an audit in a file that may have others, on a small table written by hand."""

import csv

import pytest
from conftest import small_tree

from bss.config import config_from_tree
from bss.data.store import Store
from bss.data.tables import write_table
from bss.errors import BssError
from bss.files import digest_file, write_json
from bss.stages.apply_audit import apply_audit
from bss.stages.prepare import prepare


@pytest.fixture
def apply(own_root, small_store, tmp_path):
    """Write the decisions of an audit that found faults and copies; return id, kind and value of those in the file.

    `label` and `contradiction` are probabilities by id, the latter of the sound; `copies` name those of samples.
    """
    root, _ = own_root

    def run(above=0.9, label=None, contradiction=None, copies=None, store=small_store):
        label, contradiction, copies, data = label or {}, contradiction or {}, copies or {}, Store.open(store)
        names, folder = data.ids.tolist(), tmp_path / "audit"
        wrong = {name: max(label.get(name, 0.0), contradiction.get(name, 0.0)) for name in names}
        classes = [data.classes[number] for number in data.labels]
        kinds = ["label" if n in label else "contradiction" if n in contradiction else "clean" for n in names]
        columns = {
            "id": names,
            "split": data.splits.tolist(),
            "class": classes,
            "kind": kinds,
            "probability": [wrong[name] for name in names],
            "blame": ["audio" if kind == "contradiction" else None for kind in kinds],
            "suggested": ["owl" if kind == "label" else None for kind in kinds],
            "suggested_confidence": [0.95 if kind == "label" else None for kind in kinds],
            "p_label": [label.get(name, 0.0) for name in names],
            **{f"p_contradiction_{name}": [0.0] * len(names) for name in data.modalities},
            "p_contradiction_audio": [contradiction.get(name, 0.0) for name in names],
            "duplicate_of": [copies.get(name) for name in names],
            "leakage": [False] * len(names),
        }
        folder.mkdir(exist_ok=True)
        write_table(folder / "audit.parquet", columns)
        inputs = {"provenance": {"inputs": {"store": data.digest}}, "table": digest_file(folder / "audit.parquet")}
        write_json(folder / "audit.json", inputs)
        apply_audit(config_from_tree(small_tree(root), "params.yaml"), store, folder, above)
        return decided(root)

    return run


def decided(root):
    with (root / "decisions.csv").open(newline="", encoding="utf-8") as file:
        return [(row["id"], row["decision"], row["value"]) for row in csv.DictReader(file)]


def write(root, text):
    (root / "decisions.csv").write_text(f"id,decision,value\n{text}")


def test_the_copy_of_a_sample_that_is_already_dropped_stays(apply, own_root):
    copies = {"train-cat-1": "train-cat-2", "train-cat-2": "train-cat-1"}
    assert apply(copies=copies) == [("train-cat-2", "drop", "")]
    write(own_root[0], "train-cat-1,drop,\n")
    assert apply(copies=copies) == [("train-cat-1", "drop", "")]


FOUND = {"train-cat-1": 0.99, "train-dog-1": 0.8}


def test_another_threshold_replaces_what_the_last_one_decided(apply, capsys):
    assert apply(0.7, label=FOUND) == [(name, "relabel", "owl") for name in FOUND]
    assert apply(0.9, label=FOUND) == [("train-cat-1", "relabel", "owl")]
    assert "above 0.9; 0 earlier decisions kept, 2 of an earlier --apply replaced" in capsys.readouterr().out
    assert apply(0.7, label=FOUND) == [(name, "relabel", "owl") for name in FOUND]


def test_a_decision_that_was_changed_by_hand_stays(apply, own_root):
    path = own_root[0] / "decisions.csv"
    apply(0.7, label=FOUND)
    path.write_text(path.read_text().replace("train-dog-1,relabel,owl", "train-dog-1,ignore,image"))
    expected = [("train-cat-1", "relabel", "owl"), ("train-dog-1", "ignore", "image")]
    assert sorted(apply(0.9, label=FOUND)) == expected
    assert sorted(apply(0.995, label=FOUND)) == expected[1:]


def test_decisions_that_the_store_was_prepared_with_stay(apply, own_root, tmp_path):
    """The audit is of the store after them: it knows a dropped sample no more, and a relabelled one is clean."""
    root, _ = own_root
    assert apply(0.9, label={"train-cat-1": 0.99}) == [("train-cat-1", "relabel", "owl")]
    tree = small_tree(root)
    tree["prepare"]["decisions"] = "decisions.csv"
    prepare(config_from_tree(tree, "params.yaml"), root, tmp_path / "store")
    found = apply(0.9, contradiction={"train-dog-1": 0.99}, store=tmp_path / "store")
    assert found == [("train-cat-1", "relabel", "owl"), ("train-dog-1", "ignore", "audio")]
    assert apply(0.9, store=tmp_path / "store") == [("train-cat-1", "relabel", "owl")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train-cow-1,drop,\n", "row 2: no sample has the id 'train-cow-1'"),
        ("train-cat-1,delete,\n", "row 2: decision 'delete' is not one of keep, drop, relabel, ignore"),
        ("train-cat-1,drop,\ntrain-cat-1,keep,\n", "(?s)row 2: id 'train-cat-1' is not unique.*row 3: id"),
        ("train-cat-1,relabel,cow\n", "row 2: value 'cow' is not a label"),
        ("train-cat-1,relabel,cat\n", "row 2: value 'cat' is the label that the sample has"),
        ("train-cat-1,ignore,video\n", "row 2: value 'video' is not a modality"),
        ("test-cat-1,drop,\n", "prepare.decide_test: true"),
    ],
)
def test_a_file_that_prepare_would_refuse_is_one_message_and_stays_as_it_is(apply, own_root, text, message):
    write(own_root[0], text)
    before = (own_root[0] / "decisions.csv").read_bytes()
    with pytest.raises(BssError, match=message):
        apply(label=FOUND)
    assert (own_root[0] / "decisions.csv").read_bytes() == before


def test_a_sample_that_prepare_left_out_may_be_decided_about(apply, own_root, tmp_path):
    """By a decision, after which its label is the one before it; or because it is unreadable."""
    root, _ = own_root
    write(root, "train-cat-1,drop,\ntrain-cat-2,relabel,dog\n")
    (root / "train-cat-3.png").write_bytes(b"no picture")
    tree = small_tree(root)
    tree["prepare"] |= {"decisions": "decisions.csv", "on_bad_sample": "skip"}
    prepare(config_from_tree(tree, "params.yaml"), root, tmp_path / "store")
    expected = [("train-cat-1", "drop", ""), ("train-cat-2", "relabel", "owl"), ("train-cat-3", "drop", "")]
    write(root, "".join(f"{','.join(row)}\n" for row in expected))
    assert apply(store=tmp_path / "store") == expected
    write(root, "train-cat-2,relabel,cat\n")
    with pytest.raises(BssError, match="row 2: value 'cat' is the label that the sample has"):
        apply(store=tmp_path / "store")
