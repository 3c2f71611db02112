"""The environment of a step: the secret's values have names of our own until the step itself runs.

Kubeflow's launcher is the parent of the step and shares its environment. The AWS SDK in it would take the
secret's AWS_* for its own uploads (kfp 2.17.0, backend/src/v2/objectstore/object_store.go: where no secret is
configured for its store, the client reads the environment). And kfp's MLflow plugin adds MLFLOW_* to the pod
(backend/src/v2/common/plugins/mlflow/handler.go), where Kubernetes accepts no variable twice with different sources.
"""

import os
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager

from bss.launch.pods import OBJECT_STORE

MLFLOW_KEYS = (
    *("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"),
)
SECRET_VARIABLES = {
    **{key: f"BSS_S3_{key.removeprefix('AWS_')}" for key in OBJECT_STORE},
    **{key: f"BSS_{key}" for key in MLFLOW_KEYS},
}
"""Keys of the secret, all optional, to the environment variables of pods."""
OF_THE_PLUGIN = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_WORKSPACE", "MLFLOW_TRACKING_AUTH", *MLFLOW_KEYS)
"""What kfp's MLflow plugin sets in a pod; MLFLOW_RUN_ID always."""


@contextmanager
def secret_environment(mlflow_tracking_uri: str = "") -> Iterator[None]:
    """Give the secret's values the names that boto3 and MLflow read, until the block ends.

    Object store: credentials are the secret's or those of the pod, such as its workload identity, never a mixture.
    MLflow: address and credentials come from one side. With `mlflow_tracking_uri`, or an address in the secret,
    nothing of kfp's MLflow plugin is left; with neither, its server is used if it names one.
    """
    before = dict(os.environ)
    try:
        _rename(os.environ, mlflow_tracking_uri)
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _rename(environment: MutableMapping[str, str], mlflow_tracking_uri: str) -> None:
    own = {key: environment[name] for key, name in SECRET_VARIABLES.items() if environment.get(name)}
    if "AWS_ACCESS_KEY_ID" in own:
        environment.pop("AWS_SESSION_TOKEN", None)  # of other credentials
    if "MLFLOW_RUN_ID" in environment:
        if mlflow_tracking_uri or "MLFLOW_TRACKING_URI" in own:
            for name in OF_THE_PLUGIN:
                environment.pop(name, None)
        else:
            for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID"):  # steps open runs of their own
                environment.pop(name, None)
            own = {key: value for key, value in own.items() if key not in MLFLOW_KEYS}
    environment.update(own)
