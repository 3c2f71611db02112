"""The metric of docs/pipeline.md and two of other kinds, a file each in a copy of the package: in every output."""

import csv
import html
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import fork_server
import mlflow
import numpy as np
import pytest
import torch
from conftest import small_tree
from ruamel.yaml import YAML

import bss
from bss.data.store import Store
from bss.files import read_json
from bss.models.network import build_network
from bss.training.predicting import predict
from bss.training.samples.split_data import SplitData

pytestmark = pytest.mark.process
PACKAGE = Path(bss.__file__).parent
PAGE = PACKAGE.parent / "docs" / "pipeline.md"
(TOP_2,) = re.findall(r'```python\n("""Top-2.*?)```', PAGE.read_text(encoding="utf-8"), flags=re.S)
OF_THE_END = '''
"""Negative log-likelihood of the trained networks, in bits."""

from scipy.special import log_softmax

from bss.metrics.base import SplitMetric


def bits(predictions):
    logs = log_softmax(predictions.logits.astype("float64"), axis=1)
    return -logs[range(len(logs)), predictions.labels].mean() / 0.6931471805599453


METRIC = SplitMetric(
    name="nll", label="NLL", better="lower", unit="bits", digits=3, order=15, compute=bits, per_epoch=False
)
'''
PER_MODALITY = '''
"""Share of each modality's head in the sum of their accuracies."""

from bss.metrics.base import BalanceMetric


def shares(balance):
    total = sum(balance.accuracies.values())
    return {name: accuracy / total for name, accuracy in balance.accuracies.items()}


METRIC = BalanceMetric(
    name="share_{modality}",
    label="share of {modality}",
    better=None,
    compute=shares,
)
'''
FILES = {"top_2.py": TOP_2, "nll.py": OF_THE_END, "shares.py": PER_MODALITY}
MODALITIES = ("audio", "image", "vector")
SCHEDULERS = ("uniform", "control")
SEEDS = (0, 1)


@pytest.fixture(scope="module")
def project(tmp_path_factory, small_root, small_store, pipeline):
    """A folder where the copy of the package trained and compared with MLflow's database; what it printed."""
    folder = tmp_path_factory.mktemp("own")
    shutil.copytree(PACKAGE, folder / "bss", ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in FILES.items():
        assert not (folder / "bss" / "metrics" / name).exists()
        (folder / "bss" / "metrics" / name).write_text(text)
    shutil.copytree(small_store, folder / "outputs" / "store")
    for name in ("scores", "plans"):
        shutil.copytree(pipeline[0] / name, folder / "outputs" / name)
    tree = small_tree(small_root)
    tree["schedule"]["schedulers"] = {name: tree["schedule"]["schedulers"][name] for name in SCHEDULERS}
    tree["tracking"] = {"models": "none"}
    with (folder / "params.yaml").open("w") as file:
        YAML(typ="safe").dump(tree, file)
    printed = [python(folder, f"import sys; from bss.cli import main; sys.exit(main(['{s}']))") for s in STAGES]
    return folder, printed[-1]


STAGES = ("train", "compare")


def python(folder, script):
    """Run `script` with the copy of the package; return what it printed."""
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    environment |= fork_server.variables(folder)
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, check=False, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def trial(folder, name, seed):
    return folder / "outputs" / "runs" / name / f"seed={seed}"


def metrics_of(folder, name):
    return [read_json(trial(folder, name, seed) / "metrics.json", "train") for seed in SEEDS]


def page_of(folder):
    return (folder / "outputs" / "report" / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def logits(project, small_store):
    """Logits of the trained network of uniform, seed 0, on test, and the labels."""
    folder = trial(project[0], "uniform", 0)
    network = build_network(read_json(folder / "network.json", "train"))
    network.load_state_dict(torch.load(folder / "model.pt", weights_only=True))
    test = SplitData(Store.open(small_store), "test", network, torch.device("cpu"))
    return predict(network, test)[0], test.labels.numpy()


def test_the_documented_function_by_hand():
    names = {}
    exec(compile(TOP_2, "docs/pipeline.md", "exec"), names)
    metric = names["METRIC"]

    class Given:
        logits = np.array([[3, 2, 1], [3, 2, 1], [0, 5, 4], [0, 5, 4]], dtype=np.float32)
        labels = np.array([1, 2, 1, 2])

    assert metric.compute(Given) == pytest.approx(3 / 4)


def test_history_has_it_in_every_epoch(project):
    rows = read_csv(trial(project[0], "uniform", 0) / "history.csv")
    assert len(rows) == 3
    names = list(rows[0])
    assert names[7:15] == [
        "train/hidden",
        *("val/acc", "val/f1_macro", "val/map", "val/acc_audio", "val/acc_image", "val/acc_vector"),
        "val/top2",
    ]
    assert names[15:] == [
        *("balance/gap", "balance/score_mean", *(f"balance/share_{name}" for name in MODALITIES)),
        "schedule/digest",
    ]
    for row in rows:
        assert float(row["val/acc"]) <= float(row["val/top2"]) <= 1
        heads = np.array([float(row[f"val/acc_{name}"]) for name in MODALITIES])
        shares = [float(row[f"balance/share_{name}"]) for name in MODALITIES]
        assert shares == pytest.approx(list(heads / heads.sum()))


def test_the_final_metrics_are_those_of_the_trained_network(project, logits):
    metrics = metrics_of(project[0], "uniform")[0]
    scores, labels = logits
    greater = (scores > scores[np.arange(len(labels)), labels][:, None]).sum(axis=1)
    assert metrics["test/acc"] == pytest.approx(float((greater == 0).mean()))
    assert metrics["test/top2"] == pytest.approx(float((greater < 2).mean()))
    nats = torch.nn.functional.cross_entropy(torch.from_numpy(scores).double(), torch.from_numpy(labels))
    assert metrics["test/nll"] == pytest.approx(nats.item() / np.log(2))
    assert {"val/top2", "val/nll", "last/test_top2", "last/test_nll"} <= set(metrics)


def test_the_comparison_has_its_mean_and_deviation(project):
    found = read_json(project[0] / "outputs" / "report" / "comparison.json", "compare")["schedulers"]
    rows = {row["scheduler"]: row for row in read_csv(project[0] / "outputs" / "report" / "comparison.csv")}
    for name in SCHEDULERS:
        for key in ("top2", "nll"):
            values = [metrics[f"test/{key}"] for metrics in metrics_of(project[0], name)]
            for mean, sd in (
                (found[name][f"test_{key}"]["mean"], found[name][f"test_{key}"]["sd"]),
                (float(rows[name][f"test_{key}_mean"]), float(rows[name][f"test_{key}_sd"])),
            ):
                assert mean == pytest.approx(np.mean(values))
                assert sd == pytest.approx(np.std(values, ddof=1))


def test_curves_have_it_and_dvc_shows_it(project):
    folder, _ = project
    report = folder / "outputs" / "report"
    rows = [row for row in read_csv(report / "curves.csv") if row["scheduler"] == "control"]
    histories = [read_csv(trial(folder, "control", seed) / "history.csv") for seed in SEEDS]
    columns = {"top2": "val/top2", "share_image": "balance/share_image"}
    for epoch, row in enumerate(rows):
        for name, column in columns.items():
            assert float(row[name]) == pytest.approx(np.mean([float(h[epoch][column]) for h in histories]))
        assert "nll" not in row
    dvc = json.loads((report / "metrics" / "control.json").read_text())
    assert dvc["test_top2"] == pytest.approx(np.mean([m["test/top2"] for m in metrics_of(folder, "control")]))


def test_the_tables_list_it(project):
    folder, printed = project
    assert "Means over seeds, in % except NLL" in printed
    rows = {line.split()[0]: line for line in printed[printed.index("Means") :].splitlines() if line.strip()}
    titles = re.split(r"\s{2,}", rows["scheduler"].strip())
    listed = ["NLL, bits ↓", "macro-F1", "mAP", *MODALITIES, "top-2 accuracy"]
    assert titles == ["scheduler", "last epoch", *listed, "epoch", "steps", "seconds"]
    cells = rows["uniform"].split()
    metrics = metrics_of(folder, "uniform")
    shown = {"nll": f"{np.mean([m['test/nll'] for m in metrics]):.3f}"}
    shown["top2"] = f"{100 * np.mean([m['test/top2'] for m in metrics]):.1f}"
    assert (cells[2], cells[8]) == (shown["nll"], shown["top2"])
    page = page_of(folder)
    assert "<th>NLL, bits ↓</th>" in page
    assert "<th>top-2 accuracy</th>" in page
    row = page[page.index("uniform</td>") : page.index("</tr>", page.index("uniform</td>"))]
    assert f"<td>{shown['top2']}</td>" in row
    assert f"<td>{shown['nll']}</td>" in row


def test_the_report_plots_it(project):
    page = html.unescape(page_of(project[0]))
    titles = re.findall(r"<h2>(.*?)</h2>", page)
    plotted = ["Accuracy", *(f"Share of {name}" for name in MODALITIES), "Top-2 accuracy"]
    first = titles.index("Accuracy while training")
    assert titles[first : first + 5] == [f"{title} while training" for title in plotted]
    assert titles[first + 5 :][:3] == ["Pacing", "Accuracy per modality", "NLL of the trained networks"]
    for against in ("epochs", "steps"):
        assert f'aria-label="Validation top-2 accuracy of each scheduler against {against}, mean over seeds"' in page
    assert ">validation top-2 accuracy, %<" in page
    assert ">share of image, %<" in page
    assert 'aria-label="Test NLL of each scheduler"' in page
    assert ">test NLL, bits; lower is better<" in page


def test_mlflow_has_it(project):
    folder, _ = project
    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if e.name != "Default"]
    runs = client.search_runs([experiment.experiment_id])
    children = [run for run in runs if "seed" in run.data.tags]
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert len(children) == len(SCHEDULERS) * len(SEEDS)
    for run in children:
        rows = read_csv(trial(folder, run.data.tags["scheduler"], run.data.tags["seed"]) / "history.csv")
        for name in ("val/top2", "balance/share_image"):
            logged = sorted((m.step, m.value) for m in client.get_metric_history(run.info.run_id, name))
            assert logged == [(int(row["epoch"]), float(row[name])) for row in rows]
        assert 0 < run.data.metrics["test_top2"] <= 1
        assert run.data.metrics["test_nll"] > 0
    values = [metrics["test/top2"] for metrics in metrics_of(folder, "uniform")]
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")  # load_table searches there, whatever the client
    table = client.load_table(experiment.experiment_id, "schedulers.json", [parent.info.run_id])
    table = table.set_index("scheduler")
    assert table["test_top2_mean"]["uniform"] == pytest.approx(np.mean(values))


def test_data_of_two_classes_do_not_have_it(project):
    script = (
        "from bss.metrics.base import SplitMetric\n"
        "from bss.metrics.inputs import Task\n"
        "from bss.metrics.find import metrics_of\n"
        "print([[m.name for m in metrics_of(SplitMetric, Task(n, ('audio',)))] for n in (2, 3)])"
    )
    two = ["acc", "nll", "f1_macro", "map", "acc_{modality}"]
    assert python(project[0], script).strip() == str([two, [*two, "top2"]])
