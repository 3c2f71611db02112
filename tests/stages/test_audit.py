"""The audit as a stage, on the small data: what it writes, that it resumes, and the decisions that follow."""

import csv
import shutil

import conftest
import numpy as np
import pytest
import soundfile
from conftest import small_tree, write_manifest
from ruamel.yaml import YAML

from bss.audit import predictions
from bss.audit.results import audit_files
from bss.cli import main
from bss.config import config_from_tree
from bss.data.decisions import summarise
from bss.data.store import Store
from bss.data.tables import read_table
from bss.errors import BssError
from bss.files import digest_file, read_json
from bss.report.verdicts import cautions
from bss.stages import audit as stage
from bss.stages.apply_audit import apply_audit
from bss.stages.audit import audit
from bss.stages.prepare import prepare

CONTRADICTING = {
    f"train-{own}-{20 + i}": [name for name in conftest.CLASSES if name != own][i % 2]
    for own in conftest.CLASSES
    for i in range(4)
}
"""Samples and the class of their sound. Each pair of classes has few: many would be another sound of the class."""


def config_for(root, **changes):
    tree = small_tree(root)
    tree["audit"] = {"folds": 3, "seeds": [0, 1], "epochs": 12, **changes}
    return config_from_tree(tree, "params.yaml")


def tree_of_faulty(root):
    """Parameters with which the heads are sure; published, because the honest protocol refuses the leak."""
    tree = small_tree(root) | {"protocol": "published", "audit": {"folds": 3, "seeds": [0, 1], "epochs": 12}}
    tree["train"]["optimiser"] = {"kind": "adam", "learning_rate": 0.01}
    return tree


def rows_of(folder):
    with (folder / "audit.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """Data with 4 wrong labels, 12 contradicting pairs, one silent sound and one leak; its root, store and audit."""
    root = tmp_path_factory.mktemp("faulty") / "pets"
    root.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conftest, "PER_SPLIT", {"train": 60, "val": 6, "test": 6})
        rows = conftest.make_rows(root)
    by_id = {row["id"]: row for row in rows}
    for i in range(4):
        by_id[f"train-cat-{i}"]["label"] = "owl"
    for name, other in CONTRADICTING.items():
        by_id[name]["audio"] = f"train-{other}-{name[-2:]}.wav"
    soundfile.write(root / "train-dog-19.wav", np.zeros(800), 4000, subtype="PCM_16")
    for end in ("wav", "png", "npy"):
        shutil.copy(root / f"train-owl-7.{end}", root / f"test-owl-0.{end}")
    write_manifest(root, rows)
    tree = tree_of_faulty(root)
    config = config_from_tree(tree, "params.yaml")
    store, folder = root.parent / "store", root.parent / "audit"
    prepare(config, root, store)
    audit(config, store, folder)
    return root, config, store, folder


@pytest.mark.slow
def test_the_faults_are_found_and_named(faulty):
    _, _, _, folder = faulty
    by_id = {row["id"]: row for row in rows_of(folder)}
    assert len(by_id) == 180 + 18
    for i in range(4):
        row = by_id[f"train-cat-{i}"]
        assert (row["kind"], row["blame"]) == ("label", "")
        assert (row["suggested"], row["audio_shows"], row["image_shows"]) == ("cat", "cat", "cat")
    for name, other in CONTRADICTING.items():
        row = by_id[name]
        assert (row["kind"], row["blame"], row["audio_shows"]) == ("contradiction", "audio", other)
    silent = by_id["train-dog-19"]
    assert (silent["kind"], silent["blame"]) == ("empty", "audio")
    assert float(silent["audio_level_dbfs"]) == -120
    copy = by_id["train-owl-7"]
    assert (copy["kind"], copy["duplicate_of"], copy["leakage"]) == ("duplicate", "test-owl-0", "True")
    wrong = {*(f"train-cat-{i}" for i in range(4)), *CONTRADICTING, "train-dog-19"}
    ranking = [row["id"] for row in rows_of(folder)]
    assert set(ranking[:17]) == wrong
    assert ranking[17] == "train-owl-7"  # a leak comes before all that is likely clean


@pytest.mark.slow
def test_the_table_is_complete_and_the_same_in_both_files(faulty):
    _, _, store, folder = faulty
    rows, table = rows_of(folder), read_table(folder / "audit.parquet", "audit").to_pylist()
    assert list(rows[0]) == list(table[0])
    for row, stored in zip(rows, table, strict=True):
        assert row["id"] == stored["id"]
        parts = [value for name, value in stored.items() if name.startswith("p_")]
        assert sum(parts) == pytest.approx(1)
        assert stored["probability"] == pytest.approx(1 - stored["p_clean"])
        assert float(row["probability"]) == pytest.approx(stored["probability"], rel=1e-5, abs=1e-12)
    data = Store.open(store)
    labels = dict(zip(data.ids.tolist(), (data.classes[label] for label in data.labels), strict=True))
    assert all(row["class"] == labels[row["id"]] for row in rows)


@pytest.mark.slow
def test_the_summary_has_shares_with_intervals_and_provenance(faulty):
    _, _, store, folder = faulty
    summary = read_json(folder / "audit.json", "audit")
    assert summary["samples"] == {"train": 180, "val": 18, "test": 0}
    kinds = summary["kinds"]
    assert sum(kinds[kind]["share"] for kind in ("clean", "contradiction", "label", "empty")) == pytest.approx(1)
    assert all(found["low"] <= found["share"] <= found["high"] for found in kinds.values())
    assert kinds["duplicate"]["share"] == pytest.approx(1 / 198)
    assert summary["leaks"] == 1
    assert summary["table"] == digest_file(folder / "audit.parquet")
    assert summary["provenance"]["inputs"]["store"] == Store.open(store).digest
    assert (summary["seeds"], summary["folds"]) == ([0, 1], 3)


@pytest.mark.process
def test_an_audit_resumes_and_its_bytes_depend_neither_on_that_nor_on_the_number_of_processes(faulty, tmp_path):
    root, _, store, folder = faulty
    tree = tree_of_faulty(root)
    tree["resources"]["jobs"] = 2
    again = tmp_path / "audit"
    shutil.copytree(folder / "predictions", again / "predictions")
    shutil.rmtree(again / "predictions" / "seed=1" / "fold=0")
    (again / "predictions" / "seed=0" / "fold=2" / "key.json").write_text("{}")
    (again / "predictions" / "seed=7" / "fold=0").mkdir(parents=True)
    times = {p: p.stat().st_mtime_ns for p in (again / "predictions" / "seed=0" / "fold=0").iterdir()}
    audit(config_from_tree(tree, "params.yaml"), store, again)
    for name in ("audit.csv", "audit.parquet", "audit.json"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()
    assert {p: p.stat().st_mtime_ns for p in (again / "predictions" / "seed=0" / "fold=0").iterdir()} == times
    assert not (again / "predictions" / "seed=7").exists()


@pytest.mark.slow
def test_a_stopped_audit_keeps_its_finished_networks(faulty, tmp_path, monkeypatch):
    _, config, store, folder = faulty
    done = []

    def stop_at_the_third(*job):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(predictions.predict_part(*job))
        return done[-1]

    monkeypatch.setattr(stage, "predict_part", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        audit(config, store, tmp_path / "audit")
    monkeypatch.setattr(stage, "predict_part", lambda *job: done.append(1) or predictions.predict_part(*job))
    audit(config, store, tmp_path / "audit")
    assert len(done) == 6
    assert (tmp_path / "audit" / "audit.parquet").read_bytes() == (folder / "audit.parquet").read_bytes()


@pytest.mark.slow
def test_no_network_sees_a_group_of_what_it_predicts_and_test_is_judged_without_being_trained_on(
    small_root, small_store, tmp_path, monkeypatch
):
    config, seen = config_for(small_root, splits=["train", "test"], epochs=1, seeds=[0]), []
    monkeypatch.setattr(
        stage,
        "predict_part",
        lambda config, store, part: seen.append(part) or predictions.predict_part(config, store, part),
    )
    audit(config, small_store, tmp_path / "audit")
    data = Store.open(small_store)
    groups = np.array(data.groups)
    assert len(seen) == 3
    for part in seen:
        assert not set(groups[part.trains]) & set(groups[part.predicts])
        assert set(data.splits[part.trains]) == {"train", "val"}
        assert set(data.rows("test")) <= set(part.predicts)
        assert "val" not in data.splits[part.predicts]
    rows = rows_of(tmp_path / "audit")
    assert {row["split"] for row in rows} == {"train", "test"}
    assert len(rows) == 48 + 18


@pytest.mark.slow
def test_only_an_audit_of_the_same_store_is_given_on(faulty, small_store, tmp_path):
    _, _, store, folder = faulty
    names = ("audit.json", "audit.csv", "audit.parquet", "audit.html")
    assert audit_files(folder, Store.open(store)) == {name: folder / name for name in names}
    assert audit_files(folder, Store.open(small_store)) == {}
    assert audit_files(tmp_path, Store.open(store)) == {}
    torn = shutil.copytree(folder, tmp_path / "torn", ignore=shutil.ignore_patterns("predictions"))
    (torn / "audit.parquet").write_bytes(b"of another audit")
    assert audit_files(torn, Store.open(store)) == {}


def test_more_folds_than_groups_and_heads_without_a_loss_are_errors(small_root, small_store, tmp_path):
    with pytest.raises(BssError, match=r"audit.folds: 7, but train and val are 6 independent parts"):
        audit(config_for(small_root, folds=7), small_store, tmp_path / "audit")
    tree = small_tree(small_root)
    tree["network"]["loss_weights"] = {"fused": 1.0, "unimodal": 0.0}
    tree |= {"combinations": ["uniform"], "compare": {"baseline": "uniform"}}  # scores need trained heads
    with pytest.raises(BssError, match=r"loss_weights.unimodal: is 0, so the unimodal heads are untrained"):
        audit(config_from_tree(tree, "params.yaml"), small_store, tmp_path / "audit")


@pytest.mark.slow
def test_applying_an_audit_writes_decisions_that_prepare_takes(faulty, tmp_path):
    root, config, store, folder = faulty
    apply_audit(config, store, folder, 0.5)
    path = root / "decisions.csv"
    with path.open(newline="", encoding="utf-8") as file:
        decided = {row["id"]: (row["decision"], row["value"]) for row in csv.DictReader(file)}
    for i in range(4):
        assert decided[f"train-cat-{i}"] == ("relabel", "cat")
    for name in (*CONTRADICTING, "train-dog-19"):
        assert decided[name] == ("ignore", "audio")
    assert decided["train-owl-7"] == ("drop", "")
    # A decision of one's own stays, whatever the audit says.
    changed = path.read_text().replace("train-cat-0,relabel,cat", "train-cat-0,keep,")
    path.write_text(changed)
    apply_audit(config, store, folder, 0.5)
    expected = [line for line in changed.splitlines() if not line.startswith("train-cat-0")]
    lines = path.read_text().splitlines()
    assert sorted(line for line in lines if not line.startswith("train-cat-0")) == sorted(expected)
    assert lines[1].startswith("train-cat-0,keep,,")
    tree = tree_of_faulty(root)
    tree["prepare"]["decisions"] = "decisions.csv"
    prepare(config_from_tree(tree, "params.yaml"), root, tmp_path / "store")
    after = Store.open(tmp_path / "store")
    assert "train-owl-7" not in after.ids
    labels = dict(zip(after.ids.tolist(), after.labels.tolist(), strict=True))
    assert [after.classes[labels[f"train-cat-{i}"]] for i in range(4)] == ["owl", "cat", "cat", "cat"]
    # The audit is of the store before the decisions.
    with pytest.raises(BssError, match=r"is an audit of another store, not of .*Run `bss audit` again"):
        apply_audit(config_from_tree(tree, "params.yaml"), tmp_path / "store", folder, 0.5)
    path.unlink()


@pytest.mark.slow
def test_the_commands_audit_if_asked_or_enabled_and_write_decisions(faulty, tmp_path, monkeypatch, capsys):
    root, _, store, folder = faulty
    monkeypatch.chdir(tmp_path)
    tree = tree_of_faulty(root)
    YAML().dump(tree, tmp_path / "params.yaml")
    shutil.copytree(store, "outputs/store")
    assert main(["audit", "--if-enabled"]) == 0
    assert capsys.readouterr().out == "audit: off (audit.enabled in params.yaml)\n"
    (note,) = (tmp_path / "outputs" / "audit").iterdir()  # DVC warns about an empty folder
    assert note.read_text().startswith("There is no audit: audit.enabled in params.yaml is false.")
    assert audit_files(note.parent, Store.open(store)) == {}
    shutil.copytree(folder / "predictions", "outputs/audit/predictions")
    assert main(["audit"]) == 0
    assert "6 networks, 6 kept" in capsys.readouterr().out
    assert not note.exists()
    assert main(["audit", "--if-enabled", "--set", "audit.enabled=true"]) == 0
    assert main(["audit", "--if-enabled"]) == 0  # an earlier audit stays
    assert not note.exists()
    assert (tmp_path / "outputs" / "audit" / "audit.csv").read_bytes() == (folder / "audit.csv").read_bytes()
    assert main(["audit", "--apply", "0.9"]) == 0
    assert "To use them, set prepare.decisions: decisions.csv" in capsys.readouterr().out
    (root / "decisions.csv").unlink()


@pytest.mark.parametrize("text", ["0", "1", "1.5", "nan", "abc", "-0.1"])
def test_a_threshold_is_a_probability(text, capsys):
    with pytest.raises(SystemExit):
        main(["audit", f"--apply={text}"])
    assert f"--apply: must be a probability between 0 and 1, but got: {text}" in capsys.readouterr().err


def test_applying_the_last_audit_is_not_auditing_if_enabled(capsys):
    with pytest.raises(SystemExit):
        main(["audit", "--apply", "0.9", "--if-enabled"])
    assert "--if-enabled: not allowed with argument --apply" in capsys.readouterr().err


def test_the_report_says_what_was_decided_in_test(pipeline, own_root, tmp_path):
    folder, _ = pipeline
    root, _ = own_root
    tree = small_tree(root)
    (root / "decisions.csv").write_text("id,decision,value\ntest-cat-1,keep,\ntest-cat-2,drop,\ntrain-cat-1,drop,\n")
    tree["prepare"] |= {"decisions": "decisions.csv", "decide_test": True}

    prepare(config_from_tree(tree, "params.yaml"), root, tmp_path / "store")
    decided = summarise(tmp_path / "store" / "decisions.csv")
    assert decided == {"test": {"drop": 1}, "train": {"drop": 1}}
    comparison = read_json(folder / "report" / "comparison.json", "compare")
    assert not any("Decisions" in line for line in cautions(comparison))
    (line,) = [line for line in cautions(comparison | {"decisions": decided}) if "Decisions" in line]
    assert line.startswith("Decisions changed test samples (1 drop): comparable only with")
