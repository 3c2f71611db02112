"""A pipeline run whose data are on S3: known by their listing, read with the secret's credentials inside the step."""

import json
import os
from types import SimpleNamespace

import pytest
from buckets import administrator
from embedded_data import make_parameters, prepared, table, write_table

from bss.config import config_to_tree
from bss.data.store import Store
from bss.errors import BssError
from bss.kubeflow.data import data_tags, find_data, raw_data
from bss.kubeflow.start import resolve, resolve_config
from bss.remote.fetch import DataVersion
from components.prepare.component import prepare as component
from pipelines.submit import run_arguments

pytestmark = pytest.mark.process

URL = "s3://in-pods/raw/birds"


@pytest.fixture
def local(aws, tmp_path):
    """The data on S3 and, the same, in a folder of this machine."""
    root = tmp_path / "birds"
    root.mkdir()
    write_table(root / "m.parquet", table())
    client = administrator(aws)
    client.create_bucket(Bucket="in-pods")
    client.put_object(Bucket="in-pods", Key="raw/birds/m.parquet", Body=(root / "m.parquet").read_bytes())
    yield root
    client.delete_object(Bucket="in-pods", Key="raw/birds/m.parquet")
    client.delete_bucket(Bucket="in-pods")


@pytest.fixture
def params(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(json.dumps(config_to_tree(make_parameters(URL, "m.parquet"))))
    return path


def as_pods_have_them(monkeypatch):
    """Give the credentials the names that they have in a pod, of which the launcher knows nothing."""
    for name in [name for name in os.environ if name.startswith("AWS_") and not name.endswith("_FILE")]:
        monkeypatch.setenv(f"BSS_S3_{name.removeprefix('AWS_')}", os.environ[name])
        monkeypatch.delenv(name)


def test_the_step_reads_s3_with_the_credentials_of_the_secret(local, params, tmp_path, monkeypatch):
    arguments = run_arguments(params, ["generate={}"], [], [], ("", "", ""), "")
    config = resolve_config(*(arguments[name] for name in ("parameters", "overrides", "schedulers", "seeds")))
    version = find_data(config, "", "", "")
    assert (version.repository, version.path) == ("", URL)
    assert data_tags(version, "") == {"bss.data_path": URL, "bss.data_digest": version.digest}
    resolved = resolve(config, version)
    assert json.loads(resolved.prepare)["prepare"]["root"] == URL
    as_pods_have_them(monkeypatch)
    store = SimpleNamespace(path=str(tmp_path / "store"), metadata={})
    summary = SimpleNamespace(path=str(tmp_path / "summary.md"))
    place = {"data_repository": "", "data_revision": "", "data_path": "", "data_digest": version.digest}
    found = component.python_func(resolved.prepare, **place, shard=0, shards=1, store=store, summary=summary)
    assert found == (Store.open(tmp_path / "store").digest,)
    assert found == (prepared(local, "m.parquet", tmp_path / "local").digest,)
    assert store.metadata["data_digest"] == version.digest
    assert "AWS_ENDPOINT_URL" not in os.environ


def test_objects_that_changed_since_the_start_are_refused(local, params, aws):
    config = resolve_config(params.read_text(), [], [], [])
    version = find_data(config, "", "", "")
    with raw_data(config, "", "", "", version.digest) as root:
        assert (root / "m.parquet").read_bytes() == (local / "m.parquet").read_bytes()
    administrator(aws).put_object(Bucket="in-pods", Key="raw/birds/m.parquet", Body=b"other")
    assert find_data(config, "", "", "").digest != version.digest
    with (
        pytest.raises(BssError, match=f"{URL}: its objects have changed since this run started"),
        raw_data(config, "", "", "", version.digest),
    ):
        pass


def test_a_repository_comes_before_the_root_in_the_parameters(params):
    config = resolve_config(params.read_text(), [], [], [])
    version = DataVersion("https://example.org/data.git", "1" * 40, "data/birds", "d" * 32)
    assert resolve(config, version).config.prepare.root == "birds"
