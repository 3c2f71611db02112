import json

import pytest
from buckets import bucket_fixture, keys

from bss.errors import BssError
from bss.files import digest_folder
from bss.remote.object_store import (
    MANIFEST,
    check_bucket,
    check_credentials,
    download_folder,
    remove_folder,
    split_url,
    upload_folder,
    upload_once,
)

pytestmark = pytest.mark.process

URL = "s3://trainings/run-1/store"


client = bucket_fixture("trainings")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "store"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "empty").touch()
    (folder / "audio.npy").write_bytes(bytes(range(256)) * 40_000)  # 10 MB: boto3 sends and gets it in parts
    (folder / "deep" / "er" / "with space é.txt").write_text("text")
    return folder


def refused(url, target):
    with pytest.raises(BssError) as caught:
        download_folder(url, target)
    assert not target.exists()
    assert not list(target.parent.glob(".*unfinished"))
    assert "the-secret" not in str(caught.value)
    return str(caught.value)


def test_a_folder_comes_back_as_it_was(client, folder, tmp_path, capsys):
    upload_folder(folder, URL)
    assert "uploaded 3 files, 10.2 MB" in capsys.readouterr().out
    download_folder(URL + "/", tmp_path / "copy")
    assert "downloaded 3 files, 10.2 MB" in capsys.readouterr().out
    assert digest_folder(tmp_path / "copy") == digest_folder(folder)


def test_what_is_named_by_its_content_goes_over_once(client, folder, tmp_path, capsys):
    upload_once(folder, URL)
    assert "uploaded 3 files" in capsys.readouterr().out
    upload_once(folder, URL)
    assert capsys.readouterr().out == ""
    client.delete_object(Bucket="trainings", Key=f"run-1/store/{MANIFEST}")  # as if the first had not finished
    upload_once(folder, URL)
    download_folder(URL, tmp_path / "copy")
    assert digest_folder(tmp_path / "copy") == digest_folder(folder)


def test_all_that_is_below_a_place_is_removed_and_no_more(client, folder, tmp_path):
    upload_folder(folder, URL)
    upload_folder(folder, URL + "-other")
    client.put_object(Bucket="trainings", Key="run-1/store/left", Body=b"of an upload that did not finish")
    remove_folder(URL)
    assert all(key.startswith("run-1/store-other/") for key in keys(client, "trainings"))
    download_folder(URL + "-other", tmp_path / "copy")
    remove_folder(URL)  # nothing there
    with pytest.raises(BssError, match="is a whole bucket"):
        remove_folder("s3://trainings")


def test_another_folder_at_the_same_place_replaces_the_first(client, folder, tmp_path):
    upload_folder(folder, URL)
    (folder / "empty").unlink()
    (folder / "audio.npy").write_bytes(b"other")
    upload_folder(folder, URL)
    download_folder(URL, tmp_path / "copy")
    assert digest_folder(tmp_path / "copy") == digest_folder(folder)


def test_an_upload_that_breaks_off_leaves_no_folder_even_over_a_whole_one(client, folder, tmp_path, monkeypatch):
    upload_folder(folder, URL)
    monkeypatch.setattr("bss.remote.object_store.digest_file", lambda path: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        upload_folder(folder, URL)
    monkeypatch.undo()
    assert f"run-1/store/{MANIFEST}" not in keys(client, "trainings")
    assert "run-1/store/audio.npy" in keys(client, "trainings")


def test_without_the_manifest_there_is_no_folder(client, folder, tmp_path):
    upload_folder(folder, URL)
    client.delete_object(Bucket="trainings", Key=f"run-1/store/{MANIFEST}")
    assert "no folder there, or its upload is unfinished" in refused(URL, tmp_path / "copy")


def test_every_object_that_is_not_what_was_uploaded_is_named(client, folder, tmp_path):
    upload_folder(folder, URL)
    whole = client.get_object(Bucket="trainings", Key="run-1/store/audio.npy")["Body"].read()
    client.put_object(Bucket="trainings", Key="run-1/store/audio.npy", Body=whole[:-1])
    client.put_object(Bucket="trainings", Key="run-1/store/deep/er/with space é.txt", Body=b"tex!")
    client.delete_object(Bucket="trainings", Key="run-1/store/empty")
    message = refused(URL, tmp_path / "copy")
    assert "3 problems" in message
    assert "audio.npy: 10239999 bytes, expected 10240000" in message
    assert "with space é.txt: sha256 " in message
    assert "empty: missing" in message


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        ("{", "is damaged"),
        ('{"schema_version": 1}', "is damaged"),
        ('{"schema_version": 1, "files": {"a": {"size": 1}}}', "is damaged"),
        ('{"schema_version": 2, "files": {}}', "schema version 2, expected 1"),
        (json.dumps({"schema_version": 1, "files": {"../a": {"size": 1, "sha256": ""}}}), "lead out of the folder"),
    ],
)
def test_a_damaged_manifest_is_refused(client, tmp_path, manifest, expected):
    client.put_object(Bucket="trainings", Key=f"run-1/store/{MANIFEST}", Body=manifest.encode())
    assert expected in refused(URL, tmp_path / "copy")


def test_a_folder_that_is_there_is_not_replaced(client, folder, tmp_path):
    upload_folder(folder, URL)
    with pytest.raises(BssError, match="already exists"):
        download_folder(URL, folder)
    empty = tmp_path / "empty"
    empty.mkdir()
    download_folder(URL, empty)
    assert digest_folder(empty) == digest_folder(folder)


def test_a_folder_without_files_is_not_uploaded(client, tmp_path):
    with pytest.raises(BssError, match="no files to upload"):
        upload_folder(tmp_path / "nowhere", URL)
    assert keys(client, "trainings") == []


def test_a_bucket_that_is_not_there(client, folder, tmp_path):
    with pytest.raises(BssError, match="s3://elsewhere/x: the object store has no such bucket"):
        upload_folder(folder, "s3://elsewhere/x")
    assert "no such bucket" in refused("s3://elsewhere/x", tmp_path / "copy")
    with pytest.raises(BssError, match="no such bucket"):
        check_bucket("s3://elsewhere")


def test_a_store_that_does_not_answer(aws, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("bss.remote.object_store.ATTEMPTS", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert "Could not connect to the endpoint URL" in refused(URL, tmp_path / "copy")
    with pytest.raises(BssError, match="Check AWS_ENDPOINT_URL"):
        upload_folder(folder, URL)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "store.example.org")
    assert "AWS_ENDPOINT_URL: Invalid endpoint: store.example.org" in refused(URL, tmp_path / "copy")


def test_no_credentials(aws, tmp_path, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert "AWS_ACCESS_KEY_ID" in refused(URL, tmp_path / "copy")


def test_refused_credentials(client, folder, tmp_path, monkeypatch, strict_aws):
    assert "rejects the credentials (InvalidAccessKeyId" in refused(URL, tmp_path / "copy")
    with pytest.raises(BssError, match="rejects the credentials"):
        upload_folder(folder, URL)
    with pytest.raises(BssError, match="rejects the credentials"):
        check_credentials()
    name, secret = strict_aws
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", name)
    assert "rejects the credentials (SignatureDoesNotMatch" in refused(URL, tmp_path / "copy")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    upload_folder(folder, URL)
    check_bucket(URL)
    assert check_credentials().startswith("credentials accepted, buckets: ")


def test_addresses():
    assert split_url("s3://bucket") == ("bucket", "")
    assert split_url("s3://bucket/a/b/") == ("bucket", "a/b")
    for wrong in ("bucket/a", "s3://", "s3:///a", "https://bucket/a", "s3://Bucket/a"):
        with pytest.raises(BssError, match="not an S3 URL; expected s3://bucket/prefix"):
            split_url(wrong)
    with pytest.raises(BssError, match="Give a folder in it: s3://bucket/name"):
        download_folder("s3://bucket/", None)
