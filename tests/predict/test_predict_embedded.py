"""`bss predict` on manifests that hold the files: predictions as of files on disk, and faults by file and row."""

import csv
from dataclasses import replace

import pyarrow as pa
import pytest
from conftest import write_manifest
from embedded_data import FILE, make_parameters, members, picture, prepared, sound, table, write_shard, write_table
from refused import refused

from bss.predict.command import predict
from bss.stages.measure import measure
from bss.stages.schedule import schedule
from bss.stages.train import train

NEW = range(4, 14)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a trial on the small samples."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "data").mkdir()
    write_table(folder / "data" / "m.parquet", table())
    prepared(folder / "data", "m.parquet", folder / "store")
    config = make_parameters(folder / "data", "m.parquet")
    config = replace(config, train=replace(config.train, batch_size=4))
    measure(config, folder / "store", folder / "scores")
    schedule(config, folder / "store", folder / "scores", folder / "plans")
    train(config, folder / "store", folder / "scores", folder / "plans", folder / "runs")
    return folder / "runs" / "uniform" / "seed=0"


@pytest.fixture
def predicted(trained, tmp_path):
    """Predict a manifest in tmp_path; return the rows of the output."""

    def predicted(manifest, **more):
        predict(trained, tmp_path / manifest, tmp_path / "new.csv", **more)
        with (tmp_path / "new.csv").open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    return predicted


def test_files_in_tables_and_shards_are_predicted_as_on_disk(predicted, tmp_path):
    rows = []
    for i in NEW:
        (tmp_path / f"{i}.png").write_bytes(picture(i))
        (tmp_path / f"{i}.wav").write_bytes(sound(i))
        rows.append({"id": f"s{i:02}", "label": "cat" if i % 2 else "dog", "audio": f"{i}.wav", "image": f"{i}.png"})
    write_manifest(tmp_path, rows)
    on_disk = predicted("manifest.csv")
    assert [row["id"] for row in on_disk] == [f"s{i:02}" for i in NEW]
    assert len({row["probability"] for row in on_disk}) == len(NEW)
    write_table(tmp_path / "m.parquet", table(NEW))
    assert predicted("m.parquet") == on_disk
    (tmp_path / "shards").mkdir()
    write_shard(tmp_path / "shards" / "0.tar", members(NEW[:3]))
    write_shard(tmp_path / "shards" / "1.tar", members(NEW[3:]))
    assert predicted("shards/{0..1}.tar") == on_disk
    assert predicted("shards") == on_disk
    unnamed = {name: values for name, values in table(NEW).items() if name not in ("id", "split", "label")}
    (tmp_path / "hub").mkdir()
    write_table(tmp_path / "hub" / "test-0.parquet", unnamed)
    found = predicted("hub")
    assert [row.pop("id") for row in found] == [f"test-{i}" for i in range(len(NEW))]
    assert found == [{name: value for name, value in row.items() if name not in ("id", "label")} for row in on_disk]


def test_bad_bytes_are_named_by_file_and_row_and_skipped_on_demand(predicted, tmp_path):
    images = [{"bytes": picture(i), "path": None} for i in NEW]
    images[1]["bytes"] = b"<html>not found</html>"
    images[2] = {"bytes": None, "path": "c.png"}
    write_table(tmp_path / "m.parquet", table(NEW, image=pa.array(images, FILE)))
    lines = refused(predicted, "m.parquet").replace(f"{tmp_path}/", "").splitlines()
    assert lines[0] == "m.parquet: 2 problems"
    assert lines[1].startswith(
        "  row 2 (id s05): image m.parquet::2/image: not a readable image: it holds an HTML page"
    )
    assert lines[2].startswith("  row 3 (id s06): image m.parquet::3/image: holds no bytes, only the path 'c.png'")
    assert not (tmp_path / "new.csv").exists()
    write_shard(tmp_path / "0.tar", members(NEW[:2]))
    spoilt = [(name, data[:30] if name == "s07.png" else data) for name, data in members(NEW[2:5])]
    write_shard(tmp_path / "1.tar", spoilt)
    (tmp_path / "1.tar").write_bytes((tmp_path / "1.tar").read_bytes()[: -10240 - 1536])
    lines = refused(predicted, "{0,1}.tar").replace(f"{tmp_path}/", "").splitlines()
    assert all(line.startswith("  row 3 of 1.tar (key 's08'): ") for line in lines[1:-1])
    assert "the shard" in lines[-2]
    assert "cut off" in lines[-2]
    found = predicted("{0,1}.tar", on_bad="skip")
    assert [row["id"] for row in found] == ["s04", "s05", "s06"]
    with (tmp_path / "new.skipped.csv").open(newline="") as file:
        skipped = [(row["id"], row["row"], row["reason"]) for row in csv.DictReader(file)]
    assert [(name, row) for name, row, _ in skipped] == [("s07", "4"), ("s08", "5")]
    assert skipped[0][2].startswith("image 1.tar::s07.png: not a readable image")
    assert skipped[1][2].startswith("row 3 of 1.tar (key 's08'): ")
