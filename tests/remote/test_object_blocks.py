"""Objects on S3 that are read in blocks: the bytes of the file in any order and from any thread, each block once."""

import hashlib
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from buckets import bucket_fixture
from refused import refused

from bss.data.raw_files import digest_raw, distant_files, open_raw, read_raw
from bss.remote import object_blocks, object_store
from bss.remote.s3_files import list_objects

pytestmark = pytest.mark.process

URL = "s3://blocks/of"
SIZES = {"empty": 0, "less": 90, "one": 100, "two": 200, "many": 5050}
client = bucket_fixture("blocks")


@pytest.fixture
def stored(client, monkeypatch):
    """The bytes of each object by its path, with the objects read in blocks of 100 bytes; and the blocks fetched."""
    monkeypatch.setattr(object_blocks, "BLOCK", 100)
    made = {name: random.Random(name).randbytes(size) for name, size in SIZES.items()}
    for name, data in made.items():
        client.put_object(Bucket="blocks", Key=f"of/{name}", Body=data)
    fetched, fetch = [], object_blocks.ObjectBlocks._fetch

    def counted(blocks, name, number):
        fetched.append((name, number))
        return fetch(blocks, name, number)

    monkeypatch.setattr(object_blocks.ObjectBlocks, "_fetch", counted)
    with object_blocks.object_blocks(URL, list_objects(URL)) as blocks:
        files = {Path("/nowhere") / name: blocks.file(name) for name in made}
        with distant_files(files):
            yield {path: made[path.name] for path in files}, fetched


def test_a_file_is_read_in_order_with_each_block_fetched_once(stored):
    contents, fetched = stored
    for path, data in contents.items():
        with open_raw(path) as file:
            assert file.read() == data
        assert digest_raw(path) == hashlib.sha256(data).hexdigest()
    # Read twice, the long one was too long to be kept; nothing was fetched that nobody asked for.
    many = [("many", number) for number in range(51)]
    assert sorted(fetched) == sorted([("less", 0), ("one", 0), ("two", 0), ("two", 1), *many, *many])


def test_ranges_are_those_of_the_file_in_any_order_and_from_any_thread(stored):
    contents, _ = stored
    draw = random.Random(0)
    ranges = [(path, draw.randrange(len(data) + 20), draw.randrange(700)) for path, data in contents.items()] * 40
    draw.shuffle(ranges)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda wanted: read_raw(*wanted), ranges))
    assert found == [contents[path][start : start + size] for path, start, size in ranges]


def test_a_stream_can_be_sought_like_a_file(stored, tmp_path):
    contents, _ = stored
    path, data = next((path, data) for path, data in contents.items() if path.name == "many")
    (tmp_path / "many").write_bytes(data)
    with open_raw(path) as ours, (tmp_path / "many").open("rb") as other:
        for offset, whence in ((7, 0), (1000, 1), (-30, 2), (-20, 1), (6000, 0), (0, 0)):
            assert ours.seek(offset, whence) == other.seek(offset, whence)
            assert ours.read(40) == other.read(40)
            assert ours.tell() == other.tell()


def test_few_blocks_stay_in_memory(client, monkeypatch):
    monkeypatch.setattr(object_blocks, "BLOCK", 100)
    client.put_object(Bucket="blocks", Key="of/many", Body=bytes(5050))
    with object_blocks.object_blocks(URL, list_objects(URL)) as blocks:
        for number in range(51):
            blocks.read("many", number)
            assert len(blocks._kept) <= object_blocks.KEPT


def test_what_was_read_is_reported_now_and_then(stored, monkeypatch, capsys):
    contents, _ = stored
    monkeypatch.setattr(object_blocks, "LINE_SECONDS", 0.0)
    path = Path("/nowhere/two")
    assert read_raw(path, 0, 200) == contents[path]
    assert capsys.readouterr().out.split() == ["reading:", "100", "bytes", "reading:", "200", "bytes"]


def test_a_block_that_breaks_off_is_read_again(stored, monkeypatch):
    from botocore.exceptions import IncompleteReadError
    from botocore.response import StreamingBody

    contents, _ = stored
    monkeypatch.setattr(object_store, "BACKOFF_SECONDS", 0.0)
    whole, breaks = StreamingBody.read, iter([True] * 3)

    def breaking(body, *size):
        if next(breaks, False):
            raise IncompleteReadError(actual_bytes=0, expected_bytes=1)
        return whole(body, *size)

    monkeypatch.setattr(StreamingBody, "read", breaking)
    path = Path("/nowhere/two")
    assert read_raw(path, 0, 200) == contents[path]
    breaks = iter([True] * 100)
    assert refused(read_raw, Path("/nowhere/less"), 0, 10).startswith(f"{URL}/less: ")


def test_the_file_on_the_disk_is_read_where_nothing_is_distant(tmp_path):
    (tmp_path / "a").write_bytes(b"0123456789")
    assert read_raw(tmp_path / "a", 3, 4) == b"3456"
    assert read_raw(tmp_path / "a", 8, 4) == b"89"
    with open_raw(tmp_path / "a") as file:
        assert file.read() == b"0123456789"
