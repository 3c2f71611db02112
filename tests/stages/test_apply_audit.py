"""The decisions of an audit in a file that may have others, on a small table written by hand."""

import csv

import pytest
from conftest import small_tree

from bss.config import config_from_tree
from bss.data.store import Store
from bss.data.tables import write_table
from bss.files import digest_file, write_json
from bss.stages.apply_audit import apply_audit


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
