"""Faults of tables with files inside and of shards: one message each, with file and row, all at once."""

import csv
import gzip
import json

import pyarrow as pa
import pytest
from embedded_data import FILE, members, picture, prepared, sound, table, write_files, write_shard, write_table

from bss.config.modalities import AudioKind, TextKind
from bss.data.manifest import read_manifest
from bss.errors import BssError


@pytest.fixture
def refused(tmp_path):
    """Return the lines of the message with which `bss prepare` refuses a manifest in tmp_path / "data"."""

    def refused(manifest, **settings):
        with pytest.raises(BssError) as caught:
            prepared(tmp_path / "data", manifest, tmp_path / "store", **settings)
        return str(caught.value).replace(f"{tmp_path}/", "").splitlines()

    (tmp_path / "data").mkdir()
    return refused


@pytest.fixture
def data(tmp_path, refused):
    return tmp_path / "data"


def skipped(store):
    with (store.path / "skipped.csv").open(newline="") as file:
        return [(row["id"], row["row"], row["reason"]) for row in csv.DictReader(file)]


def test_bytes_that_are_no_image_or_sound_are_reported_with_table_and_row(data, refused, tmp_path):
    images = [{"bytes": picture(i), "path": None} for i in range(16)]
    images[2] = {"bytes": b"<html>not found</html>", "path": "b.png"}
    images[5] = {"bytes": None, "path": "folder/c.png"}
    images[6] = None
    images[7] = {"bytes": b"", "path": None}
    sounds = [{"bytes": sound(i), "path": f"{i}.wav"} for i in range(16)]
    sounds[11]["bytes"] = sound(11)[:100]
    columns = table(image=pa.array(images, FILE), audio=pa.array(sounds, FILE))
    write_table(data / "m.parquet", columns)
    assert refused("m.parquet") == [
        "data/m.parquet: 1 problem",
        "  row 7: image is empty",
        "Fix these rows of the manifest.",
    ]
    store = prepared(data, "m.parquet", tmp_path / "store", on_bad_sample="skip")
    page = "not a readable image: it holds an HTML page (is it a server's error page? Download the file again)"
    assert skipped(store) == [
        ("s02", "3", f"image m.parquet::3/image: {page}"),
        (
            "s05",
            "6",
            "image m.parquet::6/image: holds no bytes, only the path 'folder/c.png': write the dataset with its files "
            "embedded (Hugging Face datasets: embed_external_files=True)",
        ),
        ("s06", "7", "image is empty"),
        ("s07", "8", "image m.parquet::8/image: is empty, 0 bytes"),
        ("s11", "12", "audio m.parquet::12/audio: cut off: 56 of 160 bytes of sound found"),
    ]
    images[6] = images[1]
    write_table(data / "m.parquet", table(image=pa.array(images, FILE), audio=pa.array(sounds, FILE)))
    lines = refused("m.parquet")
    assert [line.partition(": ")[0] for line in lines[1:-1]] == [
        "  row 3 (id s02)",
        "  row 6 (id s05)",
        "  row 8 (id s07)",
        "  row 12 (id s11)",
    ]


@pytest.mark.parametrize("left", [0, 10, 1000])
def test_a_table_that_is_cut_off_is_refused_with_the_fix(data, refused, left):
    write_table(data / "m.parquet", table())
    (data / "m.parquet").write_bytes((data / "m.parquet").read_bytes()[:left])
    (line,) = refused("m.parquet")
    assert line.startswith("data/m.parquet: not a readable Parquet file (Parquet ")
    assert line.endswith("; if it is cut off or damaged, fetch it again).")


def test_faults_in_several_tables_name_the_table(data, refused):
    write_table(data / "a.parquet", table(range(8)))
    images = pa.array(
        [{"bytes": b"GIF8", "path": None}] + [{"bytes": picture(i), "path": None} for i in range(9, 16)], FILE
    )
    write_table(data / "b.parquet", table(range(8, 16), image=images))
    assert refused("{a,b}.parquet")[1].startswith(
        "  row 1 of b.parquet (id s08): image b.parquet::1/image: not a readable image"
    )


def test_a_shard_that_is_cut_off_is_refused_or_loses_its_last_sample(data, refused, tmp_path):
    write_shard(data / "0.tar", members(range(3)))
    write_shard(data / "1.tar", members(range(3, 16)))
    whole = (data / "1.tar").read_bytes()
    cut = whole.index(b"s07.wav") + 512 + 100  # within the sound of the fifth sample
    (data / "1.tar").write_bytes(whole[:cut])
    lines = refused("{0..1}.tar")
    assert lines[0] == "data/{0..1}.tar: 1 problem"
    assert lines[1].startswith(
        "  row 5 of 1.tar (key 's07'): the shard is cut off or damaged in or after this sample ("
    )
    (data / "1.tar").write_bytes(whole[: whole.index(b"s15.cls")])  # between two samples: no header shows it
    lines = refused("{0..1}.tar")
    assert lines[1] == (
        "  row 12 of 1.tar (key 's14'): the shard ends here without the mark of its end: it is cut off or damaged; "
        "fetch it again"
    )
    store = prepared(data, "{0..1}.tar", tmp_path / "store", on_bad_sample="skip")
    assert store.ids.tolist() == [f"s{i:02}" for i in range(14)]


def test_a_damaged_header_is_not_taken_for_the_end_of_the_shard(data, refused):
    write_shard(data / "0.tar", members())
    whole = bytearray((data / "0.tar").read_bytes())
    at = whole.index(b"s05.png")
    whole[at : at + 20] = b"x" * 20
    (data / "0.tar").write_bytes(whole)
    assert refused("0.tar")[3] == (
        "  row 6 of 0.tar (key 's05'): the shard ends here without the mark of its end: it is cut off or damaged; "
        "fetch it again"
    )


def test_keys_in_two_shards_are_reported_with_both_places(data, refused):
    write_shard(data / "0.tar", members(range(10)))
    write_shard(data / "1.tar", members(range(9, 16)))
    assert refused("*.tar")[1:-1] == [
        "  row 10 of 0.tar (key 's09'): id 's09' is not unique: the row differs from row 1 of 1.tar (key 's09')",
        "  row 1 of 1.tar (key 's09'): id 's09' is not unique: the row differs from row 10 of 0.tar (key 's09')",
    ]


def test_an_id_in_two_manifests_is_reported_with_both_places(data, refused):
    write_table(data / "a.parquet", table(range(9)))
    write_table(data / "b.parquet", table(range(8, 16)))
    assert refused("{a,b}.parquet")[1:-1] == [
        "  row 9 of a.parquet: id 's08' is not unique: the row differs from row 1 of b.parquet",
        "  row 1 of b.parquet: id 's08' is not unique: the row differs from row 9 of a.parquet",
    ]
    write_files(data)
    (data / "b.csv").write_text((data / "b.csv").read_text() + (data / "a.csv").read_text().splitlines()[3])
    assert refused("{a,b}.csv")[1:-1] == ["  row 10 of b.csv: id 's02' is not unique: the row repeats row 4 of a.csv"]


def test_missing_and_repeated_members_are_reported_by_key(data, refused, tmp_path):
    found = [entry for entry in members() if entry[0] not in ("s03.wav", "s04.cls")]
    found.insert(found.index(("s08.wav", sound(8))), ("s08.jpg", picture(8)))
    found.insert(found.index(("s09.wav", sound(9))), ("s09.json", b"[]"))
    found.insert(found.index(("s10.wav", sound(10))), ("s10.split.txt", b"test"))
    write_shard(data / "0.tar", found)
    place = "  row {} of 0.tar (key '{}'): "
    assert refused("0.tar") == [
        "data/0.tar: 7 problems",
        place.format(4, "s03") + "audio is missing: the sample has no such member",
        place.format(5, "s04") + "label is missing: the sample has no such member",
        place.format(9, "s08")
        + "has the members .png and .jpg for image: name each <key>.<modality>.<suffix>, such as "
        "s08.left.png",
        place.format(10, "s09") + "split is missing: the sample has no such member",
        place.format(10, "s09") + "has two members .json",
        place.format(10, "s09") + "its .json is not readable (holds a list, not an object)",
        place.format(11, "s10") + "split is 'test' in .split.txt, but 'val' in .json",
        "Fix these rows of the manifest.",
    ]
    store = prepared(data, "0.tar", tmp_path / "store", on_bad_sample="skip")
    assert store.ids.tolist() == [f"s{i:02}" for i in range(16) if i not in (3, 4, 8, 9, 10)]
    assert [row for _, row, _ in skipped(store)] == ["4", "5", "9", "10", "11"]


def test_the_same_bytes_in_two_splits_are_refused(data, refused):
    images = [{"bytes": picture(i), "path": f"{i}.png"} for i in range(16)]
    images[13] = {"bytes": picture(2), "path": "other.png"}
    write_table(data / "m.parquet", table(image=pa.array(images, FILE)))
    assert refused("m.parquet")[1] == (
        "  'm.parquet::3/image' in train (row 3) and 'm.parquet::14/image' in test (row 14) are one file"
    )


def test_class_numbers_need_names_and_minus_one_is_a_missing_label(data, refused):
    features = {"label": {"names": ["dog", "cat"], "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}

    def write(labels):
        columns = pa.table(table(label=labels)).replace_schema_metadata(metadata)
        pa.parquet.write_table(columns, data / "m.parquet")

    write([0, 1, -1, 1, *[0, 1] * 6])
    assert refused("m.parquet")[1:-1] == ["  row 3: label is empty"]
    write([0, 1] * 7 + [0, 2])
    assert refused("m.parquet")[0].startswith(
        "data/m.parquet: row 16: label is 2, but the schema names 2 classes: 0 to 1."
    )


def test_what_is_no_shard_or_no_set_of_files_is_refused(data, refused):
    write_shard(data / "0.tar", members())
    (data / "1.tar").write_bytes(gzip.compress((data / "0.tar").read_bytes()))
    (data / "2.tar").write_bytes(b"")
    write_shard(data / "3.tar", [("README", b"no sample")])
    write_table(data / "a.parquet", table())
    write_table(data / "b.parquet", {name: column for name, column in table().items() if name != "audio"})
    assert refused("1.tar") == ["data/1.tar: not a readable shard (it holds a gzip archive; unpack it: gunzip FILE)."]
    assert refused("2.tar") == ["data/2.tar: not a readable shard (it is empty, 0 bytes: fetch it again)."]
    assert refused("3.tar")[0].startswith("data/3.tar: has no sample.")
    (data / "7.tar").write_bytes((data / "0.tar").read_bytes()[:700])  # all of s00.cls, and no more
    first = ["data/7.tar: cut off or damaged in its first sample (key 's00'). Fetch it again."]
    assert refused("7.tar") == first == refused("7.tar", on_bad_sample="skip")
    (data / "7.tar").unlink()
    assert refused("{0..5}.tar")[1:3] == ["  4.tar not found", "  5.tar not found"]
    (data / "3.tar").rename(data / "6.tar")
    assert refused("{0..6}.tar")[:5] == [
        "data/{0..6}.tar: 3 problems",
        "  3.tar not found",
        "  4.tar not found",
        "  5.tar not found",
        "Correct the pattern in prepare.manifest, or fetch the files.",
    ]
    assert refused("*.tgz")[1] == "  no file matches *.tgz"
    assert refused(".")[0] == "data: files of several kinds (.parquet, .tar). Name those of one kind."
    assert refused("{a,b}.parquet") == [
        "data: 1 problem",
        "  b.parquet: has the columns ['id', 'image', 'label', 'split']",
        "Files read as one table need the columns of the first, a.parquet: ['audio', 'id', 'image', 'label', 'split'].",
    ]


def test_a_text_modality_may_not_name_a_column_of_files(data, refused):
    write_table(data / "m.parquet", table())
    kinds = {"audio": AudioKind("audio", 4000, 0.02), "image": TextKind("text")}
    with pytest.raises(BssError, match="image is of kind text, but its column holds files"):
        read_manifest(data, "m.parquet", kinds)
