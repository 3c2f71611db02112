"""A pipeline run that is compared with an earlier one, whose report is on the object store."""

import json
import re
from types import SimpleNamespace

import pytest
from buckets import bucket_fixture

from bss.config import BUILTIN
from bss.errors import BssError
from bss.files import digest_json, read_json
from bss.kubeflow.before import earlier_comparison
from bss.kubeflow.parameters import config_to_json
from bss.remote.fetch import DataVersion
from components.compare.component import compare
from components.start.component import start

pytestmark = pytest.mark.process

PREFIX = "v2/artifacts/bss/run/compare/report"
client = bucket_fixture("earlier")


@pytest.fixture
def report(pipeline, client):
    """The URL of the small data's report, as an artifact."""
    for path in (pipeline[0] / "report").glob("*.json"):
        client.put_object(Bucket="earlier", Key=f"{PREFIX}/{path.name}", Body=path.read_bytes())
    return f"s3://earlier/{PREFIX}"


def test_the_step_compare_has_before_and_after(report, pipeline, make_config, tree, small_store, tmp_path):
    folder, _ = pipeline
    compare.python_func(
        parameters=config_to_json(make_config(tree | {"tracking": {"enabled": False}})),
        data=json.dumps(vars(DataVersion("", "", "digits", digest_json("data")))),
        mlflow_tracking_uri="",
        store=SimpleNamespace(path=str(small_store)),
        scores=SimpleNamespace(path=str(folder / "scores")),
        plans=SimpleNamespace(path=str(folder / "plans")),
        models=[SimpleNamespace(path=str(folder / "runs"))],
        report=SimpleNamespace(path=str(tmp_path / "report")),
        page=SimpleNamespace(path=str(tmp_path / "page")),
        metrics=SimpleNamespace(log_metric=lambda name, value: None),
        before=report.replace("s3://", "minio://"),
    )
    found = read_json(tmp_path / "report" / "comparison.json", "compare")["before"]
    assert {name: entry["difference"] for name, entry in found["schedulers"].items()} == dict.fromkeys(
        tree["schedule"]["schedulers"], 0
    )
    assert found["same_decisions"]
    assert "Before and after have the same decisions." in (tmp_path / "page").read_text()


@pytest.mark.parametrize(
    ("before", "message"),
    [
        ("outputs/report", "before: outputs/report: must be the folder of an earlier report on the object store"),
        ("s3://earlier/v2", "before: s3://earlier/v2: has no comparison.json"),
        ("s3://earlier/v3", "s3://earlier/v3: there is no object below this prefix"),
        (
            f"s3://earlier/{PREFIX}",
            f"s3://earlier/{PREFIX}/comparison.json: has the protocol honest, but",
        ),
    ],
)
def test_the_step_start_refuses_what_compare_could_not_take(before, message, report, capsys):
    nothing = {"schedulers": [], "seeds": [], "strategies": [], "mlflow_tracking_uri": "", "image": "none"}
    overrides = ["tracking.enabled=false", "protocol=published"]
    place = {"data_repository": "", "data_revision": "", "data_path": ""}
    with pytest.raises(SystemExit):
        start.python_func(
            parameters=BUILTIN.read_text(), overrides=overrides, **nothing, **place, gpus=0, nodes=1,
            audits=False, before=before,
        )  # fmt: skip
    assert f"bss: {message}" in capsys.readouterr().err


def test_the_file_is_temporary_and_no_url_means_no_file(report):
    with earlier_comparison("") as path:
        assert path is None
    with earlier_comparison(f"{report}/comparison.json") as path:
        assert path.name == "comparison.json"
    assert not path.exists()
    with pytest.raises(BssError, match=re.escape(f"{report}/comparison.json: no")), earlier_comparison(report) as path:
        raise BssError(f"{path}: no")
