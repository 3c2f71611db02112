"""The benchmark of repair: faults as planted, its table, and a run that resumes."""

import csv
from collections import Counter

import pytest

from benchmarks import repair_worth
from benchmarks.planted_faults import FAULTS, Fault, plant, with_fault
from bss.config.schema import DigitsConfig
from bss.data.builtin import digits

ROWS = [
    {"id": str(i), "label": str(i % 4), "split": split, "audio": f"wav/{i}", "image": f"png/{i}"}
    for i, split in enumerate(["train"] * 40 + ["val"] * 20 + ["test"] * 20)
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_as_many_samples_of_train_and_val_as_planned_get_the_fault_and_no_others(fault):
    changed, truth = with_fault(ROWS, fault, ("audio", "image"))
    label_of = {row[name]: row["label"] for row in ROWS for name in ("audio", "image")}
    split_of = {row[name]: row["split"] for row in ROWS for name in ("audio", "image")}
    wrong = Counter()
    for before, after, known in zip(ROWS, changed, truth, strict=True):
        if known["kind"] == "clean":
            assert after == before
            continue
        wrong[before["split"]] += 1
        name = "label" if fault.kind == "label" else known["modality"]
        assert {key for key in before if before[key] != after[key]} == {name}
        shown = after["label"] if name == "label" else label_of[after[name]]
        assert shown == known["other_label"] != before["label"]
        assert name == "label" or split_of[after[name]] == before["split"]
    assert wrong == Counter({"train": round(40 * fault.share), "val": round(20 * fault.share)})


def test_files_stay_where_they_are(tmp_path):
    root = tmp_path / "root"
    (root / "wav").mkdir(parents=True)
    with (root / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(ROWS[0]))
        writer.writeheader()
        writer.writerows(ROWS)
    plant(root, Fault("label", 0.1), ("audio",), tmp_path / "planted")
    assert (tmp_path / "planted" / "wav").resolve() == root / "wav"
    assert sorted(path.name for path in (tmp_path / "planted").iterdir()) == ["manifest.csv", "truth.csv", "wav"]


def test_the_table_compares_with_uniform_and_with_the_ceiling():
    def trials(*accuracies):
        return [{"test/acc": x / 100, "last/test_acc": x / 100, "steps": 10} for x in accuracies]

    found = {
        "clean": {"uniform": trials(95, 95)},
        "label-10": {"uniform": trials(90, 92), "repair": trials(92, 94)},
    }
    assert repair_worth.table(found) == [
        ["clean", "uniform", "95.00", "", "", "", "95.00", "10"],
        ["label-10", "uniform", "91.00", "", "", "", "91.00", "10"],
        ["label-10", "repair", "93.00", "+2.00 [2.00, 2.00]", "0.500", "50 % of 4.00", "93.00", "10"],
    ]


@pytest.mark.slow
def test_it_runs_and_keeps_what_is_finished(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(digits, "SHARES", {"train": 120, "val": 60, "test": 40})
    digits.write_digits(DigitsConfig(contradicting=0.0), tmp_path / "root")
    small = ["train.epochs=3", "train.decay.at=[2]", "measure.warmup_epochs=1", "audit.folds=2", "audit.epochs=1"]
    command = [str(tmp_path / "kept"), "--root", str(tmp_path / "root"), "--faults", "contradicting-40"]
    command += [part for text in [*small, "audit.seeds=[0]"] for part in ("--set", text)]
    repair_worth.main([*command, "--seeds", "1"])
    first = capsys.readouterr().out.splitlines()[-len(repair_worth.ROWS) :]
    assert [line.split(" | ")[1] for line in first] == list(repair_worth.ROWS)
    steps = [int(line.split(" | ")[-1].rstrip(" |")) for line in first]
    assert steps[0] == 3 * 4
    assert all(abs(count - steps[0]) <= 2 for count in steps)  # the closest that whole epochs come
    models = {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").rglob("model.pt")}
    assert len(models) == len(repair_worth.ROWS)
    repair_worth.main([*command, "--seeds", "1"])
    assert capsys.readouterr().out.splitlines()[-len(first) :] == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").rglob("model.pt")} == models
