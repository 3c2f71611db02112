"""The names under which a step finds the secret's values."""

import os

import pytest

from bss.kubeflow.environment import SECRET_VARIABLES, secret_environment

WORKLOAD_IDENTITY = {"AWS_ROLE_ARN": "arn:aws:iam::1:role/steps", "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/token"}
PLUGIN = {
    **{"MLFLOW_RUN_ID": "theirs", "MLFLOW_EXPERIMENT_ID": "7", "MLFLOW_TRACKING_URI": "http://theirs"},
    **{"MLFLOW_WORKSPACE": "team", "MLFLOW_TRACKING_AUTH": "kubernetes", "MLFLOW_TRACKING_TOKEN": "of-theirs"},
}
"""As kfp 2.17.0 sets them: backend/src/v2/common/plugins/mlflow/handler.go:141-170."""
OWN_MLFLOW = {
    "BSS_MLFLOW_TRACKING_URI": "http://ours",
    "BSS_MLFLOW_TRACKING_USERNAME": "me",
    "BSS_MLFLOW_TRACKING_PASSWORD": "secret",
}
OWN_AS_READ = {name.removeprefix("BSS_"): value for name, value in OWN_MLFLOW.items()}


@pytest.fixture
def within(monkeypatch):
    """Return what a block sees of AWS and MLflow with an environment and an address, as a function."""

    def see(environment, address=""):
        for name in [name for name in os.environ if name.startswith(("AWS_", "MLFLOW_", "BSS_"))]:
            monkeypatch.delenv(name)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        before = dict(os.environ)
        with secret_environment(address):
            seen = {name: value for name, value in os.environ.items() if name.startswith(("AWS_", "MLFLOW_"))}
        assert dict(os.environ) == before
        return seen

    return see


def test_each_key_of_the_secret_has_its_own_name_in_the_pod_and_the_usual_one_in_the_step(within):
    assert within({name: f"value of {key}" for key, name in SECRET_VARIABLES.items()}) == {
        key: f"value of {key}" for key in SECRET_VARIABLES
    }
    assert SECRET_VARIABLES["AWS_ACCESS_KEY_ID"] == "BSS_S3_ACCESS_KEY_ID"
    assert SECRET_VARIABLES["MLFLOW_TRACKING_URI"] == "BSS_MLFLOW_TRACKING_URI"


def test_without_a_secret_the_environment_stays_as_it_is(within):
    assert within(WORKLOAD_IDENTITY) == WORKLOAD_IDENTITY
    person = {"AWS_ACCESS_KEY_ID": "id", "AWS_SESSION_TOKEN": "token", "MLFLOW_TRACKING_USERNAME": "me"}
    assert within(person, "http://given") == person


def test_credentials_of_the_object_store_are_no_mixture(within):
    pods = {"AWS_ACCESS_KEY_ID": "pod", "AWS_SECRET_ACCESS_KEY": "pod", "AWS_SESSION_TOKEN": "pod"}
    own = {"BSS_S3_ACCESS_KEY_ID": "own", "BSS_S3_SECRET_ACCESS_KEY": "own"}
    assert within(pods | own) == {"AWS_ACCESS_KEY_ID": "own", "AWS_SECRET_ACCESS_KEY": "own"}
    endpoint = within(WORKLOAD_IDENTITY | {"BSS_S3_ENDPOINT_URL": "http://store"})
    assert endpoint == WORKLOAD_IDENTITY | {"AWS_ENDPOINT_URL": "http://store"}


def test_the_secrets_mlflow_comes_before_that_of_the_plugin(within):
    assert within(PLUGIN | OWN_MLFLOW) == OWN_AS_READ


def test_an_address_that_is_given_takes_the_secrets_credentials_and_none_of_the_plugin(within):
    own = {name: value for name, value in OWN_MLFLOW.items() if not name.endswith("URI")}
    expected = {"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "secret"}
    assert within(PLUGIN | own, "http://given") == expected


def test_the_server_of_the_plugin_is_used_where_nobody_names_another_but_not_its_run(within):
    theirs = {name: value for name, value in PLUGIN.items() if name not in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID")}
    assert within(PLUGIN) == theirs
    assert within(PLUGIN | {"BSS_MLFLOW_TRACKING_PASSWORD": "for another server"}) == theirs
