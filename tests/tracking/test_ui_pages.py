"""What people see in MLflow's UI of the small pipeline's runs: a real server, a real browser.

The screenshots are in the folder BSS_SCREENSHOTS, if it is set.
"""

import os
import sys
from pathlib import Path

import mlflow
import pytest
from chromium import browser
from conftest import small_tree
from servers import mlflow_server

from bss.config import config_from_tree
from bss.data.store import Store
from bss.stages.compare import compare
from bss.stages.train import train
from bss.tracking import sender
from bss.tracking.view import runs_page

sys.path.insert(0, str(Path(__file__).parents[1]))
from browser import needs_browser

pytestmark = [pytest.mark.process, needs_browser]
pytest.importorskip("websocket", reason="websocket-client is not installed")


@pytest.fixture(scope="module")
def shown(pipeline, small_root, small_store, tmp_path_factory):
    """A browser's page, the server's address, a client, and where screenshots go."""
    folder, _ = pipeline
    work = tmp_path_factory.mktemp("ui")
    tree = small_tree(small_root) | {"tracking": {"models": "all"}}
    tree["schedule"]["schedulers"] = {n: tree["schedule"]["schedulers"][n] for n in ("uniform", "control", "bss-h")}
    config = config_from_tree(tree, "params.yaml")
    with mlflow_server(work) as port, pytest.MonkeyPatch.context() as patch:
        address = f"http://127.0.0.1:{port}"
        patch.setenv("MLFLOW_TRACKING_URI", address)
        patch.setattr(sender, "PATIENCE_SECONDS", 300.0)  # the stages give up on a slow machine's server otherwise
        train(config, small_store, folder / "scores", folder / "plans", work / "runs")
        compare(config, small_store, folder / "scores", work / "runs", work / "report")
        client = mlflow.MlflowClient(address)
        experiment = client.get_experiment_by_name(Store.open(small_store).name).experiment_id
        with browser(tmp_path_factory.mktemp("profile")) as page:
            pictures = Path(os.environ.get("BSS_SCREENSHOTS", work / "screenshots"))
            yield page, address, client, experiment, pictures


def test_the_first_screen_has_a_row_per_scheduler_with_its_metrics_in_order(shown):
    page, address, _, experiment, pictures = shown
    page.open(runs_page(address, experiment))
    text = page.text_with("uniform", "control", "bss-h", "3 matching runs", "diff_vs_uniform")
    page.screenshot(pictures / "runs.png")
    assert "3 matching runs" in text
    assert "seed=" not in text
    assert "Traces" not in text.partition("Run Name")[2]
    places = page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('.ag-header-cell')]"
        ".map(e => [e.getAttribute('col-id'), e.getBoundingClientRect().left]))"
    )
    found = sorted((left, name) for name, left in places.items() if name.startswith("metrics."))
    first = [name for _, name in found][:4]
    assert first == [f"metrics.`{name}`" for name in ("test_acc", "diff_vs_uniform", "ci_low", "ci_high")]


def test_the_page_of_the_pipeline_says_the_verdict_in_a_table(shown):
    page, address, client, experiment, pictures = shown
    (run,) = client.search_runs([experiment], "tags.`bss.kind` = 'pipeline'")
    page.open(f"{address}/#/experiments/{experiment}/runs/{run.info.run_id}")
    text = page.text_with("too few for a verdict", "test accuracy, %", "Child runs")
    page.screenshot(pictures / "pipeline.png")
    assert "Seeds: 2, too few for a verdict" in text
    assert "scheduler\ttest accuracy, %\tvs uniform" in text
    assert "No metrics recorded" in text


def test_the_page_of_a_trial_has_its_metrics_dataset_and_model(shown):
    page, address, client, experiment, pictures = shown
    (run,) = client.search_runs([experiment], "tags.scheduler = 'bss-h' and tags.seed = '1'")
    page.open(f"{address}/#/experiments/{experiment}/runs/{run.info.run_id}")
    text = page.text_with("test_acc", "val_acc", "Parent run", "bss-h-seed=1")
    page.screenshot(pictures / "trial.png")
    for words in ("test_acc", "val_acc", "val/acc", "bss-h seed=1", "bss-h-seed=1", "Created by"):
        assert words in text
    assert "final/" not in text


def test_the_page_of_a_model_has_its_metrics_on_the_dataset(shown):
    page, address, client, experiment, pictures = shown
    (run,) = client.search_runs([experiment], "tags.scheduler = 'bss-h' and tags.seed = '1'")
    (output,) = run.outputs.model_outputs
    page.open(f"{address}/#/experiments/{experiment}/models/{output.model_id}")
    text = page.text_with("bss-h-seed=1", "test_acc", "val_acc")
    page.screenshot(pictures / "model.png")
    for words in ("bss-h-seed=1", "test_acc", "val_acc"):
        assert words in text
    found = client.get_logged_model(output.model_id)
    right = {name: value for name, value in run.data.metrics.items() if name in ("test_acc", "val_acc")}
    assert {one.key: one.value for one in found.metrics if one.key in right} == right
    assert {one.dataset_digest for one in found.metrics} == {run.inputs.dataset_inputs[0].dataset.digest}
