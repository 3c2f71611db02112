"""Stage 5 as a Kubeflow component."""

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Model, Output

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def compare(
    parameters: str,
    data: str,
    mlflow_tracking_uri: str,
    store: Input[Dataset],
    scores: Input[Dataset],
    plans: Input[Dataset],
    models: Input[list[Model]],
    report: Output[Artifact],
    page: Output[HTML],
    metrics: Output[Metrics],
    audit: Input[Dataset] = None,
    before: str = "",
):
    """Compare the schedulers over the seeds, log data, scores, plans and the report to MLflow, and end its run.

    Args:
        parameters: The parameters of the run, from the step start.
        data: Version of the data, from the step start.
        mlflow_tracking_uri: URL of the MLflow server; empty uses the secret's MLFLOW_TRACKING_URI.
        store: The decoded samples.
        scores: A row per training sample and seed.
        plans: A folder per scheduler.
        models: All trials, a group of them in each.
        report: Table, metrics and the page.
        page: The report page, shown in the Kubeflow UI.
        metrics: Mean test accuracy of each scheduler over the seeds, in percent.
        audit: The table of the audit, if the pipeline has that step.
        before: Folder on S3 with the report of an earlier run, before decisions about samples; empty for none.
    """
    import json
    import shutil
    import tempfile
    from pathlib import Path

    from bss.data.store import Store
    from bss.kubeflow.before import earlier_comparison
    from bss.kubeflow.data import data_tags
    from bss.kubeflow.environment import secret_environment
    from bss.kubeflow.execution import end_finished, open_or_find, tracking_address
    from bss.kubeflow.messages import plain_errors
    from bss.kubeflow.parameters import config_from_json
    from bss.kubeflow.trials import collect_trials, track_trials
    from bss.remote.fetch import DataVersion
    from bss.stages.compare import compare as compare_stage
    from bss.tracking.execution import continue_execution, log_inputs
    from bss.tracking.journal import spool_folder

    with plain_errors(), secret_environment(mlflow_tracking_uri), tempfile.TemporaryDirectory() as temporary:
        config, runs = config_from_json(parameters), Path(temporary) / "runs"
        collect_trials([Path(model.path) for model in models], runs)
        execution = None
        if config.tracking.enabled:
            opened, version = Store.open(Path(store.path)), DataVersion(**json.loads(data))
            address = tracking_address(mlflow_tracking_uri)
            execution = open_or_find(config, opened.name, address, data_tags(version, ""))
        if execution is not None:
            journal = continue_execution(spool_folder(runs), execution)
            log_inputs(journal, config, opened, Path(scores.path), Path(plans.path), version)
            journal.append("end", status=None)
            print(f"compare: {track_trials(config, opened, runs, execution)} trials were reused")
        audited = None if audit is None else Path(audit.path)
        places = (Path(store.path), Path(scores.path), runs, Path(report.path))
        with earlier_comparison(before) as earlier:
            compare_stage(config, *places, execution, audited, earlier)
        shutil.copy(Path(report.path) / "report.html", page.path)
        comparison = json.loads((Path(report.path) / "comparison.json").read_text(encoding="utf-8"))
        if execution is not None:
            end_finished(config, execution)
    for name, entry in comparison["schedulers"].items():
        metrics.log_metric(f"{name} test accuracy", round(100 * entry["test_acc"]["mean"], 2))
