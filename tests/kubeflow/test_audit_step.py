"""The step audit: its page in the Kubeflow UI, and that its artifacts are what the commands take."""

import shutil
from types import SimpleNamespace

import pytest
from conftest import small_tree

from bss.config import config_from_tree
from bss.data.decisions import dataset_of, write_decisions
from bss.data.store import Store
from bss.files import digest_json
from bss.kubeflow.audit_page import write_audit_page
from bss.kubeflow.parameters import stage_part
from bss.stages import audit as stage
from bss.stages.apply_audit import apply_audit
from bss.stages.prepare import prepare
from components.audit.component import audit as component

URI = "minio://mlpipeline/v2/artifacts/bss/run/audit/found"


def config_for(root, **changes):
    tree = small_tree(root)
    tree["audit"] = {"folds": 3, "seeds": [0], "epochs": 1} | changes
    return config_from_tree(tree, "params.yaml")


@pytest.fixture(scope="module")
def step(small_root, small_store, tmp_path_factory):
    """The folder with what the step writes: found, page and summary, and metadata of found."""
    folder = tmp_path_factory.mktemp("audit_step")
    found = SimpleNamespace(path=str(folder / "found"), uri=URI, metadata={})
    component.python_func(
        parameters=stage_part(config_for(small_root), "audit"),
        digest=digest_json("store"),
        store=SimpleNamespace(path=str(small_store)),
        found=found,
        page=SimpleNamespace(path=str(folder / "page")),
        summary=SimpleNamespace(path=str(folder / "summary")),
    )
    return folder, found.metadata


@pytest.mark.slow
def test_the_page_and_the_shares_are_shown(step):
    folder, metadata = step
    page = (folder / "page").read_bytes()
    assert page == (folder / "found" / "audit.html").read_bytes()
    assert b"data:image/webp;base64," in page  # a single file with its media
    assert (folder / "summary").read_text().startswith("# Audit\n\n| kind | share | 95 % from | to |")
    assert metadata == {"store_digest": digest_json("store")}


@pytest.mark.slow
def test_a_page_with_a_folder_of_media_is_named_instead(step, small_root, small_store, tmp_path, monkeypatch):
    folder = shutil.copytree(step[0] / "found", tmp_path / "found")
    monkeypatch.setattr(stage, "predict_part", lambda *job: pytest.fail("a network was trained again"))
    stage.audit(config_for(small_root, page="folder"), small_store, folder)
    write_audit_page(folder, URI, tmp_path / "page")
    text = (tmp_path / "page").read_text()
    assert f"the folder <code>{URI}</code>, and open <code>audit.html</code> in it" in text
    assert "The page about 66 samples" in text
    # As documented: the artifacts give the one file, from the kept predictions.
    stage.audit(config_for(small_root, page="file"), small_store, folder)
    assert (folder / "audit.html").read_bytes() == (step[0] / "page").read_bytes()
    stage.audit(config_for(small_root, page="none"), small_store, folder)
    write_audit_page(folder, URI, tmp_path / "page")
    assert "audit.page: none, so the audit wrote no page." in (tmp_path / "page").read_text()


@pytest.mark.slow
def test_decisions_go_from_the_artifacts_into_the_next_run(step, own_root, small_store, tmp_path):
    root, _ = own_root
    write_decisions(root / "decisions.csv", [("train-cat-0", "drop", "")], dataset_of(small_store))  # of the page
    apply_audit(config_for(root), small_store, step[0] / "found", 0.9)
    _, own = (root / "decisions.csv").read_text().splitlines()
    assert own.startswith("train-cat-0,drop,,")  # after an epoch no other is as likely wrong as that
    tree = small_tree(root)
    tree["prepare"]["decisions"] = "decisions.csv"
    prepare(config_from_tree(tree, "params.yaml"), root, tmp_path / "store")
    assert set(Store.open(small_store).ids) - set(Store.open(tmp_path / "store").ids) == {"train-cat-0"}
