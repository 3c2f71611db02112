"""What MLflow gets of trials with a strategy."""

import mlflow
import pytest
from conftest import small_tree

from bss.config import config_from_tree
from bss.stages.compare import compare
from bss.stages.train import train


@pytest.mark.slow
def test_the_strategy_is_a_tag_a_parameter_and_part_of_names(
    database, pipeline, small_root, small_store, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder, trained = pipeline[0], tmp_path / "runs"
    tree = small_tree(small_root) | {"strategies": {"ogm": {"kind": "ogm", "alpha": 0.5}}, "seeds": [0]}
    tree |= {"combinations": ["uniform", "uniform+ogm"], "compare": {}, "tracking": {"models": "none"}}
    config = config_from_tree(tree, "params.yaml")
    train(config, small_store, folder / "scores", folder / "plans", trained)
    compare(config, small_store, folder / "scores", trained, tmp_path / "report")
    client = mlflow.MlflowClient(database)
    found = client.search_runs([one.experiment_id for one in client.search_experiments()])
    runs = {run.info.run_name: run.data for run in found if "mlflow.parentRunId" in run.data.tags}
    assert set(runs) == {"uniform", "uniform seed=0", "uniform+ogm", "uniform+ogm seed=0"}
    plain, ogm = runs["uniform seed=0"], runs["uniform+ogm seed=0"]
    assert (ogm.tags["strategy"], ogm.params["strategy.kind"], ogm.params["strategy.alpha"]) == ("ogm", "ogm", "0.5")
    assert "strategy" not in plain.tags
    assert "strategy.kind" not in plain.params
    summary = runs["uniform+ogm"]
    assert (summary.tags["scheduler"], summary.tags["strategy"]) == ("uniform", "ogm")
    assert "strategy" not in runs["uniform"].tags
    assert summary.metrics["test_acc"] == round(ogm.metrics["test_acc"], 4)
    (parent,) = [run for run in found if "mlflow.parentRunId" not in run.data.tags]
    lines = parent.data.tags["mlflow.note.content"].splitlines()
    start = lines.index("| scheduler | none | ogm |")
    assert (
        lines[start + 2] == f"| uniform | {100 * plain.metrics['test_acc']:.2f} | {100 * ogm.metrics['test_acc']:.2f} |"
    )
