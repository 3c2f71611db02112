import pytest
from refused import refused

from bss.config.modalities import ClipKind, FeaturesKind, TextKind
from bss.data.decode.spans import Span
from bss.data.manifest import check_splits, groups_in_two_splits, read_manifest
from bss.errors import BssError

HEADER = "id,label,split,group,audio,image\n"
GOOD = "a,x,train,g1,a.wav,a.png\nb,y,train,g1,b.wav,b.png\nc,x,test,g2,c.wav,c.png\n"

VECTOR = FeaturesKind("features")


def read(tmp_path, text, name="manifest.csv", encoding="utf-8"):
    (tmp_path / name).write_bytes(text.encode(encoding))
    return read_manifest(tmp_path, name, {"audio": VECTOR, "image": VECTOR})


def test_rows_become_samples(tmp_path):
    manifest = read(tmp_path, HEADER + GOOD)
    sample = manifest.samples[1]
    assert (sample.row, sample.id, sample.label, sample.split, sample.group) == (3, "b", "y", "train", "g1")
    assert sample.files == {"audio": "b.wav", "image": "b.png"}
    assert manifest.classes == ["x", "y"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_byte_order_mark_and_windows_line_endings_change_nothing(tmp_path, encoding, newline):
    plain = read(tmp_path, HEADER + GOOD)
    other = read(tmp_path, (HEADER + GOOD).replace("\n", newline), encoding=encoding)
    assert other.samples == plain.samples


def test_a_parquet_manifest_is_read_like_csv(tmp_path):
    import pyarrow
    import pyarrow.parquet

    names = HEADER.strip().split(",")
    columns = zip(*(line.split(",") for line in GOOD.splitlines()), strict=True)
    table = pyarrow.table(dict(zip(names, map(list, columns), strict=True)))
    pyarrow.parquet.write_table(table, tmp_path / "m.parquet")
    found = read_manifest(tmp_path, "m.parquet", {"audio": VECTOR, "image": VECTOR})
    expected = read(tmp_path, HEADER + GOOD)
    assert [s.files for s in found.samples] == [s.files for s in expected.samples]
    assert [s.row for s in found.samples] == [1, 2, 3]


def test_whole_numbers_as_labels_are_ordered_by_number(tmp_path):
    text = HEADER + "".join(f"{i},{label},train,,a,b\n" for i, label in enumerate(["10", "9", "-1"]))
    assert read(tmp_path, text).classes == ["-1", "9", "10"]


@pytest.mark.parametrize("labels", [["²", "1"], ["--1", "1"], ["-", "1"]])
def test_labels_that_only_look_like_numbers_are_ordered_by_name(tmp_path, labels):
    text = HEADER + "".join(f"{i},{label},train,,a,b\n" for i, label in enumerate(labels))
    assert read(tmp_path, text).classes == sorted(labels)


def test_numbers_in_a_parquet_manifest_become_text(tmp_path):
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"id": [7], "label": [3], "split": ["train"], "group": [None], "audio": ["a.wav"]})
    pyarrow.parquet.write_table(table, tmp_path / "m.parquet")
    sample = read_manifest(tmp_path, "m.parquet", {"audio": VECTOR}).samples[0]
    assert (sample.id, sample.label, sample.group) == ("7", "3", None)


def test_a_parquet_manifest_that_is_none_or_names_a_column_twice(tmp_path):
    import pyarrow
    import pyarrow.parquet

    (tmp_path / "m.parquet").write_text("id,label")
    with pytest.raises(BssError, match="not a readable Parquet file"):
        read_manifest(tmp_path, "m.parquet", {})
    names = ["id", "id", "label", "split"]
    pyarrow.parquet.write_table(pyarrow.table([["a"]] * 4, names=names), tmp_path / "m.parquet")
    with pytest.raises(BssError, match="duplicate column name"):
        read_manifest(tmp_path, "m.parquet", {})


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("", ["empty"]),
        (HEADER, ["no samples"]),
        ("id,label,split,audio,imge\na,x,train,a,b\n", ["missing column 'image' (is it 'imge'?)"]),
        ("id,id,label,split,audio,image\n", ["duplicate column name"]),
        (HEADER + GOOD + "a,x,train,g1,d.wav,d.png\n", ["row 2: id 'a' is not unique", "row 5: id 'a'"]),
        (HEADER + "a,,train,g,a.wav,\n", ["row 2: label is empty", "row 2: image is empty"]),
        (HEADER + "a,x,dev,g,a.wav,a.png\n", ["row 2: split 'dev' is not one of train, val, test"]),
        (HEADER + "a,x,train,g,../a.wav,/a.png\n", ["audio '../a.wav' is not a path inside", "image '/a.png'"]),
        (HEADER + "a,x,train,g,a,b.wav,a.png\n", ["row 2: 7 values for 6 columns", "quote it"]),
        (HEADER + 'a,x,train,g,"a.wav,a.png\n', ["not a valid CSV file"]),
    ],
)
def test_bad_manifests_name_row_and_fix(tmp_path, text, messages):
    said = refused(read, tmp_path, text)
    assert [message for message in messages if message not in said] == []


def test_all_bad_rows_are_reported_at_once_up_to_a_limit(tmp_path):
    message = refused(read, tmp_path, HEADER + "".join(f"{i},x,nope,g,a,b\n" for i in range(25)))
    assert "25 problems" in message
    assert message.count("\n  row ") == 20
    assert "and 5 more" in message


def test_not_a_text_file(tmp_path):
    with pytest.raises(BssError, match="UTF-8"):
        read(tmp_path, HEADER + "ä,x,train,g,a,b\n", encoding="latin-1")


def test_a_missing_folder_or_file(tmp_path):
    with pytest.raises(BssError, match=r"prepare\.root"):
        read_manifest(tmp_path / "no", "manifest.csv", {})
    with pytest.raises(BssError, match=r"prepare\.manifest"):
        read_manifest(tmp_path, "manifest.csv", {})


def test_columns_that_nothing_reads_are_reported(tmp_path):
    text = "id,label,split,audio,image,colour\na,x,train,a,b,red\n"
    manifest = read(tmp_path, text)
    assert manifest.unused == ["colour"]
    assert manifest.samples[0].group is None


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a,x,train,,a,b\nb,y,train,,a,b\n", "no sample has the split 'test'"),
        ("a,x,test,,a,b\n", "no sample has the split 'train'"),
        ("a,x,train,,a,b\nb,y,train,,a,b\nc,z,test,,a,b\n", "row 4: label 'z' is in test but never in train"),
        ("a,x,train,,a,b\nb,x,test,,a,b\n", "only one class"),
    ],
)
def test_wrong_splits(tmp_path, rows, message):
    assert message in refused(check_splits, read(tmp_path, HEADER + rows))


def test_a_group_in_two_splits_is_found(tmp_path):
    manifest = read(tmp_path, HEADER + GOOD + "d,x,val,g1,d,d\n")
    assert groups_in_two_splits(manifest) == ["group 'g1' is in train and val"]


def test_a_text_stands_in_the_manifest_itself_or_in_a_file(tmp_path):
    text = "id,label,split,words\n1,a,train,/ is no path\n2,b,train,../other\n"
    (tmp_path / "manifest.csv").write_text(text)
    inline = read_manifest(tmp_path, "manifest.csv", {"words": TextKind("text", "tokenizer")})
    assert [sample.files["words"] for sample in inline.samples] == ["/ is no path", "../other"]
    with pytest.raises(BssError, match="2 problems") as caught:
        read_manifest(tmp_path, "manifest.csv", {"words": TextKind("text", "tokenizer", source="file")})
    assert "row 3: words '../other' is not a path inside the data root" in str(caught.value)


def test_a_clip_may_be_a_part_of_a_file(tmp_path):
    text = "id,label,split,view,view_start,view_end\n1,a,train,v,3,19\n2,b,train,v,,\n3,b,test,v,,7\n"
    (tmp_path / "manifest.csv").write_text(text)
    clips = read_manifest(tmp_path, "manifest.csv", {"view": ClipKind("clip")})
    assert [s.span("view") for s in clips.samples] == [Span(3, 19), Span(), Span(None, 7)]
    assert clips.unused == []
    others = read_manifest(tmp_path, "manifest.csv", {"view": VECTOR})
    assert others.samples[0].span("view") == Span()
    assert others.unused == ["view_start", "view_end"]


def test_parts_of_files_that_are_none_are_reported(tmp_path):
    text = (
        "id,label,split,view,view_start,view_end\n1,a,train,v,-1,5\n2,b,train,v,1.5,\n3,b,test,v,7,7\n4,b,test,v,,0\n"
    )
    (tmp_path / "manifest.csv").write_text(text)
    with pytest.raises(BssError, match="4 problems") as caught:
        read_manifest(tmp_path, "manifest.csv", {"view": ClipKind("clip")})
    message = str(caught.value)
    assert "row 2: view_start '-1' is not a frame number, counted from 0" in message
    assert "row 3: view_start '1.5' is not a frame number" in message
    assert "row 4: view_end 7 must be greater than the start 7" in message
    assert "row 5: view_end 0 must be greater than the start 0" in message
