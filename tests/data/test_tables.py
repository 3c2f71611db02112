import numpy as np
import pytest

from bss.data.store import Store
from bss.data.tables import read_table, write_table
from bss.errors import BssError


def test_only_the_columns_that_are_asked_for_are_read(tmp_path):
    path = tmp_path / "table.parquet"
    write_table(path, {"index": np.arange(3), "id": ["a", "b", "c"], "score": np.zeros(3)})
    assert read_table(path, "measure", ("score", "index")).column_names == ["index", "score"]
    assert read_table(path, "measure").column_names == ["index", "id", "score"]
    with pytest.raises(BssError, match=r"missing columns \['rank'\], has \['index', 'id', 'score'\]"):
        read_table(path, "measure", ("index", "rank"))


def test_ids_of_rows_as_a_column_are_the_ids(small_store):
    store = Store.open(small_store)
    rows = store.rows("val")[::-1]
    assert store.id_column(rows).to_pylist() == store.ids[rows].tolist()
    assert np.array_equal(np.sort(np.concatenate([store.rows(s) for s in ("train", "val", "test")])), np.arange(84))
    assert [str(store.splits[row]) for row in rows[:2]] == ["val", "val"]
