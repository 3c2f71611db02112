import json
import shutil
import sys
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace

import boto3
import pytest

from bss import doctor, gpus
from bss.cli import main
from bss.config.modalities import AudioKind, ClipKind, FlowKind, FramesKind, ImageKind, TextKind
from bss.doctor import GIB

FINE = "All checks passed."


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


def require(capsys, expected, *texts, options=()):
    """Assert the exit status, and that each of `texts` is printed."""
    status, text = shown(capsys, *options)
    assert status == expected
    assert [one for one in texts if one not in text] == []


def test_without_parameters_nothing_is_wrong(capsys):
    status, text = shown(capsys)
    assert status == 0
    assert "ok parameters no params.yaml here" in text
    assert "object store not requested" in text
    assert FINE in text


def test_packages_that_only_some_need_may_be_missing(capsys, monkeypatch):
    present = doctor.version

    def version(name):
        if name in ("mlflow", "kfp"):
            raise PackageNotFoundError(name)
        return present(name)

    monkeypatch.setattr(doctor, "version", version)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    require(capsys, 0, "ok kfp not installed; `pip install -c requirements.lock '.[kubeflow]'` in a clone adds it")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    require(capsys, 1, "1 to fix: MLflow")
    monkeypatch.setattr(doctor, "REQUIRED", ("torch", "kfp"))
    assert "2 to fix: kfp, MLflow" in shown(capsys)[1]


def test_parameters_that_were_asked_for_must_be_there(capsys):
    for options in (["--params", "params.yaml"], ["--set", "train.epochs=1"]):
        require(capsys, 1, "NO parameters params.yaml: cannot be read", "1 to fix: parameters", options=options)


def test_a_tracking_server_in_the_environment_must_answer(capsys, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    require(capsys, 1, "1 to fix: MLflow")


def test_shared_memory(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=2 * GIB, free=GIB // 2))
    monkeypatch.setattr(doctor, "SHARED_MEMORY", tmp_path)
    assert shown(capsys)[0] == 0
    require(capsys, 0, "2.00 GiB, 0.50 GiB free", options=["--need-shared-memory", "2"])
    require(capsys, 1, "needs 2.5 GiB", options=["--need-shared-memory", "2.5"])
    monkeypatch.setattr(doctor, "SHARED_MEMORY", tmp_path / "none")
    require(capsys, 0, "none: does not exist")
    assert shown(capsys, "--need-shared-memory", "0.1")[0] == 1
    with pytest.raises(SystemExit):
        main(["doctor", "--need-shared-memory", "-1"])
    assert "must be a positive number, but got: -1" in capsys.readouterr().err


@pytest.mark.process
def test_the_object_store_of_the_environment_is_asked(capsys, aws):
    require(capsys, 0, f"ok object store {aws} answers: credentials accepted")


@pytest.mark.process
def test_the_bucket_that_is_named_must_be_there(capsys, aws):
    boto3.Session().client("s3", region_name="us-east-1").create_bucket(Bucket="doctor")
    require(capsys, 0, "s3://doctor/some/prefix can be listed", options=["--bucket", "s3://doctor/some/prefix"])
    require(
        capsys,
        1,
        "s3://elsewhere: the object store has no such bucket",
        "1 to fix: object store",
        options=["--bucket", "s3://elsewhere"],
    )
    assert shown(capsys, "--bucket", "elsewhere")[0] == 1


@pytest.mark.process
def test_an_object_store_that_does_not_answer_or_refuses(capsys, strict_aws, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", strict_aws[0])
    status, text = shown(capsys)
    assert status == 1
    assert "rejects the credentials (SignatureDoesNotMatch" in text
    assert "the-secret" not in text
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://me:the-secret@127.0.0.1:9")
    status, text = shown(capsys)
    assert status == 1
    assert "http://***@127.0.0.1:9: the object store: Could not connect" in text
    assert "the-secret" not in text


@pytest.fixture
def two_gpus(monkeypatch):
    """A machine on which torch.cuda reports two GPUs; nothing may be computed on them."""
    import torch

    gpu = SimpleNamespace(name="Card H", total_memory=80 * GIB, major=9, minor=0)
    small = SimpleNamespace(name="Card T", total_memory=16 * GIB, major=7, minor=5)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", [gpu, small].__getitem__)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)


@pytest.fixture
def params(tree, tmp_path):
    """Parameters whose data are not prepared, in the folder of the test."""

    def write(**resources):
        path = tmp_path / "params.yaml"
        tree["resources"] = {"device": "auto", **resources}
        if "vector" in tree["prepare"]["modalities"]:
            del tree["prepare"]["modalities"]["vector"], tree["network"]["encoders"]["vector"]
        path.write_text(json.dumps(tree))
        return path

    return write


def test_each_gpu_is_named_and_the_network_of_the_parameters_is_deterministic(capsys, two_gpus, params):
    params()
    trains = "the network trains deterministically"
    first = f"ok GPU 0 Card H, 80.0 GiB, compute capability 9.0; {trains}"
    second = f"ok GPU 1 Card T, 16.0 GiB, compute capability 7.5; {trains}"
    require(capsys, 0, "found 2 GPUs", first, second)


def test_without_parameters_a_gpu_is_named_alone(capsys, two_gpus):
    require(capsys, 0, "ok GPU 1 Card T, 16.0 GiB, compute capability 7.5 ok MLflow")


def test_a_network_that_is_not_deterministic_is_reported_with_its_part(capsys, two_gpus, params, monkeypatch):
    from torch import nn

    monkeypatch.setattr("bss.models.encoders.cnn.AveragePool", lambda size, pooled: nn.AdaptiveAvgPool2d(pooled))
    tree = json.loads(params().read_text())
    tree["network"]["encoders"]["audio"]["spectrogram"]["hop"] = 16  # 51 frames, 26 behind the convolution
    params().write_text(json.dumps(tree))
    operation = "network.encoders.audio: _adaptive_avg_pool2d_backward (torch.nn.AdaptiveAvgPool2d)"
    require(
        capsys,
        1,
        "NO GPU 0 Card H, 80.0 GiB, compute capability 9.0; the network does not train",
        f"deterministically: {operation}; choose other layers, or set resources.deterministic to warn",
        "2 to fix: GPU 0, GPU 1",
    )
    require(
        capsys,
        0,
        f"deterministically: {operation}; two runs may differ",
        options=["--set", "resources.deterministic=warn"],
    )
    require(
        capsys, 0, "compute capability 9.0; not used (resources.device: cpu)", options=["--set", "resources.device=cpu"]
    )


def test_features_have_a_shape_after_they_are_prepared(capsys, two_gpus, tree, tmp_path, small_store):
    tree["resources"] = {"device": "auto"}
    (tmp_path / "params.yaml").write_text(json.dumps(tree))
    require(capsys, 0, "determinism cannot be checked before `bss prepare`")
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "store").symlink_to(small_store)
    assert "the network trains deterministically" in shown(capsys)[1]


def test_a_workspace_with_which_nothing_is_deterministic(capsys, two_gpus, params, monkeypatch):
    params()
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":1:1")
    require(capsys, 1, "CUBLAS_WORKSPACE_CONFIG=:1:1 makes training nondeterministic: unset it")


@pytest.mark.parametrize(
    ("kind", "shape", "dtype"),
    [
        (AudioKind("audio", 4000, 0.2, "tile", stored="int16"), (800,), "int16"),
        (ImageKind("image", 6, 7, 1), (1, 6, 7), "uint8"),
        (FramesKind("frames", 2, None, 6, 7), (2, 3, 6, 7), "uint8"),
        (ClipKind("clip", 5, height=6, width=7), (5, 3, 6, 7), "uint8"),
        (FlowKind("flow", 5, height=6, width=7), (5, 2, 6, 7), "float16"),
        (TextKind("text", "tokenizer", tokens=9), (9,), "int32"),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_shapes_that_are_known_before_anything_is_prepared(kind, shape, dtype):
    found = gpus._modality("x", kind)
    assert (found.kind, found.shape, found.dtype) == (kind.kind, shape, dtype)
