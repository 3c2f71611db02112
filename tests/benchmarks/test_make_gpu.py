"""`make gpu` on a CPU, as on a machine that has neither a network nor MLflow, DVC, kfp and boto3."""

import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from benchmarks import gpu, record
from benchmarks.comparison import Line
from benchmarks.gpu import CUT_OFF, PARTS
from benchmarks.gpu_throughput import peak_of
from benchmarks.record import PROJECT

ABSENT = ("mlflow", "dvc", "dvc_data", "dvc_objects", "kfp", "kfp_server_api", "kubeflow", "kubernetes", "boto3")


def write_wheel(folder: Path, name: str, version: str, packages: tuple[str, ...]) -> None:
    """Write a wheel whose packages, which come before the installed ones, refuse to be imported."""
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for package in packages:
            wheel.writestr(f"{package}/__init__.py", f"raise ImportError('{package} is not on this machine')\n")
        about = f"{name}-{version}.dist-info"
        wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")


def write_wheels(folder: Path) -> None:
    """Write the wheels of what is absent; transformers leaves an accelerate of that age alone, as if it were absent."""
    folder.mkdir()
    write_wheel(folder, "absent", "1.0", ABSENT)
    write_wheel(folder, "accelerate", "0.0.1", ("accelerate",))


@pytest.mark.process
@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_make_gpu_tries_every_part_on_a_cpu(tmp_path):
    write_wheels(tmp_path / "wheels")
    shutil.rmtree(PROJECT / "outputs" / "gpu-site", ignore_errors=True)
    out = tmp_path / "out"
    settings = ["DEVICE=cpu", "SMALL=1", "MINUTES=60", f"OUT={out}", f"WHEELS={tmp_path / 'wheels'}"]
    done = subprocess.run(
        ["make", "gpu", f"PYTHON={sys.executable}", *settings],
        cwd=PROJECT,
        env={**os.environ, "BSS_COMMIT": "0123456789abcdef"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    shutil.rmtree(PROJECT / "outputs" / "gpu-site", ignore_errors=True)
    assert done.returncode == 0, done.stdout
    page = (out / "benchmarks.md").read_text()
    for name, part in PARTS.items():
        result = json.loads((out / f"gpu_{name}.json").read_text())
        assert result["failed"] is None
        assert result["machine"]["commit"] == "0123456789ab"
        assert result["lines"]
        for line in (Line(**line) for line in result["lines"]):
            exact = line.unit in ("files differ", "waits") or line.what.startswith(("accuracy", "mean accurac"))
            assert all(value >= 0 if exact else value > 0 for value in (*line.ours, *(line.other or [])))
            if line.unit in ("files differ", "waits"):
                assert line.ours == [0]
            assert f"| {line.what} |" in page
        assert f"## {part.title}" in page
    lines = json.loads((out / "gpu_comparison.json").read_text())["lines"]
    assert all(line["ours"] == line["other"] for line in lines if line["what"].startswith("accuracy"))


def use_parts(monkeypatch, tmp_path, **bodies):
    """Replace the parts by some with one line each, whose processes run `bodies`."""
    parts = {}
    for name, body in bodies.items():
        (tmp_path / f"stub_{name}.py").write_text(
            "import os, time\nfrom benchmarks.comparison import Line\ndef run(setting):\n"
            f"    yield Line('first', [1.0])\n    {body}\n    yield Line('second', [2.0])\n"
        )
        parts[name] = gpu.Part(name, "", f"stub_{name}", 20)
    monkeypatch.setattr(gpu, "PARTS", parts)


@pytest.mark.process
def test_a_part_that_fails_leaves_its_lines_and_the_others_run(tmp_path, monkeypatch, capsys):
    import multiprocessing

    import benchmarks

    use_parts(
        monkeypatch,
        tmp_path,
        raises="raise ValueError('no such kernel')",
        crashes="os._exit(7)",
        hangs="time.sleep(600)",
        works="pass",
    )
    monkeypatch.setattr(benchmarks, "__path__", [*benchmarks.__path__, str(tmp_path)])
    # A forked process has this one's parts.
    context = multiprocessing.get_context("fork")
    monkeypatch.setattr(type(context), "set_forkserver_preload", lambda *_: None, raising=False)
    monkeypatch.setattr(gpu.multiprocessing, "get_context", lambda method: context)
    gpu.PARTS["hangs"] = gpu.Part("hangs", "", "stub_hangs", 3)
    started = time.monotonic()
    assert gpu.main(["--device", "cpu", "--small", "--out", str(tmp_path / "out"), "--parts", *gpu.PARTS]) == 1
    assert time.monotonic() - started < 300
    found = {name: json.loads((tmp_path / "out" / f"gpu_{name}.json").read_text()) for name in gpu.PARTS}
    assert {name: result["failed"] for name, result in found.items()} == {
        "raises": "ValueError: no such kernel",
        "crashes": "its process ended with 7.",
        "hangs": "it took longer than 3 s.",
        "works": None,
    }
    assert [len(result["lines"]) for result in found.values()] == [1, 1, 1, 2]
    page = (tmp_path / "out" / "benchmarks.md").read_text()
    assert "Failed: ValueError: no such kernel" in page
    assert "failed: raises, crashes, hangs" in capsys.readouterr().out
    assert CUT_OFF not in page


def test_a_page_without_results_of_a_gpu_says_that_they_are_open(tmp_path):
    record.write_page(tmp_path, tmp_path / "page.md")
    assert "Not measured yet: `make gpu`" in (tmp_path / "page.md").read_text()
    assert ("Not measured yet" in record.PAGE.read_text()) != bool(list(record.RESULTS.glob("gpu_*.json")))


def test_peaks_are_found_by_the_name_of_the_device():
    assert peak_of("NVIDIA H100 80GB HBM3") == pytest.approx(989.4e12)
    assert peak_of("NVIDIA H100 PCIe") == pytest.approx(756e12)
    assert peak_of("NVIDIA A100-SXM4-80GB") == pytest.approx(312e12)
    assert peak_of("NVIDIA L40S") == pytest.approx(362.05e12)
    assert peak_of("Some CPU") is None
