import shutil
import subprocess
from collections import Counter

import numpy as np
import pytest
import soundfile
from conftest import write_manifest
from media import brightness, every_kind_sections, write_every_kind
from refused import refused

from bss.data.store import Store
from bss.errors import BssError
from bss.files import digest_file
from bss.stages.prepare import prepare


def digests(folder):
    return {p.relative_to(folder).as_posix(): digest_file(p) for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def run(own_root, tree, make_config, tmp_path):
    """Prepare the data with changed parameters and changed rows; return the opened store."""
    root, rows = own_root

    def run(change_rows=None, protocol="honest", **settings):
        if change_rows is not None:
            write_manifest(root, change_rows([dict(row) for row in rows]))
        tree["prepare"] |= {"root": str(root), **settings}
        config = make_config(tree | {"protocol": protocol})
        prepare(config, root, tmp_path / "store")
        return Store.open(tmp_path / "store")

    run.root = root
    return run


def test_every_sample_is_in_the_store_once_decoded(run):
    store = run()
    assert Counter(store.splits.tolist()) == {"train": 48, "val": 18, "test": 18}
    assert store.classes == ("cat", "dog", "owl")
    row = store.ids.tolist().index("val-dog-2")
    assert store.classes[store.labels[row]] == "dog"
    sound, _ = soundfile.read(run.root / "val-dog-2.wav", dtype="float32")
    np.testing.assert_array_equal(store.sample("audio", row), sound)
    np.testing.assert_array_equal(store.read("vector", np.array([row]))[0], np.load(run.root / "val-dog-2.npy"))
    assert store.truth() is None


@pytest.mark.slow
def test_the_same_data_gives_the_same_bytes_from_any_folder(run, tmp_path, monkeypatch):
    run()
    first = digests(tmp_path / "store")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    run()
    assert digests(tmp_path / "store") == first


def test_val_is_carved_by_group_where_the_manifest_has_none(run):
    store = run(lambda rows: [row for row in rows if row["split"] != "val"])
    groups = {split: {store.groups[i] for i in store.rows(split)} for split in ("train", "val")}
    assert len(store.rows("val")) > 0
    assert not groups["train"] & groups["val"]


def test_a_group_in_two_splits_is_refused_unless_the_split_is_a_published_one(run):
    def leak(rows):
        rows[-1]["group"] = rows[0]["group"]
        return rows

    with pytest.raises(BssError, match=r"group 'train0' is in train and test[\s\S]*protocol: published"):
        run(leak)
    assert len(run(leak, protocol="published")) == 84


def test_all_bad_files_are_reported_at_once_and_nothing_is_left_behind(run, tmp_path):
    (run.root / "train-cat-0.wav").write_bytes(b"")
    (run.root / "train-dog-1.png").write_text("no picture")
    (run.root / "test-owl-5.npy").unlink()
    message = refused(run)
    assert "3 problems" in message
    assert "row 2 (id train-cat-0): audio train-cat-0.wav: file is empty" in message
    assert "image train-dog-1.png: not a readable image" in message
    assert "vector test-owl-5.npy: file not found" in message
    assert "prepare.on_bad_sample: skip" in message
    assert [p.name for p in tmp_path.iterdir() if "store" in p.name] == []


def test_bad_samples_can_be_skipped_and_are_listed(run, tmp_path):
    (run.root / "train-cat-0.wav").write_bytes(b"")
    np.save(run.root / "train-owl-3.npy", np.zeros(6, dtype=np.float32))
    store = run(on_bad_sample="skip")
    assert len(store) == 82
    assert not {"train-cat-0", "train-owl-3"} & set(store.ids)
    last = np.array([len(store) - 1])
    np.testing.assert_array_equal(store.read("vector", last)[0], np.load(run.root / "test-owl-5.npy"))
    listed = (tmp_path / "store" / "skipped.csv").read_text().splitlines()
    assert listed[0] == "id,row,reason"
    assert listed[1].startswith("train-cat-0,2,audio train-cat-0.wav: file is empty")
    assert "has shape [6], previous samples have [5]" in listed[2]


def test_skipping_may_not_empty_a_class(run):
    for i in range(16):
        (run.root / f"train-cat-{i}.wav").write_bytes(b"")
    with pytest.raises(BssError, match="all train samples of cat were skipped"):
        run(on_bad_sample="skip")


@pytest.mark.slow
def test_a_failed_preparation_keeps_the_store_that_was_there(run, tmp_path):
    before = run().digest
    (run.root / "train-cat-0.wav").write_bytes(b"")
    with pytest.raises(BssError):
        run()
    assert Store.open(tmp_path / "store").digest == before


def test_a_link_that_leaves_the_root_is_not_followed(run, tmp_path):
    secret = tmp_path / "secret.npy"
    np.save(secret, np.zeros(5, dtype=np.float32))
    (run.root / "train-cat-0.npy").unlink()
    (run.root / "train-cat-0.npy").symlink_to(secret)
    with pytest.raises(BssError, match="a link that leaves the data root"):
        run()


def test_links_in_a_loop_and_impossible_names_are_bad_samples(run):
    loop = run.root / "train-cat-0.npy"
    loop.unlink()
    loop.symlink_to(loop)

    def rename(rows):
        rows[1]["audio"] = "a\0b"
        return rows

    with pytest.raises(BssError) as caught:
        run(rename)
    assert "2 problems" in str(caught.value)
    assert "vector train-cat-0.npy: a link that leads back to itself" in str(caught.value)
    assert "row 3 (id train-cat-1): audio a\\x00b: not a valid file name" in str(caught.value)


def test_skipping_may_not_empty_a_split(run):
    for path in run.root.glob("val-*.wav"):
        path.write_bytes(b"")
    with pytest.raises(BssError, match="every sample of val was skipped"):
        run(on_bad_sample="skip")


def test_what_is_printed_tells_counts_and_what_was_left_out(run, capsys):
    (run.root / "train-cat-0.wav").write_bytes(b"")
    run(lambda rows: [row | {"[/note]": "x"} for row in rows], on_bad_sample="skip")
    out = capsys.readouterr().out
    assert "3 classes, val from the manifest" in out
    audio = next(line for line in out.splitlines() if "audio" in line)
    assert audio.split()[-4:] == ["float32", "47", "18", "18"]
    assert "samples skipped: 1, listed in skipped.csv" in out
    assert "unused columns: [/note]" in out


def test_the_truth_of_skipped_samples_is_left_out(run):
    (run.root / "train-cat-0.wav").write_bytes(b"")
    ids = [line.split(",")[0] for line in (run.root / "manifest.csv").read_text().splitlines()[1:]]
    (run.root / "truth.csv").write_text("\n".join(["id,kind", *(f"{name},kind of {name}" for name in ids)]))
    store = run(truth="truth.csv", on_bad_sample="skip")
    assert store.truth() == {name: f"kind of {name}" for name in store.ids}


def test_a_truth_file_that_is_missing_is_reported_before_anything_is_decoded(run):
    (run.root / "train-cat-0.wav").write_bytes(b"")
    with pytest.raises(BssError, match=r"prepare\.truth"):
        run(truth="none.csv")


def test_the_truth_goes_along_and_must_tell_of_every_sample(run):
    ids = [line.split(",")[0] for line in (run.root / "manifest.csv").read_text().splitlines()[1:]]
    lines = ["id,kind,note", *(f"{name},{'bad' if i == 0 else 'clean'}," for i, name in enumerate(ids))]
    (run.root / "truth.csv").write_text("\n".join(lines))
    truth = run(truth="truth.csv").truth()
    assert truth["train-cat-0"] == "bad"
    assert Counter(truth.values()) == {"clean": 83, "bad": 1}
    (run.root / "truth.csv").write_text("\n".join(lines[:-1]))
    with pytest.raises(BssError, match=r"has no row for 1 samples, such as \['test-owl-5'\]"):
        run(truth="truth.csv")
    with pytest.raises(BssError, match=r"prepare\.truth"):
        run(truth="none.csv")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda store: (store / "audio.npy").unlink(), "audio.npy: not readable"),
        (lambda store: (store / "audio.npy").write_bytes(b"\x93NUMPY"), "audio.npy: not readable"),
        (lambda store: np.save(store / "audio.npy", np.zeros((3, 800), np.float32)), "holds float32 (3, 800)"),
        (lambda store: (store / "audio.ends.npy").unlink(), "audio.ends.npy: not readable"),
        (lambda store: np.save(store / "vector.npy", np.zeros((3, 5), np.float32)), "store.json says float32 (84, 5)"),
        (lambda store: (store / "store.json").unlink(), "store.json: not found. Run `bss prepare`"),
        (lambda store: (store / "store.json").write_text("{"), "store.json: damaged"),
        (lambda store: (store / "store.json").write_text("{}"), "schema version None, expected 2"),
        (
            lambda store: (store / "store.json").write_text('{"schema_version": 2, "name": "pets"}'),
            "store.json: missing classes, modalities, digest",
        ),
        (lambda store: (store / "samples.parquet").write_bytes(b"PAR1"), "not a readable Parquet file"),
        (lambda store: (store / "samples.parquet").unlink(), "samples.parquet: not found"),
    ],
)
def test_a_damaged_store_is_named(small_store, tmp_path, damage, message):
    store = tmp_path / "store"
    shutil.copytree(small_store, store)
    damage(store)
    with pytest.raises(BssError) as caught:
        Store.open(store)
    assert message in str(caught.value)


@pytest.mark.slow
def test_every_kind_has_its_shape_and_type_in_the_store(tmp_path, make_config, tree):
    root = tmp_path / "birds"
    write_manifest(root, write_every_kind(root))
    config = make_config(tree | every_kind_sections(root))
    prepare(config, root, tmp_path / "store")
    store = Store.open(tmp_path / "store")
    assert {name: (m.kind, m.shape, m.dtype) for name, m in store.modalities.items()} == {
        "sound": ("audio", (4000,), "float32"),
        "shots": ("frames", (3, 3, 8, 10), "uint8"),
        "view": ("clip", (4, 1, 8, 10), "uint8"),
        "motion": ("flow", (2, 2, 5, 6), "float16"),
        "words": ("text", (9,), "int32"),
    }
    row = np.array([11])
    assert store.ids[11] == "b11"
    # Frame j of video i has the brightness 20 + 5 j + i; the clip of row 11 starts at frame 2.
    assert brightness(store.read("shots", row)[0]) == [36, 51, 61]
    assert brightness(store.read("view", row)[0]) == [41, 46, 51, 56]
    assert store.read("words", row).tolist() == [[2, 1, 5, 1, 1, 6, 1, 3, 0]]
    np.testing.assert_array_equal(store.read("motion", row)[0], np.full((2, 2, 5, 6), 11))
    first = digests(tmp_path / "store")
    prepare(config, root, tmp_path / "store")
    assert digests(tmp_path / "store") == first


def test_a_tokenizer_that_is_missing_is_reported_before_anything_is_decoded(run, tree, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (run.root / "train-cat-0.wav").write_bytes(b"")
    tree["prepare"]["modalities"]["image"] = {"kind": "text", "tokenizer": "none"}
    tree["network"]["encoders"]["image"] = {"kind": "bert"}
    with pytest.raises(BssError, match=r"prepare\.modalities\.image\.tokenizer"):
        run()


def test_the_published_protocol_keeps_all_of_train_where_the_manifest_has_no_val(run, capsys):
    store = run(lambda rows: [row for row in rows if row["split"] != "val"], protocol="published")
    assert Counter(store.splits.tolist()) == {"train": 48, "test": 18}
    assert "3 classes, no val" in capsys.readouterr().out


@pytest.mark.process
def test_every_file_that_was_used_has_a_checksum_that_sha256sum_accepts(run, tmp_path):
    run()
    listed = tmp_path / "store" / "files.sha256"
    assert len(listed.read_text().splitlines()) == 3 * 84
    check = ["sha256sum", "--check", "--strict", "--quiet", str(listed)]
    assert subprocess.run(check, cwd=run.root, check=False).returncode == 0
    (run.root / "train-cat-0.wav").write_bytes(b"other")
    done = subprocess.run(check, cwd=run.root, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "train-cat-0.wav: FAILED" in done.stdout
