"""Several files as one manifest, and the equality of every way to hold the same samples."""

import numpy as np
import pyarrow as pa
import pytest
from embedded_data import SPLITS, members, picture, prepared, table, write_files, write_shard, write_table
from hypothesis import given, settings
from hypothesis import strategies as st
from in_shards import joined

from bss.data.embedded.cells import Cells
from bss.data.manifest_files import expand_braces, manifest_files, split_in
from bss.errors import BssError


@pytest.fixture
def data(tmp_path):
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def test_files_tables_and_shards_of_the_same_samples_give_one_store(data, tmp_path):
    write_files(data)
    expected = prepared(data, "{a,b}.csv", tmp_path / "files").digest
    named = pa.array([{"bytes": picture(i), "path": f"{i}.png"} for i in range(16)])
    write_table(data / "whole.parquet", table(image=named))
    write_table(data / "part-0.parquet", table(range(5), image=named[:5]))
    write_table(data / "part-1.parquet", table(range(5, 16), image=named[5:]))
    found = []
    for i, (name, content) in enumerate(members()):
        paths = f'{{"split": "{SPLITS[i // 4]}", "paths": {{"audio": "{i // 4}.wav", "image": "{i // 4}.png"}}}}'
        found.append((name, paths.encode() if name.endswith(".json") else content))
    write_shard(data / "0.tar", found[:20])
    write_shard(data / "1.tar", found[20:])
    for manifest in ("whole.parquet", "part-*.parquet", "{0..1}.tar"):
        assert prepared(data, manifest, tmp_path / "other").digest == expected, manifest


def test_rows_of_several_files_are_named_with_their_file(data, tmp_path):
    write_files(data)
    (data / "b.csv").write_text((data / "b.csv").read_text().replace("s10,", ",").replace("13.wav", "13.wav,extra"))
    with pytest.raises(BssError) as caught:
        prepared(data, "*.csv", tmp_path / "store")
    assert str(caught.value).splitlines()[1:-1] == [
        "  row 4 of b.csv: id is empty",
        "  row 7 of b.csv: 6 values for 5 columns. If a value contains a comma, quote it",
    ]


@pytest.mark.parametrize("manifest", ["m.parquet", "*.tar"])
def test_shards_of_a_prepare_join_to_the_same_store(manifest, data, tmp_path):
    from embedded_data import make_parameters

    write_table(data / "m.parquet", table())
    write_shard(data / "0.tar", members(range(7)))
    write_shard(data / "1.tar", members(range(7, 16)))
    expected = prepared(data, manifest, tmp_path / "store").digest
    made = joined(make_parameters(data, manifest), data, tmp_path, 3)
    for name in ("samples.parquet", "store.json", "files.sha256", "image.npy", "audio.npy", "provenance.json"):
        assert (made / name).read_bytes() == (tmp_path / "store" / name).read_bytes(), name
    assert expected in (made / "store.json").read_text()


def test_names_of_patterns_and_splits():
    assert list(expand_braces("x-{08..11}.tar")) == ["x-08.tar", "x-09.tar", "x-10.tar", "x-11.tar"]
    assert list(expand_braces("{2..0}")) == ["2", "1", "0"]
    assert list(expand_braces("{a,b}-{0..1}")) == ["a-0", "a-1", "b-0", "b-1"]
    assert list(expand_braces("{a}")) == ["{a}"]
    names = [
        "data/validation-0-of-1.parquet",
        "dev.tar",
        "train/x.arrow",
        "trainer.tar",
        "test/train.tar",
        "a_test_1.tar",
    ]
    assert [split_in(name) for name in names] == ["val", "val", "train", "", "", "test"]


CARD = """---
license: mit
configs:
- config_name: small
  data_files:
  - split: train
    path: small/train-*
{more}dataset_info:
- config_name: other
---
# Pets
config_name: none
"""


def test_a_folder_of_several_configurations_is_refused_with_their_names(tmp_path):
    for name in ("small", "large"):
        (tmp_path / "hub" / name).mkdir(parents=True)
        write_table(tmp_path / "hub" / name / "train-00000-of-00001.parquet", table())
    (tmp_path / "hub" / "README.md").write_text(CARD.format(more="- config_name: 'large'\n  data_files: large/*\n"))
    with pytest.raises(
        BssError, match=r"hub: README\.md lists 2 configurations, .*: small, large\. Name the folder or"
    ):
        manifest_files(tmp_path, "hub")
    assert len(manifest_files(tmp_path, "hub/small")) == 1
    assert len(manifest_files(tmp_path, "hub/**/*.parquet")) == 2
    for text in (CARD.format(more=""), "# Pets\n", "---\nconfigs: null\n---\n", "\x00"):
        (tmp_path / "hub" / "README.md").write_text(text)
        assert len(manifest_files(tmp_path, "hub")) == 2


@settings(deadline=None)
@given(order=st.lists(st.integers(0, 399), min_size=1, max_size=30))
def test_cells_are_read_in_any_order(order, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "cells.parquet"
    if not path.exists():
        files = [{"bytes": str(row).encode(), "path": None} for row in range(400)]
        pa.parquet.write_table(pa.table({"x": files}), path, row_group_size=150)
    cells = Cells(path, "x")
    assert [cells.read(row) for row in order] == [str(row).encode() for row in order]


@pytest.mark.slow
def test_a_large_table_is_never_in_memory_at_once(data):
    random = np.random.default_rng(0)
    files = [{"bytes": random.bytes(1 << 18), "path": None} for _ in range(640)]
    pa.parquet.write_table(pa.table({"x": files}), data / "m.parquet", row_group_size=40)
    cells, before = Cells(data / "m.parquet", "x"), pa.total_allocated_bytes()
    most = 0
    for row in range(640):
        assert cells.read(row) == files[row]["bytes"]
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 70 << 20  # of 160 MiB: up to 104 rows, and a row group of 10 MiB three times
