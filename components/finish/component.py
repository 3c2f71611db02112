"""End a pipeline run, successful or not."""

from kfp import dsl
from kfp.dsl import PipelineTaskFinalStatus

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def finish(status: PipelineTaskFinalStatus, mlflow_tracking_uri: str):
    """End the MLflow run as failed or killed, unless the step compare has ended it as finished.

    Args:
        status: Outcome of the steps.
        mlflow_tracking_uri: URL of the MLflow server; empty uses the secret's MLFLOW_TRACKING_URI.
    """
    from bss.kubeflow.environment import secret_environment
    from bss.kubeflow.execution import end
    from bss.kubeflow.messages import plain_errors

    with plain_errors(), secret_environment(mlflow_tracking_uri):
        print(end(mlflow_tracking_uri, status.state))
