"""An object store behind a proxy that fails: what arrives is whole, and nobody waits for ever."""

import pytest
from buckets import bucket_fixture
from proxy import Proxy

from bss.errors import BssError
from bss.files import digest_folder
from bss.remote import dvc_repository, object_store
from bss.remote.fetch import fetch, locate
from bss.remote.object_store import MANIFEST, download_folder, upload_folder

pytestmark = pytest.mark.process

URL = "s3://broken/store"
MB = 1 << 20


direct = bucket_fixture("broken")


@pytest.fixture
def proxy(aws, direct, monkeypatch):
    host, port = aws.removeprefix("http://").split(":")
    with Proxy((host, int(port))) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{proxy.address}")
        monkeypatch.setattr(object_store, "READ_SECONDS", 20)
        monkeypatch.setattr(object_store, "BACKOFF_SECONDS", 0.01)
        yield proxy


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "store"
    folder.mkdir()
    (folder / "small").write_bytes(b"small")
    (folder / "audio.npy").write_bytes(bytes(range(256)) * 6 * 4096)  # 6 MiB in one part
    (folder / "video.npy").write_bytes(bytes(range(255, -1, -1)) * 20 * 4096)  # 20 MiB in three parts
    return folder


def test_an_upload_whose_connections_are_cut_resumes(proxy, folder, direct, tmp_path):
    proxy.cut(MB, sent=True, times=3)
    upload_folder(folder, URL)
    assert proxy.cuts == 3
    proxy.work()
    download_folder(URL, tmp_path / "copy")
    assert digest_folder(tmp_path / "copy") == digest_folder(folder)


def test_a_download_whose_connections_are_cut_resumes(proxy, folder, tmp_path):
    upload_folder(folder, URL)
    proxy.cut(MB, times=3)
    download_folder(URL, tmp_path / "copy")
    assert proxy.cuts == 3
    assert digest_folder(tmp_path / "copy") == digest_folder(folder)


def test_the_list_of_files_is_asked_for_again_when_it_breaks_off(proxy, folder, tmp_path):
    upload_folder(folder, URL)
    proxy.cut(300, times=2)  # in the middle of it
    download_folder(URL, tmp_path / "copy")
    assert proxy.cuts == 2
    assert digest_folder(tmp_path / "copy") == digest_folder(folder)


def test_a_download_that_never_comes_through_leaves_nothing(proxy, folder, tmp_path):
    upload_folder(folder, URL)
    proxy.cut(MB)
    with pytest.raises(BssError, match="Check AWS_ENDPOINT_URL"):
        download_folder(URL, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    assert not list(tmp_path.glob(".copy*"))


def test_an_upload_that_never_comes_through_is_no_folder(proxy, folder, direct, tmp_path):
    upload_folder(folder, URL)
    proxy.cut(MB, sent=True)
    with pytest.raises(BssError, match="Check AWS_ENDPOINT_URL"):
        upload_folder(folder, URL)
    keys = {found["Key"] for found in direct.list_objects_v2(Bucket="broken")["Contents"]}
    assert f"store/{MANIFEST}" not in keys


def test_a_store_that_is_silent_is_given_up(proxy, folder, tmp_path, monkeypatch):
    upload_folder(folder, URL)
    monkeypatch.setattr(object_store, "READ_SECONDS", 0.2)
    monkeypatch.setattr(object_store, "ATTEMPTS", 2)
    proxy.stall()
    with pytest.raises(BssError, match="Read timeout"):
        download_folder(URL, tmp_path / "copy")
    with pytest.raises(BssError, match="Read timeout"):
        upload_folder(folder, URL)


@pytest.fixture
def dataset(proxy, direct, tmp_path):
    """A DVC repository whose remote is behind the proxy, pushed."""
    from test_fetch import commit, run, write

    origin = tmp_path / "origin"
    origin.mkdir()
    run(origin, "git", "init", "-q", "-b", "main")
    run(origin, "dvc", "init", "-q")
    remote = f"url = s3://broken/dvc\n    endpointurl = http://{proxy.address}"
    (origin / ".dvc/config").write_text(f"[core]\n    remote = store\n['remote \"store\"']\n    {remote}\n")
    write(origin, {"data/birds/a.bin": bytes(range(256)) * 4096 * 2, "data/birds/b.bin": b"b"})
    run(origin, "dvc", "add", "-q", "data/birds")
    commit(origin, "data")
    run(origin, "dvc", "push", "-q")
    clone = tmp_path / "clone"
    run(tmp_path, "git", "clone", "-q", str(origin), str(clone))
    return clone


def test_a_dataset_whose_remote_cuts_connections_comes_whole(dataset, proxy, tmp_path):
    version = locate(str(dataset), "", "data/birds")
    proxy.cut(MB, times=2)
    assert fetch(version, tmp_path / "birds") == 2
    assert proxy.cuts == 2
    assert (tmp_path / "birds/a.bin").read_bytes() == bytes(range(256)) * 4096 * 2


def test_a_dataset_whose_remote_is_silent_is_given_up(dataset, proxy, tmp_path, monkeypatch):
    version = locate(str(dataset), "", "data/birds")
    monkeypatch.setattr(dvc_repository, "TIMEOUTS", {"connect_timeout": 1, "read_timeout": 1})
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    proxy.stall()
    with pytest.raises(BssError, match="The data is on the DVC remote store"):
        fetch(version, tmp_path / "birds")
    assert not (tmp_path / "birds").exists()
