import os
import unicodedata

import numpy as np
import pytest
import soundfile
from conftest import small_tree, write_manifest
from hypothesis import given, settings
from hypothesis import strategies as st
from in_shards import joined
from media import stamp
from PIL import Image
from refused import refused

from bss.config import config_from_tree
from bss.config.modalities import FeaturesKind, TextKind
from bss.data.joined import first_of_each
from bss.data.rows import Sample
from bss.data.same_files import BLOCK, file_keys, files_in_two_splits
from bss.data.shards import Shard
from bss.data.splits import carve_val
from bss.data.store import Store
from bss.datasets.splits import honest_rows
from bss.errors import BssError
from bss.files import digest_folder
from bss.init.suggest import suggest
from bss.stages.prepare import prepare


def classes(keys):
    """The names that have one key each, as sets."""
    found = {}
    for name, key in keys.items():
        found.setdefault(key, set()).add(name)
    return sorted(map(sorted, found.values()))


def test_every_way_to_name_a_file_twice_is_seen(tmp_path):
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "other").write_bytes(b"two")
    (tmp_path / "copy").write_bytes(b"one")
    (tmp_path / "soft").symlink_to("a")
    os.link(tmp_path / "a", tmp_path / "hard")
    (tmp_path / "folder").mkdir()
    for form in ("NFC", "NFD"):
        (tmp_path / unicodedata.normalize(form, "\u00fcber")).write_bytes(b"\xc3\xbc")
    names = ["a", "./a", "folder/.././a", "copy", "soft", "hard", "other", "u\u0308ber", "\u00fcber"]
    assert classes(file_keys(tmp_path, names)) == [
        ["./a", "a", "copy", "folder/.././a", "hard", "soft"],
        ["other"],
        ["u\u0308ber", "\u00fcber"],
    ]


def test_paths_that_lead_nowhere_are_compared_by_name_and_empty_files_are_not_alike(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret").write_bytes(b"one")
    (root / "a").write_bytes(b"one")
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "empty").write_bytes(b"")
    (root / "void").write_bytes(b"")
    names = ["gone", "./gone", "lost", "link", "a", "empty", "void", "x\0"]
    expected = [["./gone", "gone"], ["a"], ["empty"], ["link"], ["lost"], ["void"], ["x\0"]]
    assert classes(file_keys(root, names)) == expected


@pytest.mark.parametrize("at", [0, BLOCK + 1, 2 * BLOCK, 3 * BLOCK + 7, 4 * BLOCK - 1])
def test_files_that_differ_in_one_byte_anywhere_are_not_the_same(tmp_path, at):
    data = bytearray(4 * BLOCK)
    (tmp_path / "a").write_bytes(data)
    (tmp_path / "b").write_bytes(data)
    data[at] = 1
    (tmp_path / "c").write_bytes(data)
    assert classes(file_keys(tmp_path, "abc")) == [["a", "b"], ["c"]]


def test_a_folder_of_images_is_the_same_where_all_its_images_are(tmp_path):
    black = Image.new("L", (8, 8))
    for name in ("a", "b", "c", "d"):
        (tmp_path / name).mkdir()
        black.save(tmp_path / name / "1.png")
        black.save(tmp_path / name / "2.png")
    stamp(tmp_path / "c" / "2.png")  # the first frame is still that of the others
    (tmp_path / "d" / "2.png").unlink()
    (tmp_path / "b" / "Thumbs.db").write_bytes(b"no image")
    black.save(tmp_path / "1.png")
    assert classes(file_keys(tmp_path, ["a", "b", "c", "d", "1.png"])) == [["1.png", "d"], ["a", "b"], ["c"]]


def test_files_that_may_be_shared_and_their_copies_are_left_out(tmp_path):
    for name, data in (("silence", b"000"), ("copy", b"000"), ("a", b"123")):
        (tmp_path / name).write_bytes(data)
    assert file_keys(tmp_path, ["silence", "copy", "a"], ["silence"]) == {"a": "a"}
    with pytest.raises(BssError, match=r"prepare\.shared_files.*\n.*'none' is not a file in"):
        file_keys(tmp_path, ["a"], ["none"])


@settings(deadline=None, max_examples=30)
@given(contents=st.lists(st.binary(min_size=1, max_size=2), min_size=1, max_size=12))
def test_two_names_have_one_key_exactly_where_their_bytes_are_the_same(contents, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for i, data in enumerate(contents):
        (folder / str(i)).write_bytes(data)
    keys = file_keys(folder, map(str, range(len(contents))))
    for i, one in enumerate(contents):
        for j, other in enumerate(contents):
            assert (keys[str(i)] == keys[str(j)]) == (one == other)


KEYS = st.lists(st.frozensets(st.integers(0, 12), max_size=3), min_size=1, max_size=15)


@settings(deadline=None)
@given(KEYS)
def test_what_belongs_together_is_what_a_flood_reaches(keys):
    expected = []
    for start in range(len(keys)):
        reached, known = {start}, set(keys[start])
        while more := {i for i, own in enumerate(keys) if i not in reached and own & known}:
            reached |= more
            known |= set().union(*(keys[i] for i in more))
        expected.append(min(reached))
    assert first_of_each(keys).tolist() == expected


ROWS = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from(["train", "val", "test"]), st.integers(0, 30), st.integers(0, 30)),
    min_size=12,
    max_size=60,
)


@pytest.mark.filterwarnings("ignore:The least populated class")
@settings(deadline=None, max_examples=60)
@given(ROWS, st.sampled_from(["published splits", "new splits"]))
def test_in_an_honest_split_no_group_and_no_file_is_in_two(drawn, rule):
    rows = [{"id": str(i), "label": a, "split": b, "group": str(c)} for i, (a, b, c, _) in enumerate(drawn)]
    files = {row["id"]: frozenset({f"f{d}"}) for row, (*_, d) in zip(rows, drawn, strict=True)}
    try:
        kept, left_out = honest_rows(rows, rule, list(files.values()))
    except BssError:  # too few groups, or too few samples of every class
        assert rule == "new splits"
        return
    assert len(kept) + left_out == len(rows)
    for own in (lambda row: {row["group"]}, lambda row: files[row["id"]]):
        splits = {}
        for row in kept:
            for key in own(row):
                splits.setdefault(key, set()).add(row["split"])
        assert all(len(found) == 1 for found in splits.values())


def test_a_file_in_two_splits_is_named_with_a_row_of_each():
    def sample(row, split, path, text="same"):
        return Sample(row, str(row), "x", split, None, {"a": path, "words": text})

    samples = [sample(2, "train", "x"), sample(3, "test", "y"), sample(4, "train", "z"), sample(5, "val", "z")]
    kinds = {"a": FeaturesKind("features"), "words": TextKind("text", "t", source="file")}
    keys = {"x": "x", "y": "x", "z": "z"}
    assert files_in_two_splits(samples, kinds, keys) == [
        "'x' in train (row 2) and 'y' in test (row 3) are one file",
        "file 'z' is in train (row 4) and val (row 5)",
    ]


@pytest.fixture
def pets(own_root, tmp_path):
    """The small data; the root, its rows, and a function that prepares them after a change."""
    root, rows = own_root

    def run(rows, protocol="honest", **settings):
        write_manifest(root, rows)
        tree = small_tree(root)
        tree["prepare"] |= settings
        prepare(config_from_tree(tree | {"protocol": protocol}, "params.yaml"), root, tmp_path / "store")
        return Store.open(tmp_path / "store")

    return root, rows, run


def last_in_test(rows):
    """Rows 2 and 85 of the manifest: the first of train and the last of test."""
    return rows[0], rows[-1]


@pytest.mark.slow
@pytest.mark.parametrize("way", ["the same path", "./", "a copy", "a symbolic link", "a hard link"])
def test_an_own_manifest_with_a_file_in_two_splits_is_refused_by_name(pets, way, capsys):
    root, rows, run = pets
    first, last = last_in_test(rows)
    path = root / last["audio"]
    if way in ("the same path", "./"):
        last["audio"] = {"the same path": "", "./": "./"}[way] + first["audio"]
    else:
        path.unlink()
        make = {"a symbolic link": path.symlink_to, "a hard link": path.hardlink_to}
        make.get(way, lambda target: path.write_bytes(target.read_bytes()))(root / first["audio"])
    message = refused(run, rows)
    assert "1 problem\n" in message
    assert "train-cat-0.wav' " in message
    assert "train (row 2)" in message
    assert "test (row 85)" in message
    assert "prepare.shared_files" in message
    assert len(run(rows, protocol="published")) == 84
    shown = " ".join(capsys.readouterr().out.split())
    assert "1 files are in two splits, such as: " in shown


def test_a_placeholder_may_be_shared_where_it_is_listed(pets):
    root, rows, run = pets
    for row in rows[::5]:
        soundfile.write(root / f"none-{row['id']}.wav", np.zeros(800), 4000, subtype="PCM_16")
        row["audio"] = f"none-{row['id']}.wav"
    with pytest.raises(BssError, match="are one file"):
        run(rows)
    assert len(run(rows, shared_files=[rows[0]["audio"]])) == 84


def test_val_is_carved_such_that_no_file_and_no_group_is_in_two_splits(pets):
    root, rows, run = pets
    rows = [row for row in rows if row["split"] != "val"]
    train = [row for row in rows if row["split"] == "train"]
    for i, row in enumerate(train):
        row["group"] = "" if i % 3 else f"g{i % 9}"
        if i % 2:
            (root / row["audio"]).write_bytes((root / train[i - 1]["audio"]).read_bytes())
    store = run(rows)
    content = {row["id"]: (root / row["audio"]).read_bytes() for row in rows}
    for own in (content, {row["id"]: row["group"] for row in rows if row["group"]}):
        by_split = {
            split: {own[name] for name in store.ids[store.rows(split)] if name in own} for split in ("train", "val")
        }
        assert by_split["val"]
        assert not by_split["train"] & by_split["val"]


def test_without_shared_files_val_is_that_of_the_classes_alone(pets):
    root, rows, _ = pets
    from bss.data.manifest import read_manifest

    write_manifest(root, [row | {"group": ""} for row in rows if row["split"] != "val"])
    manifest = read_manifest(root, "manifest.csv", {"audio": FeaturesKind("features")})
    files = [frozenset({sample.files["audio"]}) for sample in manifest.samples]
    assert carve_val(manifest, 0.2, files) == carve_val(manifest, 0.2)


def test_shards_see_a_shared_file_before_anything_is_decoded_and_carve_the_same_val(pets, tmp_path):
    root, rows, _ = pets
    rows = [row | {"group": ""} for row in rows if row["split"] != "val"]
    rows[1]["image"] = rows[0]["image"]
    write_manifest(root, rows)
    config = config_from_tree(small_tree(root), "params.yaml")
    prepare(config, root, tmp_path / "at-once")
    assert digest_folder(joined(config, root, tmp_path, 3)) == digest_folder(tmp_path / "at-once")
    rows[-1]["image"] = f"./{rows[0]['image']}"
    write_manifest(root, rows)
    for number in range(3):
        with pytest.raises(BssError, match="are one file"):
            prepare(config, root, tmp_path / "part", Shard(number, 3, "digest"))


def test_init_names_shared_files_and_suggests_a_protocol_that_prepares(pets, tmp_path):
    root, rows, _ = pets
    first, last = last_in_test(rows)
    (root / last["vector"]).write_bytes((root / first["vector"]).read_bytes())
    write_manifest(root, rows)
    made = suggest(root / "manifest.csv", tmp_path)
    where = "'train-cat-0.npy' in train (row 2) and 'test-owl-5.npy' in test (row 85) are one file"
    assert made.cautions[0].startswith(f"1 files are in two splits ({where})")
    assert "prepare.shared_files" in made.cautions[0]
    assert "\nprotocol: published" in made.text


def test_the_store_lists_every_name_that_a_file_has(pets):
    _, rows, run = pets
    rows[1]["image"] = f"./{rows[0]['image']}"
    store = run(rows)
    listed = (store.path / "files.sha256").read_text().splitlines()
    found = [line.split("  ")[0] for line in listed if line.endswith("train-cat-0.png")]
    assert len(found) == 2
    assert len(set(found)) == 1
