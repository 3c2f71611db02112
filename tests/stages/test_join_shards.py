"""Preparing in shards and joining them gives the store that preparing at once gives."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from textwrap import dedent

import numpy as np
import pytest
import soundfile
from conftest import write_manifest
from in_shards import DATA, in_shards, joined
from media import write_tokenizer
from refused import refused

from bss.config.schema import DigitsConfig
from bss.data.builtin import digits
from bss.data.shards import Shard
from bss.data.store import Store
from bss.errors import BssError
from bss.files import digest_file, read_json, write_json
from bss.stages.join_shards import join_shards
from bss.stages.prepare import prepare


def digests(folder):
    return {p.relative_to(folder).as_posix(): digest_file(p) for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def varied(own_root, tree, make_config):
    """Sounds of different length, a text, bad samples, a truth, no val: the root and its parameters."""
    root, rows = own_root
    rows = [row for row in rows if row["split"] != "val"]
    write_tokenizer(root / "tokenizer", ["owl", "cat"])
    for i, row in enumerate(rows):
        row["words"] = f"an owl, {'a cat ' * (i % 3)}"
        soundfile.write(root / row["audio"], np.full(100 + 11 * i, i / 100), 4000, subtype="PCM_16")
    (root / rows[0]["audio"]).write_bytes(b"")  # no shape is known before the second sample
    np.save(root / rows[30]["vector"], np.zeros(6, dtype=np.float32))  # the first of a shard, where there are 11
    (root / rows[65]["image"]).unlink()
    shutil.copy(root / rows[1]["image"], root / "back\\slash.png")
    for i in (1, 2, 40, 64):  # a file that several shards name
        rows[i]["image"] = "back\\slash.png"
    for row in rows[::7]:
        row["group"] = ""
    write_manifest(root, rows)
    truth = [f"{row['id']},{'bad' if i % 5 == 0 else 'clean'},{i % 2 or ''}" for i, row in enumerate(rows)]
    (root / "truth.csv").write_text("\n".join(["id,kind,note", *truth]))
    tree["prepare"] |= {"root": str(root), "truth": "truth.csv", "on_bad_sample": "skip"}
    tree["prepare"]["shared_files"] = ["back\\slash.png"]
    tree["prepare"]["modalities"] |= {"words": {"kind": "text", "tokenizer": "tokenizer", "tokens": 8}}
    tree["network"]["encoders"] |= {"words": {"kind": "bert"}}
    return root, make_config(tree)


@pytest.mark.slow
@pytest.mark.parametrize("of", [1, 2, 11, 70])
def test_the_joined_store_is_to_the_byte_the_one_that_is_prepared_at_once(varied, tmp_path, of):
    root, config = varied
    prepare(config, root, tmp_path / "at-once")
    parts = in_shards(config, root, tmp_path, of)
    join_shards(config, DATA, parts[::-1], tmp_path / "joined")
    assert digests(tmp_path / "joined") == digests(tmp_path / "at-once")
    store = Store.open(tmp_path / "joined")
    assert len(store) == 63
    assert len({int(n) for n in store.lengths("audio", np.arange(63))}) > 50
    assert {"files.sha256", "skipped.csv", "truth.parquet"} <= set(digests(tmp_path / "joined"))
    assert len(store.rows("val")) > 0


@pytest.mark.slow
def test_the_built_in_data_are_the_same_store_from_shards(tree, make_config, tmp_path, monkeypatch):
    monkeypatch.setattr(digits, "SHARES", {"train": 100, "val": 50, "test": 47})
    digits.write_digits(DigitsConfig(), tmp_path / "digits")
    kinds = {
        "audio": {"kind": "audio", "sample_rate": 8000, "seconds": 0.4},
        "image": {"kind": "image", "height": 8, "width": 8, "channels": 1},
    }
    tree["prepare"] = {"root": "digits", "truth": "truth.csv", "modalities": kinds}
    del tree["network"]["encoders"]["vector"]
    config = make_config(tree)
    prepare(config, tmp_path / "digits", tmp_path / "at-once")
    assert digests(joined(config, tmp_path / "digits", tmp_path, 3)) == digests(tmp_path / "at-once")
    assert len(Store.open(tmp_path / "joined")) == 197


@pytest.fixture
def parts(varied, tmp_path):
    """The three parts of the varied data, and what joins some of them."""
    root, config = varied

    def join(folders, data=DATA, config=config):
        join_shards(config, data, folders, tmp_path / "joined")

    return in_shards(config, root, tmp_path, 3), join


def test_parts_that_are_missing_or_there_twice_are_named(parts, tmp_path):
    (zero, one, two), join = parts
    message = refused(join, [two, zero, two])
    assert "2 problems" in message
    assert "shard 1 of 3 is missing" in message
    assert "shard 2 of 3 exists 2 times" in message
    (one / "part.json").unlink()
    assert f"{one / 'part.json'}: not found" in refused(join, [zero, one, two])
    assert not (tmp_path / "joined").exists()


@pytest.mark.slow
def test_parts_of_other_data_or_of_another_number_of_shards_are_named(parts, varied, tmp_path):
    (zero, one, two), join = parts
    root, config = varied
    (other,) = in_shards(config, root, tmp_path / "other", 1, data="e" * 32)
    message = refused(join, [zero, one, other])
    assert f"{other}: one of 1 shards, not of 3" in message
    assert f"{other}: holds the data eeeeeeeeeeee, expected dddddddddddd" in message
    assert "Rerun the pipeline without its cache." in message
    assert "3 problems" in refused(join, [zero, one, two], data="f" * 32)


def test_parts_made_with_other_parameters_manifest_code_or_libraries_are_named(parts, varied, make_config, tree):
    (zero, one, two), join = parts
    tree["prepare"]["val_share"] = 0.3
    message = refused(join, [zero, one, two], config=make_config(tree))
    assert f"{two}: made with different parameters" in message
    assert "3 problems" in message
    record = read_json(one / "provenance.json", "prepare")
    write_json(one / "provenance.json", record | {"deciding_code": "0", "environment": {}})
    record["inputs"]["manifest"] = "0"
    write_json(two / "provenance.json", record)
    message = refused(join, [zero, one, two])
    assert f"{one}: made with different environment, code" in message
    assert f"{two}: made with different manifest" in message


def test_a_raw_file_that_changed_between_two_shards_is_named(parts):
    (zero, one, two), join = parts
    lines = (two / "files.sha256").read_text()
    assert "back\\\\slash.png" in lines
    path = two / "files.sha256"
    path.write_text("".join(f"\\{'0' * 64}{line[65:]}" if "\\" in line else line for line in lines.splitlines(True)))
    assert "back\\slash.png: changed while the data was being prepared" in refused(join, [zero, one, two])


def test_parts_with_samples_of_other_shapes_or_other_classes_do_not_fit(parts):
    folders, join = parts
    header = read_json(folders[1] / "store.json", "prepare")
    write_json(folders[1] / "store.json", header | {"classes": ["cat", "dog", "owl", "rat"]})
    assert "different classes" in refused(join, folders)
    np.save(folders[1] / "vector.npy", np.zeros((sum(header["counts"].values()), 7), dtype=np.float32))
    header["modalities"]["vector"]["shape"] = [7]
    write_json(folders[1] / "store.json", header)
    assert "samples of different shapes" in refused(join, folders)


def test_a_part_that_lost_samples_is_not_joined(parts):
    folders, join = parts
    (folders[0] / "skipped.csv").write_text("id,row,reason\n")
    assert "do not have the 66 samples of manifest.csv" in refused(join, folders)
    for damaged in ("id,row\nx,2\n", "id,row,reason\nx,two,bad\n"):
        (folders[0] / "skipped.csv").write_text(damaged)
        assert "skipped.csv: damaged" in refused(join, folders)


@pytest.mark.process
def test_a_shard_that_is_killed_leaves_nothing_that_is_joined(parts, varied, tree, tmp_path):
    (zero, one, two), join = parts
    shutil.rmtree(one)
    script = f"""
        import json, os, signal
        from pathlib import Path
        import bss.stages.prepare as stage
        from bss.config import config_from_tree
        from bss.data.shards import Shard
        stage.write_header = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        config = config_from_tree(json.loads({json.dumps(json.dumps(tree))}), "params.yaml")
        stage.prepare(config, Path({str(varied[0])!r}), Path({str(one)!r}), Shard(1, 3, {DATA!r}))
    """
    assert subprocess.run([sys.executable, "-c", dedent(script)], check=False).returncode == -9
    assert one.with_name(f".{one.name}.unfinished").is_dir()
    assert "part.json: not found" in refused(join, [zero, one, two])
    root, config = varied
    prepare(config, root, one, Shard(1, 3, DATA))
    join([zero, one, two])


def test_bad_samples_fail_their_own_shard_where_none_may_be_skipped(varied, make_config, tree, tmp_path):
    root, _ = varied
    tree["prepare"]["on_bad_sample"] = "error"
    config = make_config(tree)
    with pytest.raises(BssError, match=r"1 problem\n  row 2 \(id train-cat-0\)"):
        prepare(config, root, tmp_path / "part", Shard(0, 3, DATA))
    with pytest.raises(BssError, match=r"has shape \[6\], previous samples have \[5\]"):
        prepare(config, root, tmp_path / "part", Shard(5, 11, DATA))
    assert not (tmp_path / "part").exists()
    prepare(config, root, tmp_path / "part", Shard(1, 11, DATA))


def test_a_mistake_in_any_row_of_the_manifest_is_reported_by_every_shard(varied, tmp_path):
    root, config = varied
    manifest = root / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("test-owl-5,owl,test", "test-owl-5,owl,tset"))
    config = replace(config, prepare=replace(config.prepare, on_bad_sample="error"))
    with pytest.raises(BssError, match="split 'tset' is not one of"):
        prepare(config, root, tmp_path / "part", Shard(0, 3, DATA))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("test-*.wav", "manifest.csv: every sample of test was skipped"),
        ("train-cat-*.wav", "manifest.csv: all train samples of cat were skipped"),
        ("*.wav", "manifest.csv: 66 problems"),
    ],
)
def test_what_skipping_may_not_empty_is_looked_at_over_all_shards(varied, tmp_path, bad, message):
    root, config = varied
    for path in root.glob(bad):
        path.write_bytes(b"")
    folders = in_shards(config, root, tmp_path, 3)
    with pytest.raises(BssError, match=message):
        join_shards(config, DATA, folders, tmp_path / "joined")
    with pytest.raises(BssError, match=message):
        prepare(config, root, tmp_path / "at-once")
