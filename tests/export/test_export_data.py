"""Curated subsets: what is exported is read again as the same store, and by the real libraries."""

import csv
import json
import shutil
import subprocess
import sys
import tarfile
from importlib import metadata
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from conftest import small_tree, write_manifest
from embedded_data import make_parameters, prepared, sound, table, write_files, write_table
from media import brightness, every_kind_sections, write_every_kind

from bss.config import config_from_tree
from bss.data.store import Store
from bss.errors import BssError
from bss.export.command import export_data
from bss.export.subset import listed_ids
from bss.stages.prepare import prepare

FOLDERS = {"webdataset": "*.tar", "huggingface": "."}


def exported(config, store, form, to, ids=None):
    export_data(config, Path(config.prepare.root), store, form, to, ids, {"keep": "a list"})
    return to


@pytest.fixture
def pets(own_root, tmp_path):
    """Plain files with groups, three modalities and a carved val; config and store."""
    root, _ = own_root
    lines = (root / "manifest.csv").read_text().splitlines(keepends=True)
    (root / "manifest.csv").write_text("".join(line for line in lines if not line.startswith("val-")))
    config = config_from_tree(small_tree(root), "params.yaml")
    prepare(config, root, tmp_path / "store")
    return config, root, tmp_path / "store"


def without(ids):
    """Return which ids to keep: not every third, nor the first test sample."""
    return {name for number, name in enumerate(ids) if number % 3} | {"train-cat-0", "train-dog-0", "train-owl-0"}


@pytest.mark.slow
def test_all_three_formats_of_a_subset_give_the_same_store(pets, tmp_path):
    config, root, store = pets
    kept = without(Store.open(store).ids.tolist())
    exported(config, store, "manifest", root / "curated.csv", kept)
    tree = small_tree(root)
    tree["prepare"]["manifest"] = "curated.csv"
    prepare(config_from_tree(tree, "params.yaml"), root, tmp_path / "of-manifest")
    expected = Store.open(tmp_path / "of-manifest")
    assert set(expected.ids.tolist()) == kept
    original = Store.open(store)
    rows = {name: row for row, name in enumerate(original.ids.tolist())}
    for row, name in enumerate(expected.ids.tolist()):
        assert expected.splits[row] == original.splits[rows[name]]
        assert expected.groups[row] == original.groups[rows[name]]
        np.testing.assert_array_equal(expected.sample("vector", row), original.sample("vector", rows[name]))
    for form, manifest in FOLDERS.items():
        folder = exported(config, store, form, tmp_path / form, kept)
        tree = small_tree(folder)
        tree["prepare"]["manifest"] = manifest
        prepare(config_from_tree(tree, "params.yaml"), folder, tmp_path / f"of-{form}")
        assert Store.open(tmp_path / f"of-{form}").digest == expected.digest, form


def test_files_inside_a_table_are_exported_and_read_again(tmp_path):
    (tmp_path / "data").mkdir()
    write_table(tmp_path / "data" / "m.parquet", table())
    store = prepared(tmp_path / "data", "m.parquet", tmp_path / "store")
    config = make_parameters(tmp_path / "data", "m.parquet")
    for form, manifest in FOLDERS.items():
        folder = exported(config, store.path, form, tmp_path / form)
        assert prepared(folder, manifest, tmp_path / "again").digest == store.digest, form
    with pytest.raises(BssError, match=r"32 problems\n  s00: audio m\.parquet::1/audio is inside another file"):
        exported(config, store.path, "manifest", tmp_path / "data" / "curated.csv")


def test_what_an_audit_decided_is_exported_too(tmp_path, capsys):
    root = tmp_path / "data"
    root.mkdir()
    write_files(root)
    rows = ["s00,drop,", "s02,relabel,cat", "s03,ignore,audio", "s14,ignore,image"]
    (root / "decisions.csv").write_text("\n".join(["id,decision,value", *rows]))
    decided = {"decisions": "decisions.csv", "decide_test": True}
    store = prepared(root, "{a,b}.csv", tmp_path / "store", **decided)
    assert (len(store), store.classes[store.labels[1]]) == (15, "cat")
    config = make_parameters(root, "{a,b}.csv", **decided)
    exported(config, store.path, "manifest", root / "curated.csv")
    again = {"decisions": "curated.decisions.csv", "decide_test": True}
    assert prepared(root, "curated.csv", tmp_path / "again", **again).digest == store.digest
    for form, manifest in FOLDERS.items():
        folder = exported(config, store.path, form, tmp_path / form)
        assert prepared(folder, manifest, tmp_path / "again", **decided).digest == store.digest, form
    assert (
        f"2 of them ignore a modality, by {folder}/decisions.csv: set prepare.decisions to it and "
        "prepare.decide_test: true where they are prepared."
    ) in capsys.readouterr().out
    exported(config, store.path, "webdataset", tmp_path / "few", {"s01", "s08", "s12"})
    assert not (tmp_path / "few" / "decisions.csv").exists()


@pytest.mark.slow
def test_videos_texts_and_parts_of_files_are_kept(tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    rows = write_every_kind(root)
    write_manifest(root, rows)

    def store_of(folder, manifest, name):
        sections = every_kind_sections(folder)
        sections["prepare"]["manifest"] = manifest
        config = config_from_tree(small_tree(folder) | sections, "params.yaml")
        prepare(config, folder, tmp_path / name)
        return config, Store.open(tmp_path / name)

    config, store = store_of(root, "manifest.csv", "store")
    with pytest.raises(BssError, match=r"12 problems\n  b0: view 0 is a folder of images"):
        exported(config, store.path, "webdataset", tmp_path / "no")
    exported(config, store.path, "manifest", root / "folders.csv")
    assert store_of(root, "folders.csv", "other")[1].ids.tolist()[:2] == ["b0", "b1"]
    write_manifest(root, [row | {"view": row["shots"]} for row in rows])
    config, store = store_of(root, "manifest.csv", "store")
    exported(config, store.path, "manifest", root / "curated.csv")
    _, expected = store_of(root, "curated.csv", "expected")
    assert brightness(expected.sample("view", expected.ids.tolist().index("b5"))) == [35, 40, 45, 50]  # from frame 2
    for form, manifest in FOLDERS.items():
        folder = exported(config, store.path, form, tmp_path / form)
        shutil.copytree(root / "tokenizer", folder / "tokenizer")
        assert store_of(folder, manifest, "again")[1].digest == expected.digest, form


def test_the_contents_of_shards_and_provenance(pets, tmp_path):
    config, root, store = pets
    folder = exported(config, store, "webdataset", tmp_path / "shards")
    assert sorted(path.name for path in folder.iterdir()) == [
        "provenance.json",
        "test-000000.tar",
        "train-000000.tar",
        "val-000000.tar",
    ]
    with tarfile.open(folder / "test-000000.tar") as tar:
        names = tar.getnames()[:5]
        fields = json.loads(tar.extractfile(names[4]).read())
        assert tar.extractfile(names[1]).read() == (root / "test-cat-0.png").read_bytes()
        assert tar.extractfile(names[3]).read() == b"0"
    start = len(Store.open(store).rows("train")) + len(Store.open(store).rows("val"))
    assert names == [f"{start:08}.{part}" for part in ("audio.wav", "image.png", "vector.npy", "cls", "json")]
    paths = {"audio": "test-cat-0.wav", "image": "test-cat-0.png", "vector": "test-cat-0.npy"}
    assert fields == {"id": "test-cat-0", "label": "cat", "split": "test", "group": "test0", "paths": paths}
    origin = json.loads((folder / "provenance.json").read_text())
    assert origin["stage"] == "export data"
    assert origin["inputs"]["store"] == Store.open(store).digest
    assert origin["parameters"]["chosen"] == {"keep": "a list"}
    again = exported(config, store, "webdataset", tmp_path / "again")
    assert all((again / path.name).read_bytes() == path.read_bytes() for path in folder.iterdir())


def test_large_subsets_are_cut_into_several_files(pets, tmp_path, monkeypatch):
    config, _, store = pets
    monkeypatch.setattr("bss.export.web_dataset.SHARD_SAMPLES", 10)
    monkeypatch.setattr("bss.export.hugging_face.FILE_BYTES", 20_000)
    monkeypatch.setattr("bss.export.hugging_face.GROUP_ROWS", 4)
    shards = exported(config, store, "webdataset", tmp_path / "shards")
    counts = [path.read_bytes().count(b".image.png\0") for path in sorted(shards.glob("train-*.tar"))]
    assert counts == [10, 10, 10, sum(Store.open(store).splits == "train") - 30]
    files = sorted((exported(config, store, "huggingface", tmp_path / "hub") / "data").glob("train-*"))
    assert files[-1].name == f"train-{len(files) - 1:05}-of-{len(files):05}.parquet"
    assert len(files) > 2
    ids = [name for file in files for name in pyarrow.parquet.read_table(file)["id"].to_pylist()]
    assert ids == [name for name in Store.open(store).ids if not name.startswith("test") and name in set(ids)]


def test_data_that_changed_since_prepare_are_not_exported(pets, tmp_path):
    config, root, store = pets
    (root / "train-cat-3.png").write_bytes((root / "train-cat-4.png").read_bytes())
    (root / "train-cat-5.wav").unlink()
    with pytest.raises(BssError) as caught:
        exported(config, store, "webdataset", tmp_path / "shards")
    assert str(caught.value).splitlines()[1:] == [
        "  train-cat-3.png: has changed since it was prepared",
        "  train-cat-5.wav: cannot be read (No such file or directory)",
        "Run `bss prepare` again.",
    ]
    assert not (tmp_path / "shards").exists()


def test_a_manifest_outside_the_data_says_where_it_belongs(pets, tmp_path, capsys):
    config, root, store = pets
    exported(config, store, "manifest", root / "inside.csv")
    assert "Its paths" not in capsys.readouterr().out
    exported(config, store, "manifest", tmp_path / "outside.csv")
    line = f"Its paths are relative to {config.prepare.root}: put it there, then name it in prepare.manifest."
    assert line in capsys.readouterr().out


def test_nothing_is_overwritten(pets, tmp_path):
    config, root, store = pets
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(BssError, match="already exists and would be replaced"):
        exported(config, store, "huggingface", tmp_path / "full")
    with pytest.raises(BssError, match="already exists and would be replaced"):
        exported(config, store, "manifest", root / "manifest.csv")
    with pytest.raises(BssError, match=r"a manifest must end in \.csv"):
        exported(config, store, "manifest", root / "curated.json")


def test_ids_are_read_from_lists_and_decisions(pets, tmp_path):
    _, _, store = pets
    rows = [{"id": "train-cat-0", "decision": "drop"}, {"id": "train-cat-1", "decision": "keep"}]
    with (tmp_path / "decisions.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["id", "decision"])
        writer.writeheader()
        writer.writerows(rows)
    assert listed_ids(tmp_path / "decisions.csv", "decision=drop", store) == {"train-cat-0"}
    assert listed_ids(tmp_path / "decisions.csv", None, store) == {"train-cat-0", "train-cat-1"}
    with pytest.raises(BssError, match="lists no id with decision=maybe"):
        listed_ids(tmp_path / "decisions.csv", "decision=maybe", store)
    with pytest.raises(BssError, match=r"no column verdict; it has id, decision"):
        listed_ids(tmp_path / "decisions.csv", "verdict=drop", store)
    (tmp_path / "ids.csv").write_text("id\ntrain-cat-0\ncow\n")
    with pytest.raises(BssError, match="row 3: id 'cow' is not in the store"):
        listed_ids(tmp_path / "ids.csv", None, store)


READ_BY_DATASETS = """
import sys, datasets
found = datasets.load_dataset(sys.argv[1], cache_dir=sys.argv[2])
assert {split: len(part) for split, part in found.items()} == {"train": 8, "validation": 4, "test": 4}, found
train = found["train"]
assert train.features["label"].names == ["cat", "dog"]
assert train["label"][:2] == [1, 0]
assert isinstance(train.features["audio"], datasets.Audio)
assert list(train.select_columns(["image"])[3]["image"].getdata()) == [30] * 16
sound = train.cast_column("audio", datasets.Audio(decode=False))[3]["audio"]
assert sound == {"bytes": open(sys.argv[3], "rb").read(), "path": "3.wav"}
"""
READ_BY_WEBDATASET = """
import sys, webdataset
found = list(webdataset.WebDataset(sys.argv[1] + "/train-000000.tar", shardshuffle=False).decode("rgb8"))
assert [sample["__key__"] for sample in found] == [f"{i:08}" for i in range(8)]
assert [sample["cls"] for sample in found[:2]] == [1, 0]
assert (found[3]["image.png"] == 30).all()
assert found[3]["audio.wav"] == open(sys.argv[3], "rb").read()
assert found[3]["json"]["label"] == "cat"
"""


@pytest.mark.parametrize(
    ("library", "form", "script"),
    [("datasets", "huggingface", READ_BY_DATASETS), ("webdataset", "webdataset", READ_BY_WEBDATASET)],
)
def test_the_real_library_reads_what_is_exported(library, form, script, tmp_path):
    try:
        metadata.version(library)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{library} is not installed")
    (tmp_path / "data").mkdir()
    write_table(tmp_path / "data" / "m.parquet", table())
    (tmp_path / "3.wav").write_bytes(sound(3))
    store = prepared(tmp_path / "data", "m.parquet", tmp_path / "store")
    folder = exported(make_parameters(tmp_path / "data", "m.parquet"), store.path, form, tmp_path / "exported")
    # A process of its own: in this one tests/datasets hides the library.
    command = [sys.executable, "-c", script, str(folder), str(tmp_path / "cache"), str(tmp_path / "3.wav")]
    done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
