"""Broken and hostile manifests, truth files and datasets' annotations, and paths that lead out of the data root."""

import csv
import io
import os

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from conftest import make_rows, small_tree, write_manifest
from damage import damage, damages, every_damage, examples, refused, refused_or
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tally import tried

from bss.config import config_from_tree
from bss.config.modalities import FeaturesKind, FramesKind, ImageKind, TextKind
from bss.data.decode import BadSampleError, make_decoder
from bss.data.decode.spans import WHOLE
from bss.data.manifest import check_splits, read_manifest
from bss.data.truth import read_truth
from bss.datasets.layout import read_json_list, read_lines, read_table
from bss.init.suggest import suggest
from bss.stages.prepare import prepare

pytestmark = pytest.mark.slow

KINDS = {"a": FeaturesKind("features"), "b": ImageKind("image", height=4, width=4), "c": TextKind("text", "t", 4)}
HEADER = ["id", "label", "split", "group", "a", "b", "c"]
ROWS = [
    [f"s{i}", "xy"[i % 2], ("train", "val", "test")[i % 3], f"g{i}", f"{i}.npy", f"{i}.png", "an owl"] for i in range(9)
]


def table(rows=None, header=None):
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows([header or HEADER, *(ROWS if rows is None else rows)])
    return buffer.getvalue().encode()


def read(root):
    manifest = read_manifest(root, "manifest.csv", KINDS)
    check_splits(manifest)
    assert manifest.classes
    return manifest


def with_value(column, value):
    return table([[value if name == column else v for name, v in zip(HEADER, row, strict=True)] for row in ROWS[:1]])


BAD = {
    "nothing": b"",
    "zero bytes": b"\0" * 1000,
    "a zip": b"PK\x03\x04" + b"\0" * 100,
    "gzip": b"\x1f\x8b\x08" + b"\0" * 100,
    "UTF-16": table().decode().encode("utf-16"),
    "Latin-1": table([["\u00e9", *ROWS[0][1:]]]).decode().encode("latin-1"),
    "half a letter": table() + b"\xc3",
    "no header": table(header=ROWS[0]),
    "a header alone": table([]),
    "a column twice": table([[*row, "x"] for row in ROWS], [*HEADER, "id"]),
    "a field of a megabyte": with_value("c", "x" * (1 << 20)),
    "a quote that never ends": table() + b'"' + b"x,\n" * 1000,
    "a hundred thousand columns": ",".join(f"c{i}" for i in range(100_000)).encode() + b"\n1\n",
    "a column of a hundred thousand letters": b"i" * 100_000 + b",label\n1,2\n",
    "rows of other widths": table([row[: i % 7 + 1] for i, row in enumerate(ROWS)]),
    "an id twice": table([ROWS[0], ROWS[0]]),
    "an unknown split": with_value("split", "x" * 10_000),
    "an absolute path": with_value("a", "/etc/passwd"),
    "a path that goes up": with_value("a", "x/../../../etc/passwd"),
    "an empty path": with_value("a", " "),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_manifest_is_refused(name, tmp_path):
    (tmp_path / "manifest.csv").write_bytes(BAD[name])
    refused("manifest", lambda: read(tmp_path), "manifest.csv")
    refused_or("manifest", lambda: suggest(tmp_path / "manifest.csv", tmp_path))
    refused_or("manifest", lambda: read_truth(tmp_path / "manifest.csv", ["s1"]))


def test_a_manifest_damaged_anywhere_is_refused_or_still_one(tmp_path):
    for data in every_damage(table(), header=60, cuts=60):
        (tmp_path / "manifest.csv").write_bytes(data)
        refused_or("manifest", lambda: read(tmp_path))


@examples(150)
@given(changes=damages)
def test_a_manifest_with_several_faults_is_refused_or_still_one(changes, tmp_path):
    (tmp_path / "manifest.csv").write_bytes(damage(table(), changes))
    refused_or("manifest", lambda: read(tmp_path))


VALUES = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["..", "../x", "/", "~", "a\0b", "\x1b[2J", "n" * 5000, "1" * 6000, "-0", "1e999", "nan", "\r", "=1+1"]
    ),
)


@examples(150)
@given(rows=st.lists(st.lists(VALUES, min_size=7, max_size=7), min_size=1, max_size=4))
def test_any_values_are_refused_or_read_as_they_are(rows, tmp_path):
    (tmp_path / "manifest.csv").write_bytes(table([*ROWS, *rows]))
    manifest = refused_or("manifest", lambda: read(tmp_path))
    if manifest is not None:
        filled = [row for row in rows if any(value.strip() for value in row)]  # as spreadsheets end: ,,,
        for sample, row in zip(manifest.samples[len(ROWS) :], filled, strict=True):
            assert sample.id == row[0].strip()
            assert ".." not in sample.files["a"].split("/")


def write_parquet(path, **columns):
    pyarrow.parquet.write_table(pyarrow.table(columns), path)


def parquet_rows():
    return {name: [row[i] for row in ROWS] for i, name in enumerate(HEADER)}


def not_utf8():
    buffers = pyarrow.array([b"\xff\xfe"] * 9, pyarrow.binary()).buffers()
    return pyarrow.Array.from_buffers(pyarrow.string(), 9, buffers)


@pytest.mark.parametrize(
    "columns",
    [
        {"id": not_utf8()},
        {"id": pyarrow.array([2**62] * 9, pyarrow.timestamp("us"))},
        {"id": pyarrow.array([[1, 2]] * 9)},
        {"id": pyarrow.array([None] * 9, pyarrow.string())},
        {"split": pyarrow.array([{"a": 1}] * 9)},
        {"a": pyarrow.array([b"\0\xff"] * 9)},
        {"label": pyarrow.array([float("nan")] * 9)},
        {"a": pyarrow.array(["/etc/passwd"] * 9)},
    ],
)
def test_parquet_with_values_of_another_kind_is_refused_or_text(columns, tmp_path):
    write_parquet(tmp_path / "manifest.parquet", **(parquet_rows() | columns))
    refused_or("parquet", lambda: check_splits(read_manifest(tmp_path, "manifest.parquet", KINDS)))


def test_parquet_damaged_anywhere_is_refused_or_still_a_manifest(tmp_path):
    write_parquet(tmp_path / "manifest.parquet", **parquet_rows())
    whole = (tmp_path / "manifest.parquet").read_bytes()
    for data in [*every_damage(whole, header=48, cuts=40), *every_damage(whole[::-1], header=300, cuts=0)]:
        (tmp_path / "manifest.parquet").write_bytes(data if data[:4] == b"PAR1" else data[::-1])
        refused_or("parquet", lambda: read_manifest(tmp_path, "manifest.parquet", KINDS))


@examples(150)
@given(changes=damages)
def test_parquet_with_several_faults_is_refused_or_still_a_manifest(changes, tmp_path):
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(parquet_rows()), buffer)
    (tmp_path / "manifest.parquet").write_bytes(damage(buffer.getvalue(), changes))
    refused_or("parquet", lambda: read_manifest(tmp_path, "manifest.parquet", KINDS))


def test_parquet_that_names_a_python_type_does_not_unpickle_it(tmp_path):
    """Arrow once rebuilt such types by unpickling what the file holds."""
    import pickle

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    metadata = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": pickle.dumps(Evil()),
    }
    fields = [pyarrow.field(name, pyarrow.string(), metadata=metadata) for name in HEADER]
    columns = [pyarrow.array([row[i] for row in ROWS]) for i in range(len(HEADER))]
    pyarrow.parquet.write_table(pyarrow.table(columns, pyarrow.schema(fields)), tmp_path / "manifest.parquet")
    refused_or("pickle", lambda: read_manifest(tmp_path, "manifest.parquet", KINDS))
    assert not (tmp_path / "ran").exists()


def test_a_manifest_or_truth_behind_a_link_that_leaves_the_root_is_not_read(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.csv").write_text("password\nhunter2\n")
    for name in ("manifest.csv", "truth.csv"):
        (root / name).symlink_to(tmp_path / "secret.csv")
    text = refused("path", lambda: read_manifest(root, "manifest.csv", KINDS), "leaves the data root")
    for name in ("../secret.csv", str(tmp_path / "secret.csv"), "n" * 300, "a\0b", "loop"):
        (root / "loop").unlink(missing_ok=True)
        (root / "loop").symlink_to(root / "loop")
        text += refused("path", lambda name=name: read_manifest(root, name, KINDS))
    tree = small_tree(root)
    tree["prepare"]["truth"] = "truth.csv"
    (root / "manifest.csv").unlink()
    write_manifest(root, make_rows(root))
    config = config_from_tree(tree, "params.yaml")
    text += refused("path", lambda: prepare(config, root, tmp_path / "store"), "leaves the data root")
    assert "hunter2" not in text
    assert "password" not in text


PLACES = {
    "absolute": "{outside}",
    "up": "../outside/x{suffix}",
    "a link": "link{suffix}",
    "a link to a folder": "folder/x{suffix}",
    "a link to a link": "chain{suffix}",
    "a zero byte": "x\0{suffix}",
    "a long name": "{long}{suffix}",
    "a pipe": "pipe{suffix}",
    "a device": "device{suffix}",
    "a socket": "socket{suffix}",
    "a loop": "loop{suffix}",
    "a dangling link": "gone{suffix}",
    "a trailing slash": "real{suffix}/",
    "an address": "http://127.0.0.1:1/x{suffix}",
    "a protocol of FFmpeg": "concat:real{suffix}|real{suffix}",
    "a user": "~/x{suffix}",
}


@pytest.mark.parametrize("place", PLACES)
def test_nothing_outside_of_the_data_root_is_read(place, tmp_path):
    import socket

    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "folder").symlink_to(outside)
    np.save(outside / "x.npy", np.arange(4.0))
    Image.new("RGB", (8, 8), "white").save(outside / "x.png")
    kinds = {".npy": FeaturesKind("features"), ".png": ImageKind("image", height=4, width=4)}
    for suffix, kind in kinds.items():
        (root / f"real{suffix}").write_bytes((outside / f"x{suffix}").read_bytes())
        (root / f"link{suffix}").symlink_to(outside / f"x{suffix}")
        (root / f"chain{suffix}").symlink_to(root / f"link{suffix}")
        (root / f"loop{suffix}").symlink_to(root / f"loop{suffix}")
        (root / f"gone{suffix}").symlink_to(root / "nowhere")
        (root / f"device{suffix}").symlink_to("/dev/zero")
        os.mkfifo(root / f"pipe{suffix}")
        if place == "a socket":
            socket.socket(socket.AF_UNIX).bind(str(root / f"socket{suffix}"))
        name = PLACES[place].format(outside=outside / f"x{suffix}", suffix=suffix, long="n" * 300)
        decode = make_decoder(kind, root, "m")
        assert decode(f"real{suffix}", WHOLE).array is not None
        if place == "a trailing slash":
            continue  # the file itself, by a name that is unusual
        with pytest.raises(BadSampleError):
            decode(name, WHOLE)
        tried("path", "refused")


@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_a_link_in_the_middle_of_a_folder_of_frames_may_not_leave_the_root(place, tmp_path):
    root = tmp_path / "root"
    (root / "frames").mkdir(parents=True)
    Image.new("RGB", (8, 8), "white").save(tmp_path / "secret.png")
    for number in range(3):
        Image.new("RGB", (8, 8)).save(root / "frames" / f"{number}.png")
    decode = make_decoder(FramesKind("frames", count=3, height=4, width=4), root, "m")
    assert decode("frames", WHOLE).array.max() == 0
    linked = root / "frames" / f"{['first', 'middle', 'last'].index(place)}.png"
    linked.unlink()
    linked.symlink_to(tmp_path / "secret.png")
    with pytest.raises(BadSampleError, match="leaves the data root"):
        decode("frames", WHOLE)
    tried("path", "refused")


def test_a_frame_whose_name_is_not_utf_8_is_told_of_and_skipped(own_root, tmp_path, capsys):
    """Names of files are bytes; what is no text in UTF-8 could not be written to skipped.csv or a terminal."""
    root, rows = own_root
    for row in rows:
        folder = root / f"frames-{row['id']}"
        folder.mkdir()
        image = b"" if row["id"] == "train-cat-0" else (root / row["image"]).read_bytes()
        (folder / os.fsdecode(b"\xff\x1b[2J.png")).write_bytes(image)
        row["image"] = folder.name
    write_manifest(root, rows)
    tree = small_tree(root)
    tree["prepare"]["modalities"]["image"] = {"kind": "frames", "count": 1, "height": 6, "width": 6}
    tree["prepare"]["on_bad_sample"] = "skip"
    tree["network"]["encoders"]["image"] = {"kind": "mlp"}
    store = tmp_path / "store"
    prepare(config_from_tree(tree, "params.yaml"), root, store)
    skipped = (store / "skipped.csv").read_text(encoding="utf-8")
    assert "\\udcff\\x1b[2J.png: file is empty" in skipped
    assert "\x1b" not in skipped
    tried("path", "refused")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[",
        b"[" * 100_000,
        b"{}",
        b"[1]",
        b"[null]",
        b"\xff",
        b"\0",
        b'[{"a": 1}]',
        b"[NaN]",
        b"[" + b"9" * 9999 + b"]",
    ],
)
def test_annotations_of_datasets_that_are_damaged_are_refused(data, tmp_path):
    (tmp_path / "x").write_bytes(data)
    refused("annotations", lambda: read_json_list(tmp_path, "x", ["key"]), "x")
    refused_or("annotations", lambda: read_table(tmp_path, "x", ["a", "b"]))
    refused_or("annotations", lambda: read_lines(tmp_path, "x"))
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "x").symlink_to(tmp_path / "x")
    refused("path", lambda: read_lines(tmp_path / "root", "x"), "leaves the data root")
