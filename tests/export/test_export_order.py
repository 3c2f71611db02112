"""Plans and sequences as Parquet, and subsets without the samples that a plan trims, through the command line."""

import json

import numpy as np
import pyarrow.parquet
import pytest
from conftest import small_tree
from ruamel.yaml import YAML

from bss.artifacts.scores import read_scores, scores_path
from bss.cli import main
from bss.config import config_from_tree
from bss.data.store import Store
from bss.data.tables import read_table


@pytest.fixture
def command(pipeline, small_root, small_store, tmp_path):
    """Run `bss export` on the finished pipeline; a scheduler that trims a quarter is planned as well."""
    from bss.stages.schedule import schedule

    folder, _ = pipeline
    tree = small_tree(small_root)
    tree["schedule"]["schedulers"]["trimmed"] = {"kind": "heuristic", "trim": 0.25, "pacing": {"grow_epochs": 2}}
    YAML().dump(tree, tmp_path / "params.yaml")
    config = config_from_tree(tree, "params.yaml")
    schedule(config, small_store, folder / "scores", tmp_path / "plans")

    def command(*words):
        places = ["--params", tmp_path / "params.yaml", "--store", small_store]
        places += ["--plans", tmp_path / "plans", "--runs", folder / "runs"]
        return main(["export", *map(str, [*words, *places])])

    return command


def metadata(path):
    return json.loads(pyarrow.parquet.read_schema(path).metadata[b"bss"])


def test_a_plan_has_a_row_per_training_sample(command, small_store, tmp_path):
    to = tmp_path / "new" / "plan.parquet"
    assert command("plan", "--scheduler", "trimmed", "--seed", 1, "--to", to) == 0
    table, store = pyarrow.parquet.read_table(to), Store.open(small_store)
    plan = read_table(tmp_path / "plans" / "trimmed" / "seed=1.parquet", "schedule")
    rows = store.rows("train")
    assert table.column_names == ["index", "id", "label", "group", "score", "rank", "first_epoch"]
    assert table["id"].to_pylist() == store.ids[rows].tolist()
    assert table["label"].to_pylist() == [store.classes[label] for label in store.labels[rows]]
    assert table["group"].to_pylist() == [store.groups[row] for row in rows]
    assert table["rank"].to_pylist() == plan["rank"].to_pylist()
    assert table["rank"].null_count == 12
    origin = metadata(to)
    assert (origin["stage"], origin["inputs"]["store"]) == ("export plan", store.digest)
    assert (origin["parameters"]["seed"], origin["parameters"]["schedule"]["trim"]) == (1, 0.25)


def test_a_sequence_is_what_training_showed(command, pipeline, small_store, tmp_path):
    folder, _ = pipeline
    for scheduler in ("bss-h", "bss-l"):
        to = tmp_path / f"{scheduler}.parquet"
        assert command("sequence", "--scheduler", scheduler, "--seed", 0, "--epoch", 2, "--to", to) == 0
        recorded = read_table(folder / "runs" / scheduler / "seed=0" / "sequences.parquet", "train")
        table = pyarrow.parquet.read_table(to)
        assert table["index"].to_pylist() == recorded["sequence"].to_pylist()[2]
        assert table["id"].to_pylist() == Store.open(small_store).ids[np.array(table["index"])].tolist()
        assert metadata(to)["inputs"]["sequence"] == recorded["digest"].to_pylist()[2]
        assert metadata(to)["parameters"]["epoch"] == 2


def test_trimmed_samples_are_left_out(command, pipeline, small_store, tmp_path):
    folder, _ = pipeline
    to = tmp_path / "hub"
    (tmp_path / "drop.csv").write_text("id,decision\ntest-cat-0,drop\ntest-cat-1,keep\n")
    decided = ["--drop", tmp_path / "drop.csv", "--where", "decision=drop"]
    assert command("data", "--as", "huggingface", "--to", to, "--scheduler", "trimmed", "--seed", 0, *decided) == 0
    store = Store.open(small_store)
    scores = read_scores(scores_path(folder / "scores", 0, "warm-up"), store)
    train = store.ids[store.rows("train")]
    kept = set(train[np.argsort(scores)[12:]].tolist())  # a quarter of 48 has the lowest scores
    files = sorted((to / "data").iterdir())
    found = {path.name.partition("-")[0]: set(pyarrow.parquet.read_table(path)["id"].to_pylist()) for path in files}
    assert found["train"] == kept
    assert found["test"] == set(store.ids[store.rows("test")].tolist()) - {"test-cat-0"}
    assert len(found["validation"]) == 18
    chosen = json.loads((to / "provenance.json").read_text())["parameters"]["chosen"]
    assert chosen["trimmed by"] == {"scheduler": "trimmed", "seed": 0}
    assert chosen["drop"]["where"] == "decision=drop"


@pytest.mark.slow
def test_what_a_plan_leaves_prepares_to_the_same_rows(command, small_store, own_root, tmp_path):
    from bss.stages.prepare import prepare

    root, _ = own_root
    trimmed = ["--scheduler", "trimmed", "--seed", 0, "--set", f"prepare.root={root}"]
    places = {
        "manifest": (root / "curated.csv", root, "curated.csv"),
        "webdataset": (tmp_path / "shards", tmp_path / "shards", "*.tar"),
        "huggingface": (tmp_path / "hub", tmp_path / "hub", "."),
    }
    before, digests = Store.open(small_store), set()
    rows = {name: row for row, name in enumerate(before.ids.tolist())}
    for form, (to, data, manifest) in places.items():
        assert command("data", "--as", form, "--to", to, *trimmed) == 0
        tree = small_tree(data)
        tree["prepare"]["manifest"] = manifest
        prepare(config_from_tree(tree, "params.yaml"), data, tmp_path / form)
        after = Store.open(tmp_path / form)
        assert len(after) == len(before) - 12
        same = [rows[name] for name in after.ids.tolist()]
        assert after.splits.tolist() == before.splits[same].tolist()
        assert after.labels.tolist() == before.labels[same].tolist()
        for modality in ("audio", "image", "vector"):
            for row, other in enumerate(same):
                np.testing.assert_array_equal(after.sample(modality, row), before.sample(modality, other))
        digests.add(after.digest)
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["plan", "--to", "x.parquet"], "`bss export plan` needs --scheduler, --seed."),
        (["sequence", "--to", "x.parquet", "--scheduler", "bss-h", "--seed", "0"], "needs --epoch."),
        (["data", "--to", "x"], "`bss export data` needs --as."),
        (["plan", "--to", "x.parquet", "--scheduler", "bss-h", "--seed", "0", "--epoch", "1"], "takes no --epoch."),
        (["plan", "--to", "x.csv", "--scheduler", "bss-h", "--seed", "0"], "--to x.csv: must end in .parquet."),
        (["plan", "--to", "x.parquet", "--scheduler", "no", "--seed", "0"], "--scheduler no: params.yaml has uniform"),
        (["data", "--to", "x", "--as", "webdataset", "--where", "a=b"], "and needs --keep or --drop."),
        (["data", "--to", "x", "--as", "webdataset", "--seed", "0"], "--scheduler and --seed belong together"),
        (["data", "--to", "x", "--as", "webdataset", "--scheduler", "bss-h", "--seed", "0"], "trims no sample"),
        (["data", "--to", "x", "--as", "webdataset", "--keep", "no.csv"], "no.csv: no such file."),
    ],
)
def test_what_does_not_go_together_is_refused(words, message, command, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command(*words) == 1
    assert message in capsys.readouterr().err
