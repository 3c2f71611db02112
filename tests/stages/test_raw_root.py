"""Raw data on S3: the store is that of the same files on disk, and what is wrong there is said by its URL."""

import gzip
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
from buckets import bucket_fixture
from embedded_data import make_parameters, members, table, write_files, write_shard, write_table
from refused import refused

from bss.config.modalities import FramesKind, TextKind
from bss.config.schema import PrepareConfig
from bss.data.store import Store
from bss.remote import object_store, s3_files
from bss.remote.s3_files import digest_listing, list_objects
from bss.stages.prepare import prepare
from bss.stages.raw_root import edited, raw_root

pytestmark = pytest.mark.process

URL = "s3://raw-data/of/pets"
client = bucket_fixture("raw-data")


def put(client, root):
    """Put all files below `root` into the bucket, below `URL`."""
    for path in root.rglob("*"):
        if path.is_file():
            key = f"of/pets/{path.relative_to(root).as_posix()}"
            client.put_object(Bucket="raw-data", Key=key, Body=path.read_bytes())


def prepared_from(config, url, store):
    """Prepare the store from `url`; return it, and the names of the files that were downloaded."""
    with raw_root(replace(config.prepare, root=url)) as root:
        prepare(config, root, store)
        full = (path for path in root.rglob("*") if path.is_file() and path.stat().st_size)
        return Store.open(store), {path.relative_to(root).as_posix() for path in full}


@pytest.fixture
def large_disk():
    """A disk with space for everything."""
    return True


@pytest.fixture
def small_disk(monkeypatch):
    """A disk with no space for tables and shards, which are read where they lie, in small blocks."""
    monkeypatch.setattr(
        "bss.stages.raw_root.shutil", SimpleNamespace(disk_usage=lambda folder: SimpleNamespace(free=10))
    )
    monkeypatch.setattr("bss.remote.object_blocks.BLOCK", 700)
    return False


@pytest.fixture
def many(client, tmp_path):
    """Samples inside tables and shards, with objects that no manifest names; the folder, which is on S3 too."""
    root = tmp_path / "pets"
    (root / "hub" / "data").mkdir(parents=True)
    write_table(root / "hub" / "data" / "a.parquet", table(range(9)))
    write_table(root / "hub" / "data" / "b.parquet", table(range(9, 16)))
    write_shard(root / "000.tar", members(range(7)))
    write_shard(root / "001.tar", members(range(7, 16)))
    write_shard(tmp_path / "all.tar", members())
    whole = (tmp_path / "all.tar").read_bytes()
    (root / "packed.tar.gz").write_bytes(gzip.compress(whole))
    (root / "packed.tar.zst").write_bytes(pa.compress(whole, codec="zstd", asbytes=True))
    saved = pa.table(table())
    with pa.OSFile(str(root / "saved.arrow"), "wb") as file, pa.ipc.new_stream(file, saved.schema) as stream:
        stream.write_table(saved, 3)
    (root / "unnamed.bin").write_bytes(b"never read")
    put(client, root)
    return root


@pytest.mark.parametrize(
    ("manifest", "read"),
    [
        ("hub", {"hub/data/a.parquet", "hub/data/b.parquet"}),
        ("{000..001}.tar", {"000.tar", "001.tar"}),
        ("./hub/data/*.parquet", {"hub/data/a.parquet", "hub/data/b.parquet"}),
        ("saved.arrow", {"saved.arrow"}),
        ("packed.tar.gz", {"packed.tar.gz"}),
        ("packed.tar.zst", {"packed.tar.zst"}),
    ],
)
@pytest.mark.parametrize("disk", ["large", "small"])
def test_tables_and_shards_on_s3_give_the_store_of_the_same_files(manifest, read, disk, many, tmp_path, request):
    on_disk = request.getfixturevalue(f"{disk}_disk")
    config = make_parameters(many, manifest)
    prepare(config, many, tmp_path / "local")
    store, downloaded = prepared_from(config, URL, tmp_path / "store")
    assert downloaded == (read if on_disk else set())
    for path in (tmp_path / "local").iterdir():
        if path.name != "provenance.json":  # it names the time
            assert (store.path / path.name).read_bytes() == path.read_bytes(), path.name


@pytest.fixture
def plain(tmp_path):
    """Samples as plain files with two manifests, in a folder."""
    root = tmp_path / "pets"
    (root / "folder" / "deep").mkdir(parents=True)
    write_files(root)
    (root / "0.png").rename(root / "folder" / "deep" / "0.png")
    (root / "a.csv").write_text((root / "a.csv").read_text().replace(",0.png", ",./folder//deep/0.png"))
    return root


def test_manifests_of_paths_bring_the_files_that_they_name(client, plain, tmp_path):
    (plain / "decisions.csv").write_text("id,decision,value\ns01,drop,\n")
    (plain / "unnamed.wav").touch()
    put(client, plain)
    config = make_parameters(plain, "{a,b}.csv", decisions="decisions.csv")
    prepare(config, plain, tmp_path / "local")
    store, downloaded = prepared_from(config, f"{URL}/", tmp_path / "store")
    assert downloaded == {p.relative_to(plain).as_posix() for p in plain.rglob("*.*")} - {"unnamed.wav"}
    assert store.digest == Store.open(tmp_path / "local").digest
    assert store.ids.tolist() == [f"s{i:02}" for i in range(16) if i != 1]
    assert (store.path / "files.sha256").read_bytes() == (tmp_path / "local" / "files.sha256").read_bytes()


def test_what_is_not_there_is_said_by_its_url(client, plain, tmp_path):
    (plain / "13.png").unlink()
    put(client, plain)
    config = make_parameters(plain, "{a,b}.csv")
    assert refused(prepared_from, config, URL, tmp_path / "store").splitlines()[:2] == [
        f"{URL}/{{a,b}}.csv: 1 problem",
        "  row 7 of b.csv (id s13): image 13.png: file not found",
    ]
    other = replace(config, prepare=replace(config.prepare, manifest="{0..1}.tar"))
    assert refused(prepared_from, other, URL, tmp_path / "store").splitlines()[:3] == [
        f"{URL}/{{0..1}}.tar: 2 problems",
        "  0.tar not found",
        "  1.tar not found",
    ]
    assert refused(prepared_from, config, "s3://raw-data/none", tmp_path / "store") == (
        "s3://raw-data/none: there is no object below this prefix. Give the prefix of your data, as a folder."
    )
    assert refused(prepared_from, config, "s3://no-such-bucket/x", tmp_path / "store") == (
        "s3://no-such-bucket/x: the object store has no such bucket. Create it, or correct the URL."
    )


@pytest.mark.parametrize("disk", ["large", "small"])
def test_a_shard_that_is_cut_off_is_said_by_its_url(disk, client, many, tmp_path, request):
    request.getfixturevalue(f"{disk}_disk")
    whole, key = (many / "001.tar").read_bytes(), {"Bucket": "raw-data", "Key": "of/pets/001.tar"}
    config = make_parameters(many, "{000..001}.tar")
    client.put_object(**key, Body=whole[:700])
    assert refused(prepared_from, config, URL, tmp_path / "store") == (
        f"{URL}/001.tar: cut off or damaged in its first sample (key 's07'). Fetch it again."
    )
    client.put_object(**key, Body=whole[: whole.index(b"s09.wav") + 600])
    lines = refused(prepared_from, config, URL, tmp_path / "store").splitlines()
    assert lines[0] == f"{URL}/{{000..001}}.tar: 1 problem"
    assert lines[1].startswith("  row 3 of 001.tar (key 's09'): the shard is cut off or damaged in or after")
    assert not (tmp_path / "store").exists()


def test_who_may_not_read_is_told_which_url(client, many, strict_aws, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "unknown")
    message = refused(prepared_from, make_parameters(many, "000.tar"), URL, tmp_path / "store")
    assert message.startswith(f"{URL}: the object store rejects the credentials (")
    assert len(message.splitlines()) == 1
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", strict_aws[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", strict_aws[1])


@pytest.mark.parametrize("disk", ["large", "small"])
@pytest.mark.parametrize(
    ("manifest", "name"),
    [
        ("00?.tar", "001.tar"),
        ("hub", "hub/data/b.parquet"),
        ("saved.arrow", "saved.arrow"),
        ("packed.tar.gz", "packed.tar.gz"),
        ("packed.tar.zst", "packed.tar.zst"),
    ],
)
def test_an_object_that_changes_while_it_is_read_is_refused(
    manifest, name, disk, client, many, tmp_path, monkeypatch, request
):
    request.getfixturevalue(f"{disk}_disk")

    def list_then(change):
        def listed(url):
            found = list_objects(url)
            change()
            return found

        return listed

    key = {"Bucket": "raw-data", "Key": f"of/pets/{name}"}
    config = make_parameters(many, manifest)
    for change, what in (
        (lambda: client.put_object(**key, Body=b"other"), "changed while the data were being read"),
        (lambda: client.delete_object(**key), "was deleted while the data were being read"),
    ):
        put(client, many)
        monkeypatch.setattr("bss.stages.raw_root.list_objects", list_then(change))
        message = refused(prepared_from, config, URL, tmp_path / "store")
        assert message.startswith(f"{URL}/{name}: {what}. Run the same command again")
    assert not (tmp_path / "store").exists()


def test_a_download_that_breaks_off_continues(client, many, tmp_path, monkeypatch):
    from botocore.exceptions import IncompleteReadError
    from botocore.response import StreamingBody

    monkeypatch.setattr(object_store, "BACKOFF_SECONDS", 0.0)
    monkeypatch.setattr(s3_files, "BLOCK", 2000)
    whole, breaks = StreamingBody.iter_chunks, iter([True] * 3)

    def breaking(body, size):
        for block in whole(body, size):
            yield block
            if next(breaks, False):
                raise IncompleteReadError(actual_bytes=0, expected_bytes=1)

    monkeypatch.setattr(StreamingBody, "iter_chunks", breaking)
    objects = list_objects(URL)
    s3_files.download_objects(URL, objects, ["000.tar", "001.tar"], tmp_path)
    for name in ("000.tar", "001.tar"):
        assert (tmp_path / name).read_bytes() == (many / name).read_bytes()
    breaks = iter([True] * 100)
    message = refused(s3_files.download_objects, URL, objects, ["hub/data/a.parquet"], tmp_path)
    assert message.startswith(f"{URL}/hub/data/a.parquet: ")
    assert next(breaks)


def test_the_listing_is_the_version_of_the_data(client, many):
    objects = list_objects(URL)
    assert list(objects) == sorted(p.relative_to(many).as_posix() for p in many.rglob("*.*"))
    digest = digest_listing(objects)
    put(client, many)  # the same bytes
    assert digest_listing(list_objects(URL)) == digest
    client.put_object(Bucket="raw-data", Key="of/pets/unnamed.bin", Body=b"never reaD")
    client.put_object(Bucket="raw-data", Key="of/pets/folder/", Body=b"")  # how consoles make folders
    client.put_object(Bucket="raw-data", Key="of/pets/hub", Body=b"no file, but a folder")
    assert list_objects(URL).keys() == objects.keys()
    changed = digest_listing(list_objects(URL))
    assert changed != digest
    settings = replace(make_parameters(many, "*.tar").prepare, root=URL)
    with raw_root(settings, changed) as root:
        assert Path(root).name == "pets"
    assert not root.exists()
    assert "its objects have changed since this run started" in refused(raw_root(settings, digest).__enter__)


def test_a_file_beside_the_data_is_edited_there(client, many, tmp_path):
    for content, before in (("one", None), ("two", "one")):
        with edited(f"{URL}/", "of/decisions.csv") as path:
            assert (path.read_text() if path.exists() else None) == before
            path.write_text(content)
        assert client.get_object(Bucket="raw-data", Key="of/pets/of/decisions.csv")["Body"].read() == content.encode()
    with edited(str(tmp_path), "decisions.csv") as path:
        assert path == tmp_path / "decisions.csv"


def test_folders_texts_and_tokenizers_are_read_and_nothing_else(client, tmp_path):
    named = ["shots/a/1.png", "shots/a/2.png", "words/1.txt", "tokens/tokenizer.json", "truth.csv", "m.tsv"]
    others = ["shots/a/deep/3.png", "shots/b/1.png", "words/2.txt", "tokens2/tokenizer.json", "n.tsv"]
    for name in (*named, *others):
        client.put_object(Bucket="raw-data", Key=f"of/pets/{name}", Body=b"id\tview\twords\n1\tshots/a/\twords/1.txt\n")
    kinds = {"view": FramesKind("frames"), "words": TextKind("text", tokenizer="tokens", source="file")}
    settings = PrepareConfig(URL, kinds, manifest="m.tsv", truth="truth.csv")
    for wanted, found in ((settings, named), (replace(settings, source="a-published-dataset"), named + others)):
        with raw_root(wanted) as root:
            assert {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()} == set(found)


def test_too_small_a_disk_for_plain_files_is_refused_before_any_is_read(client, plain, tmp_path, monkeypatch):
    put(client, plain)
    monkeypatch.setattr("bss.remote.s3_files.shutil.disk_usage", lambda folder: type("", (), {"free": 10}))
    message = refused(prepared_from, make_parameters(plain, "{a,b}.csv"), URL, tmp_path / "store")
    size = sum((plain / name).stat().st_size for name in ("a.csv", "b.csv"))
    assert f"its files of {size:,} bytes are kept on disk" in message
    assert message.endswith(
        f", but {tempfile.gettempdir()} has 10 bytes free. Set TMPDIR to a folder on a larger disk."
    )


def test_what_is_read_where_it_lies_is_said(client, many, small_disk, tmp_path, capsys):
    with raw_root(replace(make_parameters(many, "00?.tar").prepare, root=URL)):
        pass
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "directly from S3" in line)
    assert line.startswith(f"{URL}: reading 2 tables or shards (")
    assert line.endswith(" has only 10 bytes free.")
