"""What each extra is for, done in an environment that has this extra alone."""

import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from environments import Environment, require

SAMPLER = """
import torch

epochs, classes = 3, 3
torch.manual_seed(0)
labels = torch.arange(30) % classes
x = torch.randn(30, 4) + torch.nn.functional.one_hot(labels, 4)
train_set = torch.utils.data.TensorDataset(x, labels)
net = torch.nn.ModuleDict({name: torch.nn.Linear(4, classes) for name in ("audio", "image")})


def model(inputs):
    logits = {name: head(inputs) for name, head in net.items()}
    return logits, sum(logits.values())


def per_sample_loss(logits, fused, y):
    return torch.nn.functional.cross_entropy(fused, y, reduction="none")


shown = []
"""
"""What the README's loop takes as given."""
SMALL = ("--set", "train.epochs=2", "--set", "seeds=[0,1]", "--set", "compare.resamples=1000")
ADAPTERS = """
import transformers

from bss.config.own_encoders import Lora
from bss.models.huggingface.lora import add_adapters

sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
model = transformers.BertModel(transformers.BertConfig(vocab_size=9, **sizes))
add_adapters(model.encoder, Lora(r=2, target_modules=("query",)), "text")
for name, parameter in model.encoder.named_parameters():
    if parameter.requires_grad:
        print(name, list(parameter.shape))
"""
CLIP = """
import av
import numpy as np

for split, count in (("train", 4), ("val", 2), ("test", 2)):
    for number in range(count):
        for label, step in (("brighter", 10), ("darker", -10)):
            name = f"{split}-{label}-{number}.mp4"
            with av.open(name, "w") as container:
                track = container.add_stream("mpeg4", rate=10)
                track.height, track.width, track.pix_fmt = 32, 48, "yuv420p"
                container.metadata["title"] = name
                for i in range(8):
                    grey = np.full((32, 48, 3), 128 - number + (step * (i - 4)), np.uint8)
                    container.mux(track.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
                container.mux(track.encode())
"""
BRIGHTNESS = """
from pathlib import Path

import numpy as np
from bss.data.store import Store

store = Store.open(Path("outputs/store"))
assert len(store) == 16
for row, name in enumerate(store.ids):
    film = store.sample("film", row)
    assert film.shape == (4, 3, 32, 48)
    first, *_, last = film.astype(float).mean(axis=(1, 2, 3))
    expected = 30 if "brighter" in name else -30  # four frames in a row, which differ by 10 each
    assert abs(last - first - expected) < 6, (name, first, last)
    assert store.sample("motion", row).shape == (4, 2, 32, 48)
"""
"""What a store of these films must hold."""
VIDEO_PARAMS = """
seeds: [0]
generate: {}
prepare:
  root: .
  modalities:
    film: {kind: clip, height: 32, width: 48, frames: 4}
    motion: {kind: flow, height: 32, width: 48, frames: 4, compute: true}
network:
  encoders:
    film: {kind: mlp, hidden: [4]}
    motion: {kind: mlp, hidden: [4]}
schedule:
  schedulers:
    uniform: {kind: uniform}
train:
  epochs: 1
  batch_size: 4
  optimiser: {kind: sgd, learning_rate: 0.01}
"""


def nothing(at: Environment) -> None:
    """The sampler, as the README shows it; the pipeline's commands name the extra that they need."""
    readme = (at.project / "README.md").read_text(encoding="utf-8")
    loop = re.search(r"```python\n(from torch.utils.data import DataLoader.*?)```", readme, flags=re.S)
    assert loop is not None
    lines = loop[1].replace("        ...\n", "        shown += index.tolist()\n")
    ending = "assert len(shown) == len(train_set) * epochs and set(shown) == set(range(30))\nprint('sampled')\n"
    (at.work / "loop.py").write_text(f"{SAMPLER}{lines}{ending}", encoding="utf-8")
    require(at.run("python", "loop.py"), "sampled")
    require(at.run("python", at.project / "examples" / "plain_pytorch.py"), "belong to contradicting samples")
    audited = "from bss.balance import audit; print(audit({m: 9 * torch.eye(3) for m in 'ab'}, range(3)).kinds())"
    require(at.run("python", "-c", f"import torch; {audited}"), "clean")
    require(at.run("bss", "--help"), "stage 5")
    shutil.copy(at.project / "params.yaml", at.work)
    for command in ("prepare", "measure", "schedule", "train", "compare", "show", "doctor", "presets"):
        _names_extra(at.run("bss", command, code=1), "train")


def train(at: Environment) -> None:
    """The built-in data from files to the comparison; video and MLflow are missing and are named."""
    data = _digits(at)
    require(at.run("bss", "prepare"), "Store of digits: 10 classes")
    at.run("bss", "measure", *SMALL)
    at.run("bss", "schedule", *SMALL)
    trained = at.run("bss", "train", *SMALL)
    require(trained, "mlflow is not installed: run `pip install -c requirements.lock '.[tracking]'` in a clone")
    at.run("bss", "compare", *SMALL)
    require(at.run("bss", "show"), "uniform", "outputs/report/report.html")
    at.run("bss", "inspect")
    run = next((at.work / "outputs" / "runs").glob("*/seed=0"))
    at.run("bss", "predict", "--run", run, "--manifest", data, "--output", "predictions.csv")
    assert (at.work / "predictions.csv").stat().st_size
    strict = at.run("bss", "train", *SMALL, "--set", "tracking.strict=true", "--runs", "outputs/strict", code=1)
    require(strict, "mlflow is not installed", "tracking.enabled: false")
    require(at.run("bss", "sync", code=1), "mlflow is not installed", "runs are still in outputs/runs.mlflow")
    _names_extra(at.run("bss", "fetch", ".", "--path", "data", "--to", "new", code=1), "dvc")
    _names_extra(at.run("bss", "compile", where=at.project, code=1), "kubeflow")


def lora(at: Environment) -> None:
    """Adapters in a small model."""
    (at.work / "adapters.py").write_text(ADAPTERS, encoding="utf-8")
    require(at.run("python", "adapters.py"), "layer.0.attention.self.query.lora_A.default.weight [2, 8]")


def video(at: Environment) -> None:
    """Films decoded to frames, and to optical flow."""
    (at.work / "films.py").write_text(CLIP, encoding="utf-8")
    at.run("python", "films.py")
    names = sorted(path.name for path in at.work.glob("*.mp4"))
    rows = [f"{name},{name.split('-')[1]},{name.split('-')[0]},{name},{name}" for name in names]
    text = "\n".join(["id,label,split,film,motion", *rows, ""])
    (at.work / "manifest.csv").write_text(text, encoding="utf-8")
    (at.work / "params.yaml").write_text(VIDEO_PARAMS, encoding="utf-8")
    at.run("bss", "prepare")
    (at.work / "check.py").write_text(BRIGHTNESS, encoding="utf-8")
    at.run("python", "check.py")


def tracking(at: Environment) -> None:
    """Trainings recorded in a database on this machine."""
    _digits(at)
    at.run("bss", "prepare")
    for command in ("measure", "schedule", "train", "compare"):
        output = at.run("bss", command, *SMALL)
    assert "is not installed" not in output, output
    count = (
        "import mlflow; runs = mlflow.MlflowClient('sqlite:///mlflow.db').search_runs(['1']); "
        "print(len(runs), {run.info.status for run in runs})"
    )
    trials = len(list((at.work / "outputs" / "runs").glob("*/seed=*")))
    require(at.run("python", "-c", count), f"{trials + 1} {{'FINISHED'}}")


def s3(at: Environment) -> None:
    """A bucket of an object store that speaks S3, which runs in this process."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        store = {
            "AWS_ENDPOINT_URL": "http://{}:{}".format(*server.get_host_and_port()),
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        make = "import boto3; boto3.client('s3').create_bucket(Bucket='birds')"
        at.run("python", "-c", make, **store)
        require(at.run("bss", "doctor", "--bucket", "s3://birds/store", **store), "s3://birds/store can be listed")
        at.run("bss", "doctor", "--bucket", "s3://bees", code=1, **store)
    finally:
        server.stop()


def dvc(at: Environment) -> None:
    """Stages of the project by `dvc repro`, in a repository."""
    shutil.copytree(at.project, at.work, dirs_exist_ok=True)
    at.run("git", "init", "-q")
    require(at.run("dvc", "repro", "prepare"), "Running stage 'generate@digits'", "Running stage 'prepare'")
    require(at.run("dvc", "repro", "prepare"), "Data and pipelines are up to date")
    at.run("bss", "check-cache")


def kubeflow(at: Environment) -> None:
    """The pipeline compiled, to the bytes that the repository has."""
    at.run("bss", "compile", "--output", at.work / "pipeline.yaml", where=at.project)
    compiled = (at.work / "pipeline.yaml").read_bytes()
    assert compiled == (at.project / "pipelines" / "pipeline.yaml").read_bytes(), "pipelines/pipeline.yaml differs"


def examples(at: Environment) -> None:
    """The loops of other libraries, and the notebook."""
    for name in ("with_accelerate", "with_lightning", "with_trainer"):
        require(at.run("python", at.project / "examples" / f"{name}.py"), "belong to contradicting samples")
    run = "import nbclient, nbformat; nbclient.execute(nbformat.read('audit_your_predictions.ipynb', as_version=4))"
    at.run("python", "-c", run, where=at.project / "examples")


def dev(at: Environment) -> None:
    """Every test can be collected, and some run; so do the linter and the type checker, and the docs are built."""
    where = at.project
    require(at.run("pytest", "--collect-only", where=where), "tests/balance/test_score.py")
    require(at.run("pytest", "tests/balance/test_score.py", "tests/config", where=where), " passed")
    at.run("ruff", "check", ".", where=where)
    at.run("mypy", "bss/balance", where=where)
    at.run("mkdocs", "build", "--strict", where=where, NO_MKDOCS_2_WARNING="1")
    at.run("pre-commit", "validate-config", where=where)


NEEDS: dict[str, Callable[[Environment], None]] = {
    "": nothing,
    "train": train,
    "lora": lora,
    "video": video,
    "tracking": tracking,
    "s3": s3,
    "dvc": dvc,
    "kubeflow": kubeflow,
    "examples": examples,
    "dev": dev,
}
"""Per extra of pyproject.toml (empty: none) what is tried."""


def _digits(at: Environment) -> Path:
    """Write the built-in data, and parameters that `bss init` suggests for it; return the manifest."""
    shutil.copy(at.project / "params.yaml", at.work)
    at.run("bss", "generate", "digits")
    manifest = at.work / "data" / "digits" / "manifest.csv"
    at.run("bss", "init", "--manifest", "data/digits/manifest.csv", "--force")
    return manifest


def _names_extra(output: str, extra: str) -> None:
    """Require one line that names `extra`, without a traceback."""
    assert len(output.strip().splitlines()) == 1, output
    require(output, f"is not installed: run `pip install -c requirements.lock '.[{extra}]'` in a clone")
