import datetime
import decimal
import uuid

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bss.config.modalities import FeaturesKind
from bss.data.manifest import read_manifest
from bss.data.read_parquet import parquet_faults, read_parquet
from bss.errors import BssError

ONE_ID = uuid.UUID("5019a8f0-fd7d-4f38-97d1-e3b8009e49bd")
MORNING = datetime.datetime(2020, 1, 2, 3, 4)


def write(folder, **columns):
    path = folder / "m.parquet"
    pyarrow.parquet.write_table(pa.table(columns), path)
    return path


def texts(folder, column):
    return [row["x"] for _, row in read_parquet(write(folder, x=column))[1]]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array(["3.0", None, ""]), ["3.0", "", ""]),
        (pa.array(["a", None], pa.large_string()), ["a", ""]),
        (pa.array(["a", None], pa.string_view()), ["a", ""]),
        (pa.array(["a", None, "a"]).dictionary_encode(), ["a", "", "a"]),
        (pa.array([2**63 - 1, -5, None]), ["9223372036854775807", "-5", ""]),
        (pa.array([2**64 - 1], pa.uint64()), ["18446744073709551615"]),
        (pa.array([3.0, float("nan"), None, -0.0]), ["3", "", "", "0"]),
        (pa.array([0.1, 0.5, float("inf"), 1e-7]), ["0.1", "0.5", "inf", "0.0000001"]),
        (pa.array([0.1, 7.0, None], pa.float32()), ["0.1", "7", ""]),
        (pa.array([1.5, 7.0, float("nan")], pa.float16()), ["1.5", "7", ""]),
        (pa.array([7.0, None]).dictionary_encode(), ["7", ""]),
        (pa.array([True, False, None]), ["True", "False", ""]),
        (pa.array([decimal.Decimal("3.00"), decimal.Decimal("0.50"), None]), ["3", "0.5", ""]),
        (pa.array([decimal.Decimal(300)], pa.decimal256(50, 0)), ["300"]),
        (pa.array([datetime.date(2020, 1, 2), None]), ["2020-01-02", ""]),
        (pa.array([MORNING, None], pa.timestamp("ns")), ["2020-01-02 03:04:00", ""]),
        (pa.array([MORNING.replace(microsecond=250_000)], pa.timestamp("us")), ["2020-01-02 03:04:00.25"]),
        (pa.array([MORNING], pa.timestamp("ms", tz="UTC")), ["2020-01-02 03:04:00Z"]),
        (pa.array([datetime.time(3, 4), None]), ["03:04:00", ""]),
        (pa.nulls(2), ["", ""]),
        (pa.array([ONE_ID.bytes, None], pa.uuid()), [str(ONE_ID), ""]),
        (pa.array(['{"a": 1}', None], pa.json_(pa.string())), ['{"a": 1}', ""]),
        (pa.array([1, 0, None], pa.bool8()), ["True", "False", ""]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_every_type_is_what_it_stands_for_and_null_and_nan_are_missing(column, expected, tmp_path):
    assert texts(tmp_path, column) == expected


FILE = {"bytes": b"RIFF", "path": "a.wav"}
REFUSED = [
    (pa.array([FILE]), "is a struct {bytes, path}, a file inside the table, as in Hugging Face", "to a file"),
    (pa.array([{"a": 1}]), "is struct<a: int64>, not one value per row", ".npy"),
    (pa.array([[1, 2]]), "is list<element: int64>, not one value per row", ".npy"),
    (pa.array([[1, 2]], pa.list_(pa.int8(), 2)), "not one value per row", ".npy"),
    (pa.array([[1]], pa.large_list(pa.int8())), "not one value per row", ".npy"),
    (pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int8())), "not one value per row", ".npy"),
    (pa.array([[[1]]], pa.list_(pa.list_(pa.int8()))), "not one value per row", ".npy"),
    (pa.array([b"abc"]), "is binary, which is neither text nor a path", "cast it to string"),
    (pa.array([b"abc"], pa.large_binary()), "is large_binary, which is neither", "cast it to string"),
    (pa.array([b"abc"], pa.binary(3)), "is fixed_size_binary[3], which is neither", "cast it to string"),
    (pa.array([b"abc"]).dictionary_encode(), "which is neither text nor a path", "cast it to string"),
    (pa.array([datetime.timedelta(3)]), "is duration[us], which has no text form", "as a number"),
    (
        pa.ExtensionArray.from_storage(
            pa.fixed_shape_tensor(pa.int8(), [2]), pa.array([[1, 2]], pa.list_(pa.int8(), 2))
        ),
        "not one value per row",
        ".npy",
    ),
]


@pytest.mark.parametrize(("column", "why", "fix"), REFUSED, ids=[str(entry[0].type) for entry in REFUSED])
def test_what_is_no_text_is_refused_by_column_type_and_fix(column, why, fix, tmp_path):
    path = write(tmp_path, x=column, y=pa.array(["fine"]))
    with pytest.raises(BssError) as caught:
        read_parquet(path, ["x", "y"])
    message = str(caught.value)
    assert message.startswith(f"{path}: column 'x' is ")
    assert why in message
    assert fix in message
    assert parquet_faults(path)["x"] in message
    # Nothing is read of a column that nothing needs.
    assert list(read_parquet(path, ["y"])[1]) == [(1, {"y": "fine"})]
    assert list(read_parquet(path)[1]) == [(1, {"y": "fine"})]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([1.0, 2.0**53]), r"column 'x' \(double\) holds 9007199254740992\.0: floats of this size"),
        (pa.array([2.0**24], pa.float32()), r"column 'x' \(float\) holds 16777216\.0"),
        (pa.array([2048.0], pa.float16()), r"column 'x' \(halffloat\) holds 2048\.0"),
        (pa.array([2**62], pa.timestamp("us")), r"column 'x' \(timestamp\[us\]\) holds a time outside the calendar"),
    ],
)
def test_values_that_have_lost_what_they_stood_for_are_refused(column, message, tmp_path):
    with pytest.raises(BssError, match=message):
        texts(tmp_path, column)


@given(numbers=st.lists(st.one_of(st.none(), st.integers(-(2**53) + 1, 2**53 - 1)), min_size=1, max_size=9))
def test_whole_numbers_have_the_same_text_as_integers_and_as_floats(numbers, tmp_path_factory):
    folder = tmp_path_factory.mktemp("numbers")
    expected = ["" if number is None else str(number) for number in numbers]
    assert texts(folder, pa.array(numbers, pa.int64())) == expected
    assert texts(folder, pa.array(numbers, pa.float64())) == expected


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=9))
def test_floats_have_texts_that_read_as_the_same_number(numbers):
    from bss.data.read_parquet import _float_text, _NoTextError

    for value in pa.array(numbers, pa.float32()).to_numpy():
        try:
            assert value == type(value)(_float_text(value))
        except _NoTextError:
            assert abs(value) >= 2**24


def test_a_column_whose_name_has_a_point_is_read_alone(tmp_path):
    path = write(tmp_path, a=pa.array([{"b": 1}]), **{"a.b": pa.array(["x"])})
    assert list(read_parquet(path, ["a.b"])[1]) == [(1, {"a.b": "x"})]


def test_missing_values_of_pandas_are_missing_in_a_manifest(tmp_path):
    nan = float("nan")
    columns = {"id": [1.0, 2.0, 3.0], "label": [0.0, 1.0, 0.0], "split": ["train"] * 3, "group": [7.0, nan, 7.0]}
    write(tmp_path, **columns, a=["1.npy"] * 3)
    manifest = read_manifest(tmp_path, "m.parquet", {"a": FeaturesKind("features")})
    assert [(s.id, s.label, s.group) for s in manifest.samples] == [("1", "0", "7"), ("2", "1", None), ("3", "0", "7")]
    assert manifest.classes == ["0", "1"]
    write(tmp_path, **(columns | {"label": [0.0, nan, 1.0], "split": ["train", "train", None]}), a=["1.npy"] * 3)
    with pytest.raises(BssError, match=r"row 2: label is empty\n.*row 3: split is empty"):
        read_manifest(tmp_path, "m.parquet", {"a": FeaturesKind("features")})
