"""Manifests as spreadsheets, exporters and scripts write them: read, or refused with the cause and the fix."""

import gzip
import io
import json
import zipfile

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from bss.config.modalities import FeaturesKind
from bss.data.decode import BadSampleError, make_decoder
from bss.data.decode.spans import WHOLE
from bss.data.manifest import find_table, read_manifest
from bss.errors import BssError
from bss.init.suggest import suggest

HEADER = "id,label,split,audio,image\n"
GOOD = HEADER + "a,x,train,a.wav,a.png\nb,y,train,b.wav,b.png\nc,x,test,c.wav,c.png\n"
VECTOR = FeaturesKind("features")


def read(tmp_path, data, name="manifest.csv", on_bad="error"):
    (tmp_path / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    return read_manifest(tmp_path, name, {"audio": VECTOR, "image": VECTOR}, on_bad)


def refused(tmp_path, data, name="manifest.csv"):
    """Return the message of the manifest's reader, after a look at that of `bss init`, which must say it too."""
    with pytest.raises(BssError) as caught:
        read(tmp_path, data, name)
    with pytest.raises(BssError) as of_init:
        suggest(tmp_path / name, tmp_path.parent / "project")
    return str(caught.value), str(of_init.value)


def test_tabs_are_read_by_suffix(tmp_path):
    expected = read(tmp_path, GOOD)
    assert read(tmp_path, GOOD.replace(",", "\t"), "m.tsv").samples == expected.samples
    assert read(tmp_path, GOOD.replace(",", "\t").replace("a.wav", "a,1.wav"), "M.TSV").samples[0].files == {
        "audio": "a,1.wav",
        "image": "a.png",
    }


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        (GOOD.replace(",", ";"), "separated by semicolons: save it with commas."),
        (GOOD.replace(",", "\t"), "separated by tabs: save it with commas or name it .tsv."),
        (GOOD.replace(",", "|"), "separated by bars: save it with commas."),
        (GOOD.replace(",", ", "), "Case and spaces matter in names: write 'label' for ' label', 'split' for "),
        (GOOD.replace("id,label", "ID,Label"), "write 'id' for 'ID', 'label' for 'Label'."),
        ("# made by a script\n" + GOOD, "remove the lines that begin with #."),
        ("#version,1,x,y,z\n" + GOOD, "remove the lines that begin with #."),
    ],
)
def test_a_header_that_cannot_be_read_is_reported_with_cause_and_fix(text, fix, tmp_path):
    for message in refused(tmp_path, text):
        assert "missing columns" in message
        assert fix in message


def workbook():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("[Content_Types].xml", b"<Types/>")
        archive.writestr("xl/workbook.xml", b"<workbook/>")
    return buffer.getvalue()


def parquet():
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"id": ["a"]}), buffer)
    return buffer.getvalue()


LINES = "".join(json.dumps({"id": f"{i}", "label": "x", "split": "train"}) + "\n" for i in range(3))
FOREIGN = {
    "m.xlsx": (workbook(), "it holds an Excel workbook; save its table as CSV UTF-8"),
    "m.csv": (workbook(), "it holds an Excel workbook; save its table as CSV UTF-8"),
    "m.xls": (bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600), "it holds an Excel workbook; save its table"),
    "m.csv.gz": (gzip.compress(GOOD.encode()), "it holds a gzip archive; unpack it: gunzip FILE"),
    "zipped.csv": (b"PK\x03\x04\xff\xff", "it holds a ZIP archive; unpack it"),
    "utf-16.csv": (GOOD.encode("utf-16"), "it holds text in UTF-16; save it as CSV UTF-8"),
    "renamed.csv": (parquet(), "it holds a Parquet file; name it .parquet"),
    "m.jsonl": (LINES.encode(), "it holds JSON; convert it: "),
    "m.json": (f"[{LINES}]".encode(), "it holds JSON; convert it: "),
    "page.csv": (b"<!DOCTYPE html><html>Sign in</html>", "it holds an HTML page; is it a server's error page"),
    "lfs.csv": (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\n", "a Git LFS pointer; run git lfs pull"),
    "lfs.parquet": (b"version https://git-lfs.github.com/spec/v1\n", "it holds a Git LFS pointer; run git lfs pull"),
    "latin.csv": (GOOD.replace("x", "é").encode("latin-1"), "not a text file in UTF-8 (byte 29). Save it as CSV UTF-8"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_table_that_is_none_is_reported_by_what_it_holds(name, tmp_path):
    data, expected = FOREIGN[name]
    for message in refused(tmp_path, data, name):
        assert expected in message
        assert message.isprintable()


def test_a_header_may_begin_with_the_letters_of_a_mark(tmp_path):
    text = GOOD.replace("id,label,split", "ID3,id,label,split").replace("\n", "\n1,").removesuffix("1,")
    assert [sample.id for sample in read(tmp_path, text).samples] == ["a", "b", "c"]


def test_the_empty_cells_below_an_exported_sheet_are_no_rows(tmp_path):
    expected = read(tmp_path, GOOD)
    assert read(tmp_path, GOOD + ",,,,\n , ,,,\n,,,\n").samples == expected.samples
    with pytest.raises(BssError, match="row 5: id is empty"):
        read(tmp_path, GOOD + ",,train,,\n")


def test_another_name_of_a_split_is_one_problem_however_many_rows_have_it(tmp_path):
    rows = "".join(f"{i},x,{('Train', 'dev')[i % 2]},{i}.wav,{i}.png\n" for i in range(60))
    with pytest.raises(BssError) as caught:
        read(tmp_path, HEADER + rows)
    assert str(caught.value).splitlines()[1:-1] == [
        "  row 2 and 29 more: split 'Train' is not one of train, val, test (is it 'train'?)",
        "  row 3 and 29 more: split 'dev' is not one of train, val, test (is it 'val'?)",
    ]


@pytest.mark.parametrize("name", ["TRAINING", "Valid", "DEV", "devel", "tst"])
def test_other_names_of_splits_are_known_in_any_case(name, tmp_path):
    with pytest.raises(BssError, match=r"split '.*' is '(train|val|test)'"):
        read(tmp_path, GOOD + f"d,x,{name},d.wav,d.png\n", on_bad="skip")


def test_a_folder_of_parts_is_reported_with_a_way_to_join_them(tmp_path):
    (tmp_path / "m.parquet").mkdir()
    pyarrow.parquet.write_table(pyarrow.table({"id": ["a"]}), tmp_path / "m.parquet" / "part-0.parquet")
    with pytest.raises(BssError, match=r"a folder, not a file\. If it holds the parts of one table, join them"):
        find_table(tmp_path, "m.parquet", "")
    (tmp_path / "m.parquet" / "part-0.parquet").rename(tmp_path / "m.parquet" / "part-0.feather")
    with pytest.raises(BssError, match=r"a folder, not a file\. If it holds the parts of one table, join them"):
        suggest(tmp_path / "m.parquet", tmp_path.parent / "project")


def test_an_absolute_path_is_reported_as_it_should_be_written(tmp_path):
    with pytest.raises(BssError) as caught:
        read(tmp_path, GOOD.replace("a.wav", f"{tmp_path}/sub/a.wav").replace("b.wav", "/elsewhere/b.wav"))
    assert "is not a path inside the data root, but absolute: write 'sub/a.wav', relative to it" in str(caught.value)
    assert "'/elsewhere/b.wav' is not a path inside the data root (paths are relative to it)" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("~/a.npy", "~ and variables are not expanded; write the path relative to the data root"),
        ("$HOME/a.npy", "~ and variables are not expanded"),
        ("${DATA}/a.npy", "~ and variables are not expanded"),
        ("%USERPROFILE%/a.npy", "~ and variables are not expanded"),
        ("file:///data/a.npy", "a file: URL; write the path relative to the data root"),
        ("https://example.org/a.npy", "a URL, but files are not downloaded: download it, and write its path"),
        ("s3://bucket/a.npy", "a URL, but files are not downloaded"),
        ("D:/data/a.npy", "a Windows path; write the path relative to the data root"),
        ("b%20c.npy", "there is b c.npy: the manifest has it as in a URL"),
        ("~/b c.npy", "there is b c.npy: in another folder"),
    ],
)
def test_a_name_that_stands_for_no_file_of_the_root_is_reported_as_what_it_is(name, expected, tmp_path):
    np.save(tmp_path / "b c.npy", np.zeros(3))
    with pytest.raises(BadSampleError) as caught:
        make_decoder(VECTOR, tmp_path, "m")(name, WHOLE)
    assert expected in str(caught.value)


def test_init_names_a_column_of_files_without_suffix_where_it_finds_too_few_modalities(tmp_path):
    for i in range(6):
        np.save(tmp_path / f"{i}.npy", np.zeros(3))
        (tmp_path / f"sound{i}").write_bytes(b"RIFF")
    rows = "".join(f"{i},{'xy'[i % 2]},{('train', 'test')[i // 4]},{i}.npy,sound{i}\n" for i in range(6))
    with pytest.raises(BssError, match=r"image: left out, because no kind reads its files \(no suffix\)"):
        suggest_of(tmp_path, HEADER + rows)


def suggest_of(tmp_path, text):
    (tmp_path / "manifest.csv").write_text(text)
    return suggest(tmp_path / "manifest.csv", tmp_path.parent / "project")
