"""Every kind of row that is bad through its own fault: refused by name, or skipped and listed, and nothing else is."""

import csv

import numpy as np
import pytest
from conftest import make_rows, small_tree, write_manifest
from hypothesis import given
from hypothesis import strategies as st
from in_shards import joined

from bss.config import config_from_tree, load_config
from bss.config.modalities import ClipKind, FeaturesKind
from bss.data.manifest import check_splits, read_manifest
from bss.data.read_csv import read_csv
from bss.data.store import Store
from bss.errors import BssError
from bss.files import digest_folder
from bss.init.suggest import suggest
from bss.stages.prepare import prepare

KINDS = {"a": FeaturesKind("features"), "view": ClipKind("clip")}
HEADER = "id,label,split,group,a,view,view_start,view_end"
OF = ("train", "train", "train", "train", "val", "val", "test", "test")
GOOD = [f"s{i},{'xy'[i % 2]},{OF[i]},g{i},{i}.npy,{i}.mp4,0,9" for i in range(8)]
BAD = {
    "no id": (",x,train,g,a,v,,", "id is empty"),
    "no label": ("b,,train,g,a,v,,", "label is empty"),
    "no split": ("b,x,,g,a,v,,", "split is empty"),
    "no path": ("b,x,train,g,,v,,", "a is empty"),
    "a path of spaces": ("b,x,train,g,  ,v,,", "a is empty"),
    "a missing id as text": ("nan,x,train,g,a,v,,", "id 'nan' is a missing value written as text"),
    "a missing label as text": ("b,NaN,train,g,a,v,,", "label 'NaN' is a missing value"),
    "a missing split as text": ("b,x,nan,g,a,v,,", "split 'nan' is a missing value"),
    "a missing group as text": ("b,x,train,nan,a,v,,", "group 'nan' is a missing value"),
    "a missing path as text": ("b,x,train,g,<NA>,v,,", "a '<NA>' is a missing value"),
    "an unknown split": ("b,x,tarin,g,a,v,,", "split 'tarin' is not one of train, val, test"),
    "an absolute path": ("b,x,train,g,/etc/passwd,v,,", "a '/etc/passwd' is not a path inside the data root"),
    "a path that goes up": ("b,x,train,g,../a,v,,", "a '../a' is not a path inside the data root"),
    "a start before the first frame": ("b,x,train,g,a,v,-1,", "view_start '-1' is not a frame number"),
    "a start that is no number": ("b,x,train,g,a,v,one,", "view_start 'one' is not a frame number"),
    "an end between two frames": ("b,x,train,g,a,v,0,1.5", "view_end '1.5' is not a frame number"),
    "an end before the start": ("b,x,train,g,a,v,9,8", "view_end 8 must be greater than the start 9"),
    "too many values": ("b,x,train,g,a,b,v,,", "9 values for 8 columns. If a value contains a comma, quote it"),
    "too few values": ("b,x,train", "3 values for 8 columns"),
    "a row twice": (GOOD[0], "id 's0' is not unique: the row repeats row 2"),
}


def write(folder, lines):
    (folder / "m.csv").write_text("\n".join([HEADER, *lines]) + "\n")


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_row_is_refused_by_name_or_left_out_and_all_others_stay(kind, tmp_path):
    line, problem = BAD[kind]
    write(tmp_path, [*GOOD[:5], line, *GOOD[5:]])
    with pytest.raises(BssError) as caught:
        read_manifest(tmp_path, "m.csv", KINDS)
    assert f"row 7: {problem}" in str(caught.value)
    assert "1 problem\n" in str(caught.value)
    manifest = read_manifest(tmp_path, "m.csv", KINDS, "skip")
    assert [sample.id for sample in manifest.samples] == [f"s{i}" for i in range(8)]
    assert [row.row for row in manifest.bad] == [7]
    assert problem in manifest.bad[0].problems[0]


def test_of_rows_with_one_id_that_differ_none_is_taken(tmp_path):
    write(tmp_path, [*GOOD, GOOD[7].replace("y", "x"), GOOD[6]])
    manifest = read_manifest(tmp_path, "m.csv", KINDS, "skip")
    assert [sample.id for sample in manifest.samples] == [f"s{i}" for i in range(7)]
    assert {row.row: row.problems for row in manifest.bad} == {
        9: ["id 's7' is not unique: the row differs from row 10"],
        10: ["id 's7' is not unique: the row differs from row 9"],
        11: ["id 's6' is not unique: the row repeats row 8"],
    }


def test_an_id_of_a_row_that_is_bad_anyway_makes_no_other_row_bad(tmp_path):
    write(tmp_path, [*GOOD, GOOD[0].replace("train", "tarin")])
    manifest = read_manifest(tmp_path, "m.csv", KINDS, "skip")
    assert [row.row for row in manifest.bad] == [10]
    with pytest.raises(BssError, match=r"row 2: id 's0' is not unique"):
        read_manifest(tmp_path, "m.csv", KINDS)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            [line.replace("val", "dev") for line in GOOD],
            r"(?s)2 problems.*row 6: split 'dev' is 'val'.*Rename the splits",
        ),
        ([line.replace("train", "Train") for line in GOOD], r"(?s)4 problems.*row 2: split 'Train' is 'train'"),
        (
            [GOOD[0].replace(",x,", ",1,"), GOOD[1].replace(",y,", ",1.0,")],
            "label '1' and label '1.0' are the same number",
        ),
        ([*GOOD, "t1,x,train,3,a,v,,", "t2,x,test,3.0,a,v,,"], "group '3' and group '3.0' are the same number"),
        ([line.replace(".npy", "").replace(".mp4", "") + "," for line in GOOD], r"(?s)8 problems.*Fix these rows"),
        ([*GOOD, '"'], "not a valid CSV file"),
    ],
)
def test_what_is_not_one_row_s_own_fault_is_refused_all_the_same(lines, message, tmp_path):
    write(tmp_path, lines)
    with pytest.raises(BssError, match=message):
        read_manifest(tmp_path, "m.csv", KINDS, "skip")


def test_a_val_whose_rows_are_all_bad_is_refused_instead_of_carved_from_train(tmp_path):
    write(tmp_path, [line.replace(f"g{i},{i}.npy", f"g{i},") for i, line in enumerate(GOOD) if i in (4, 5)] + GOOD[:4])
    with pytest.raises(BssError, match="no sample has the split 'test'"):
        check_splits(read_manifest(tmp_path, "m.csv", KINDS, "skip"))
    write(
        tmp_path, [line.replace(f"g{i},{i}.npy", f"g{i}," if i in (4, 5) else f"g{i},a") for i, line in enumerate(GOOD)]
    )
    with pytest.raises(BssError, match="every row of val is bad and was skipped"):
        check_splits(read_manifest(tmp_path, "m.csv", KINDS, "skip"))


def test_a_class_whose_train_rows_are_all_bad_is_refused(tmp_path):
    write(tmp_path, [*GOOD, "b,z,train,g,,v,,", "c,,train,g,a,v,,", "d,nan,train,g,a,v,,"])
    with pytest.raises(BssError, match="every train row of z is bad and was skipped"):
        check_splits(read_manifest(tmp_path, "m.csv", KINDS, "skip"))


@given(picks=st.lists(st.one_of(st.none(), st.sampled_from(sorted(BAD))), min_size=1, max_size=20))
def test_any_mixture_of_bad_rows_leaves_exactly_the_good_ones(picks, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixture")
    lines = [
        f"n{i},x,train,g,a,v,," if kind is None else BAD[kind][0].replace("b,", f"b{i},", 1)
        for i, kind in enumerate(picks)
    ]
    write(folder, [*GOOD, *lines])
    manifest = read_manifest(folder, "m.csv", KINDS, "skip")
    good = [i for i, kind in enumerate(picks) if kind is None]
    assert [sample.row for sample in manifest.samples] == [*range(2, 10), *(10 + i for i in good)]
    assert [row.row for row in manifest.bad] == [10 + i for i, kind in enumerate(picks) if kind is not None]


def test_numbers_of_frames_may_have_the_point_that_pandas_gives_them(tmp_path):
    write(tmp_path, [GOOD[0].replace("0,9", "3.0,7.00"), GOOD[1].replace("0,9", ",5.0")])
    spans = [sample.spans["view"] for sample in read_manifest(tmp_path, "m.csv", KINDS).samples]
    assert [(span.start, span.end) for span in spans] == [(3, 7), (None, 5)]


@pytest.fixture
def damaged(tmp_path):
    """The small data with four bad rows and a bad file; the root, and what is wrong by row."""
    root = tmp_path / "pets"
    root.mkdir()
    rows = make_rows(root)
    rows[3]["audio"] = ""
    rows[20]["split"] = "tarin"
    rows[30]["label"] = "nan"
    rows.insert(11, dict(rows[10]))
    (root / rows[45]["image"]).write_bytes(b"")
    write_manifest(root, rows)
    return root, {5: "audio is empty", 13: "repeats row 12", 23: "tarin", 33: "nan", 47: "file is empty"}


def config(root, **prepare):
    tree = small_tree(root)
    tree["prepare"] |= prepare
    return config_from_tree(tree, "params.yaml")


def test_prepare_skips_bad_rows_and_bad_files_alike_and_lists_them_by_row(damaged, tmp_path, capsys):
    root, expected = damaged
    prepare(config(root, on_bad_sample="skip"), root, tmp_path / "store")
    store = Store.open(tmp_path / "store")
    assert len(store) == 84 - 4
    found = {int(row["row"]): row["reason"] for _, row in read_csv(tmp_path / "store" / "skipped.csv")[1]}
    assert list(found) == list(expected)
    assert all(part in found[row] for row, part in expected.items())
    with (root / "manifest.csv").open(newline="") as file:
        by_id = {row["id"]: row for row in csv.DictReader(file)}
    for i, name in enumerate(store.ids):
        np.testing.assert_array_equal(store.sample("vector", i), np.load(root / by_id[name]["vector"]))
        assert store.classes[store.labels[i]] == by_id[name]["label"]
    shown = " ".join(capsys.readouterr().out.split())
    assert "samples skipped: 5, listed in skipped.csv" in shown
    assert "rows of the manifest skipped: 4, such as row 5: audio is empty" in shown


def test_prepare_refuses_bad_rows_before_anything_is_decoded(damaged, tmp_path):
    root, _ = damaged
    with pytest.raises(BssError, match=r"(?s)4 problems.*row 5: audio is empty.*row 13: id .* repeats row 12"):
        prepare(config(root), root, tmp_path / "store")


@pytest.mark.slow
def test_shards_with_bad_rows_are_joined_to_the_same_store(damaged, tmp_path):
    root, _ = damaged
    made = config(root, on_bad_sample="skip")
    prepare(made, root, tmp_path / "at-once")
    assert digest_folder(joined(made, root, tmp_path, 3)) == digest_folder(tmp_path / "at-once")


def test_init_names_bad_rows_and_writes_parameters_that_can_skip_them(damaged, tmp_path):
    root, _ = damaged
    made = suggest(root / "manifest.csv", tmp_path)
    assert len(made.manifest.samples) == 81
    assert made.cautions[0].startswith("4 of 85 rows cannot be used (row 5: audio is empty; row 13: id ")
    assert "set prepare.on_bad_sample: skip" in made.cautions[0]
    assert set(made.guesses) == {"audio", "image", "vector"}
    assert not any("mixes different forms" in line for line in made.cautions)
    (tmp_path / "params.yaml").write_text(made.text)
    assert load_config(tmp_path / "params.yaml").prepare.on_bad_sample == "error"
