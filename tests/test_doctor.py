import shutil
from types import SimpleNamespace

import boto3
import pytest

from bss import doctor
from bss.cli import main
from bss.doctor import GIB

FINE = "All that was asked for is there."


@pytest.fixture(autouse=True)
def container(tmp_path, monkeypatch):
    """A folder without params.yaml, an environment that names no servers."""
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)


def shown(capsys, *options):
    """Return the exit status and what was printed, in one line."""
    status = main(["doctor", *options])
    return status, " ".join(capsys.readouterr().out.split())


def test_without_parameters_nothing_is_wrong(capsys):
    status, text = shown(capsys)
    assert status == 0
    assert "ok parameters none here" in text
    assert "object store none asked for" in text
    assert FINE in text


def test_parameters_that_were_asked_for_must_be_there(capsys):
    for options in (["--params", "params.yaml"], ["--set", "train.epochs=1"]):
        status, text = shown(capsys, *options)
        assert status == 1
        assert "NO parameters params.yaml: cannot be read" in text
        assert "1 to mend: parameters" in text


def test_a_tracking_server_in_the_environment_must_answer(capsys, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    status, text = shown(capsys)
    assert status == 1
    assert "1 to mend: MLflow" in text


def test_shared_memory(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=2 * GIB, free=GIB // 2))
    monkeypatch.setattr(doctor, "SHARED_MEMORY", tmp_path)
    assert shown(capsys)[0] == 0
    status, text = shown(capsys, "--need-shared-memory", "2")
    assert status == 0
    assert "2.00 GiB, 0.50 GiB free" in text
    status, text = shown(capsys, "--need-shared-memory", "2.5")
    assert status == 1
    assert "2.5 GiB are needed" in text
    monkeypatch.setattr(doctor, "SHARED_MEMORY", tmp_path / "none")
    status, text = shown(capsys)
    assert status == 0
    assert "none: not there" in text
    assert shown(capsys, "--need-shared-memory", "0.1")[0] == 1
    with pytest.raises(SystemExit):
        main(["doctor", "--need-shared-memory", "-1"])
    assert "must be a number above 0, but got: -1" in capsys.readouterr().err


def test_the_object_store_of_the_environment_is_asked(capsys, aws):
    status, text = shown(capsys)
    assert status == 0
    assert f"ok object store {aws} answers: credentials accepted" in text


def test_the_bucket_that_is_named_must_be_there(capsys, aws):
    boto3.Session().client("s3", region_name="us-east-1").create_bucket(Bucket="doctor")
    status, text = shown(capsys, "--bucket", "s3://doctor/some/prefix")
    assert status == 0
    assert "s3://doctor/some/prefix can be listed" in text
    status, text = shown(capsys, "--bucket", "s3://elsewhere")
    assert status == 1
    assert "s3://elsewhere: the object store has no such bucket" in text
    assert "1 to mend: object store" in text
    assert shown(capsys, "--bucket", "elsewhere")[0] == 1


def test_an_object_store_that_does_not_answer_or_refuses(capsys, strict_aws, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", strict_aws[0])
    status, text = shown(capsys)
    assert status == 1
    assert "refuses the credentials (SignatureDoesNotMatch" in text
    assert "the-secret" not in text
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://me:the-secret@127.0.0.1:9")
    status, text = shown(capsys)
    assert status == 1
    assert "http://***@127.0.0.1:9: the object store: Could not connect" in text
    assert "the-secret" not in text
