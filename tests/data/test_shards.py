import numpy as np
import pytest

from bss.config.modalities import FeaturesKind
from bss.data import join_arrays as module
from bss.data.checksums import join_checksums, write_checksums
from bss.data.join_arrays import join_arrays, join_ends
from bss.data.rows import Sample
from bss.data.shards import Shard, read_part, write_part
from bss.data.tables import write_table
from bss.data.write_store import write_samples
from bss.errors import BssError
from bss.files import digest_file, write_json
from bss.stages.join_shards import _joined


def test_shards_share_the_samples_in_order_and_nearly_equally():
    for count in range(30):
        for of in range(1, 40):
            shards = [Shard(number, of, "").rows(count) for number in range(of)]
            assert [row for rows in shards for row in rows] == list(range(count))
            assert max(map(len, shards)) - min(map(len, shards)) <= 1
    assert [len(Shard(number, 3, "").rows(10_000_000_000)) for number in range(3)] == [
        3333333333,
        3333333333,
        3333333334,
    ]


@pytest.mark.parametrize(("number", "of"), [(0, 0), (-1, 2), (2, 2)])
def test_a_shard_that_there_is_not_is_refused(number, of, tmp_path):
    with pytest.raises(ValueError, match="must be"):
        Shard(number, of, "")
    write_json(tmp_path / "part.json", {"number": number, "of": of, "data": "", "counts": {}, "bad_rows": 0})
    with pytest.raises(BssError, match=r"part\.json: damaged"):
        read_part(tmp_path)


def test_a_part_with_other_counts_than_whole_numbers_is_damaged(tmp_path):
    write_part(tmp_path, Shard(0, 1, ""), {"train": "many"}, 0)
    with pytest.raises(BssError, match=r"part\.json: damaged \(`counts` must be whole numbers"):
        read_part(tmp_path)


def test_a_part_tells_which_one_it_is(tmp_path):
    write_part(tmp_path, Shard(1, 3, "digest"), {"train": 4, "test": 2}, 3)
    part = read_part(tmp_path)
    assert (part.path, part.shard, part.counts) == (tmp_path, Shard(1, 3, "digest"), {"train": 4, "test": 2})
    assert part.bad_rows == 3


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float16", "float32"])
@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (2, 3, 4)])
@pytest.mark.parametrize("block", [1, 100, 1 << 20])
def test_joined_arrays_are_what_numpy_writes_of_all_rows(dtype, shape, block, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_BYTES", block)
    random = np.random.default_rng(0)
    arrays = [random.integers(0, 200, (rows, *shape)).astype(dtype) for rows in (1, 37, 8)]
    for i, array in enumerate(arrays):
        np.save(tmp_path / f"{i}.npy", array)
    join_arrays([tmp_path / f"{i}.npy" for i in range(3)], tmp_path / "joined.npy")
    np.save(tmp_path / "at-once.npy", np.concatenate(arrays))
    assert digest_file(tmp_path / "joined.npy") == digest_file(tmp_path / "at-once.npy")


def test_ends_continue_where_the_part_before_ended(tmp_path):
    for i, ends in enumerate(([3, 7], [2], [1, 2, 9])):
        np.save(tmp_path / f"{i}.npy", np.array(ends))
    join_ends([tmp_path / f"{i}.npy" for i in range(3)], tmp_path / "joined.npy")
    assert np.load(tmp_path / "joined.npy").tolist() == [3, 7, 9, 10, 11, 18]


def test_checksums_of_all_parts_are_merged_whatever_the_names(tmp_path):
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    names = ["b.npy", "a\\n.npy", "a\n.npy", "folder", "ä  b.npy", "a\\\\n\r.npy", "\udcff.npy", "a.npy"]
    for number, name in enumerate(names):
        (root / name / "x" if name == "folder" else root / name).write_text(str(number))
    kinds = {"x": FeaturesKind("features")}
    samples = [Sample(i, str(i), "a", "train", None, {"x": name}) for i, name in enumerate(names + names[:3])]
    write_checksums(tmp_path / "all", root, samples, kinds)
    pieces = [samples[:4], [], samples[4:9], samples[9:]]
    for i, piece in enumerate(pieces):
        write_checksums(tmp_path / str(i), root, piece, kinds)
    join_checksums([tmp_path / str(i) for i in range(len(pieces))], tmp_path / "joined")
    assert (tmp_path / "joined").read_bytes() == (tmp_path / "all").read_bytes()
    assert len((tmp_path / "all").read_bytes().splitlines()) == len(names)


def test_joined_tables_are_the_table_that_is_written_at_once(tmp_path):
    """More rows than are read or written at once, groups missing in some, in all and in none."""
    samples = [
        Sample(
            i, f"id{i}", "ab"[i % 2], "train", None if i < 6000 and i % 3 else f"g{i % 100}", {"x": f"{i % 500}.npy"}
        )
        for i in range(20_000)
    ]
    pieces = [samples[:2], samples[2:3], samples[3:9000], samples[9000:]]
    for i, piece in enumerate([*pieces, samples]):
        (tmp_path / str(i)).mkdir()
        write_samples(tmp_path / str(i), piece, ["a", "b"], ["x"])
    columns = _joined([tmp_path / str(i) / "samples.parquet" for i in range(4)])
    write_table(tmp_path / "joined.parquet", columns | {"index": np.arange(20_000)})
    assert digest_file(tmp_path / "joined.parquet") == digest_file(tmp_path / "4" / "samples.parquet")
