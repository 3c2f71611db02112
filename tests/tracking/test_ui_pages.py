"""What people see in MLflow's UI of the small pipeline's runs: a real server, a real browser.

The screenshots are in the folder BSS_SCREENSHOTS, if it is set.
"""

import json
import os
import sys
import time
from pathlib import Path
from urllib.parse import urlencode

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
from bss.tracking.view import runs_page, summary_metrics

sys.path.insert(0, str(Path(__file__).parents[1]))
from browser import needs_browser

pytestmark = [pytest.mark.process, needs_browser]
pytest.importorskip("websocket", reason="websocket-client is not installed")


@pytest.fixture(scope="module")
def shown(empty_database, pipeline, small_root, small_store, tmp_path_factory):
    """A browser's page, the server's address, a client, and where screenshots go."""
    folder, _ = pipeline
    work = tmp_path_factory.mktemp("ui")
    tree = small_tree(small_root) | {"tracking": {"models": "all", "register": "pets", "system_metrics": True}}
    tree["schedule"]["schedulers"] = {n: tree["schedule"]["schedulers"][n] for n in ("uniform", "control", "bss-h")}
    config = config_from_tree(tree, "params.yaml")
    with mlflow_server(work, empty_database) as port, pytest.MonkeyPatch.context() as patch:
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


def wait_for_charts(page):
    """Until a chart is drawn; for the screenshot alone, what a test asserts is text."""
    for _ in range(120):
        if page.evaluate("document.querySelectorAll('.js-plotly-plot .main-svg').length"):
            break
        time.sleep(0.5)


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


def test_comparing_the_rows_opens_on_a_plot_of_scheduler_and_accuracy_above_all_metrics(shown):
    page, address, client, experiment, pictures = shown
    runs = client.search_runs([experiment], "tags.`bss.kind` = 'summary'")
    query = {"runs": json.dumps([run.info.run_id for run in runs]), "experiments": json.dumps([experiment])}
    page.open(f"{address}/#/compare-runs?{urlencode(query)}")
    text = page.text_with(
        "Comparing 3 Runs from 1 Experiment", "Parallel Coordinates Plot", *summary_metrics("uniform")
    )
    wait_for_charts(page)
    page.screenshot(pictures / "compare.png")
    chosen = [line for line in text.partition("Parameters:")[2].partition("Clear All")[0].splitlines() if line]
    assert chosen == ["scheduler", "Metrics:", "test_acc"]
    for words in ("bss-h", "control", "uniform", *summary_metrics("uniform")):
        assert words in text
    assert "learning_rate" not in text


def test_the_charts_of_the_rows_begin_with_test_accuracy(shown):
    page, address, _, experiment, pictures = shown
    page.open(f"{runs_page(address, experiment)}&compareRunsMode=CHART")
    text = page.text_with("3 matching runs", "Model metrics", "test_acc", "diff_vs_uniform", "ci_low")
    wait_for_charts(page)
    page.screenshot(pictures / "charts.png")
    titles = [line for line in text.partition("Model metrics")[2].splitlines() if line in summary_metrics("uniform")]
    assert titles[:3] == ["test_acc", "diff_vs_uniform", "ci_low"]
    assert "(7)" in text


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


def test_the_charts_of_a_trial_are_its_epochs_and_the_use_of_the_machine(shown):
    page, address, client, experiment, pictures = shown
    (run,) = client.search_runs([experiment], "tags.scheduler = 'bss-h' and tags.seed = '1'")
    place = f"{address}/#/experiments/{experiment}/runs/{run.info.run_id}"
    page.resize(1500, 4000)  # charts are drawn once they are in the window
    page.open(f"{place}/model-metrics")
    text = page.text_with("learning_rate", "balance", "schedule", "val")
    wait_for_charts(page)
    page.screenshot(pictures / "trial-charts.png")
    assert "system/" not in text
    page.open(f"{place}/system-metrics")
    text = page.text_with("cpu_utilization_percentage", "disk_usage_percentage")
    wait_for_charts(page)
    page.screenshot(pictures / "trial-system.png")
    page.resize(1500, 900)
    assert "learning_rate" not in text


def test_the_registered_model_has_the_best_trial_under_its_alias(shown):
    page, address, client, _, pictures = shown
    version = client.get_model_version_by_alias("pets", "best")
    run = client.get_run(version.run_id)
    page.open(f"{address}/#/models/pets")
    text = page.text_with("Version 1", "best")
    page.screenshot(pictures / "registered.png")
    for words in ("pets", "Version 1", "best"):
        assert words in text
    page.open(f"{address}/#/models/pets/versions/1")
    text = page.text_with("highest mean val accuracy", run.info.run_name)
    page.screenshot(pictures / "registered-version.png")
    assert version.description in text
    assert run.info.run_name in text
    page.open(f"{address}/#/experiments/{run.info.experiment_id}/models/{run.outputs.model_outputs[0].model_id}")
    text = page.text_with("Datasets used", "pets", "test_acc")
    page.screenshot(pictures / "registered-model.png")
    assert "Not registered" not in text
    assert run.data.tags["mlflow.user"] in text.partition("Created by")[2].partition("Status")[0]


def test_a_phone_shows_the_rows(shown):
    page, address, _, experiment, pictures = shown
    page.resize(400, 800, phone=True)
    page.open(runs_page(address, experiment))
    text = page.text_with("uniform")  # the rows below are not drawn
    page.screenshot(pictures / "runs-400.png")
    page.resize(1500, 900)
    assert "uniform" in text


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
