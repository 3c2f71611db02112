"""The benchmark of the audit: files as altered, values by hand, and a run that resumes."""

import csv
import json
import wave
from collections import Counter
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from benchmarks import audit_detection, planted_faults
from benchmarks.altered_files import altered_picture, altered_sound
from benchmarks.detection_scores import best_of, calibration, share_right, suspicions_of_training, worth
from benchmarks.planted_faults import Fault, plant, with_altered_files
from benchmarks.reliability_plot import draw, pooled
from bss.config.schema import DigitsConfig
from bss.data.builtin import digits
from bss.errors import BssError

ROWS = [
    {"id": str(i), "label": str(i % 4), "split": split, "group": "a", "audio": f"wav/{i}.wav", "image": f"png/{i}.png"}
    for i, split in enumerate(["train"] * 40 + ["val"] * 20 + ["test"] * 20)
]
TONE = np.rint(3000 * np.sin(np.arange(4000) / 3)).astype(np.int16)
HALVES = np.repeat(np.array([[0, 200]], dtype=np.uint8), 28, axis=0).repeat(14, axis=1)


@pytest.mark.parametrize("kind", ["silenced", "noise"])
def test_one_modality_of_as_many_samples_as_planned_is_altered(kind):
    changed, truth, files = with_altered_files(ROWS, Fault(kind, 0.1), ("audio", "image"))
    wrong = [
        (before, after, known) for before, after, known in zip(ROWS, changed, truth, strict=True) if before != after
    ]
    assert Counter(before["split"] for before, _, _ in wrong) == {"train": 4, "val": 2}
    for before, after, known in wrong:
        name = known["modality"]
        assert {key for key in before if before[key] != after[key]} == {name}
        assert (before[name], after[name]) in files
        assert (known["id"], known["kind"], known["other_label"]) == (before["id"], kind, "")
    assert sum(row["kind"] != "clean" for row in truth) == len(files) == 6


def test_a_duplicate_in_val_has_the_label_and_copies_of_all_modalities_of_a_sample_of_train():
    changed, truth, files = with_altered_files(ROWS, Fault("duplicate", 0.4), ("audio", "image"))
    source_of = {name: source for source, name in files}
    copies = [row for row in changed if row["audio"] in source_of]
    sources = [next(r for r in ROWS if r["audio"] == source_of[row["audio"]]) for row in copies]
    assert len({row["id"] for row in sources}) == len(copies) == 8
    for copy, source in zip(copies, sources, strict=True):
        assert (copy["split"], source["split"]) == ("val", "train")
        assert copy["label"] == source["label"]
        assert source_of[copy["image"]] == source["image"]
    assert {row["id"] for row in truth if row["kind"] == "duplicate"} == {row["id"] for row in [*copies, *sources]}


def test_altered_inputs():
    random = np.random.default_rng(0)
    silence, noise, copy = (altered_sound(TONE, kind, random) for kind in ("silenced", "noise", "duplicate"))
    assert set(silence) == {-1, 0, 1}
    assert np.abs(noise).max() == round(0.9 * 32_767)
    assert np.corrcoef(noise, TONE)[0, 1] == pytest.approx(1 / np.sqrt(1 + 10**2), abs=0.04)
    assert np.corrcoef(copy, TONE)[0, 1] == pytest.approx(1 / np.sqrt(1 + 0.01**2), abs=1e-4)
    assert copy.std() == pytest.approx(0.8 * TONE.std(), rel=0.01)
    black, drowned, dark = (altered_picture(HALVES, kind, random) for kind in ("silenced", "noise", "duplicate"))
    assert set(black.flat) == {0, 1}
    assert (drowned.min(), drowned.max()) == (0, 255)
    assert abs(np.corrcoef(drowned.flat, HALVES.flat)[0, 1]) < 0.2
    assert int(dark[0, -1]) == pytest.approx(160, abs=4)


def data(folder):
    for name in ("wav", "png"):
        (folder / name).mkdir(parents=True)
    for row in ROWS:
        with wave.open(str(folder / row["audio"]), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", "not compressed"))
            file.writeframes(TONE.tobytes())
        Image.fromarray(HALVES).save(folder / row["image"])
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(ROWS[0]))
        writer.writeheader()
        writer.writerows(ROWS)
    return folder


def test_altered_files_go_beside_the_others_and_an_interruption_leaves_nothing(tmp_path, monkeypatch):
    root = data(tmp_path / "root")
    plant(root, Fault("silenced", 0.1), ("audio", "image"), tmp_path / "silent", groups=False)
    with (tmp_path / "silent" / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert "group" not in rows[0]
    altered = [row[name] for row in rows for name in ("audio", "image") if row[name].startswith("altered/")]
    assert len(altered) == 6
    assert {path.suffix for path in (tmp_path / "silent" / "altered").iterdir()} == {".wav", ".png"}
    for name in altered:
        path = tmp_path / "silent" / name
        if path.suffix == ".png":
            assert np.asarray(Image.open(path)).max() == 1
        else:
            with wave.open(str(path)) as file:
                assert (file.getframerate(), file.getnframes()) == (8000, len(TONE))

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(planted_faults, "write_altered", interrupted)
    with pytest.raises(KeyboardInterrupt):
        plant(root, Fault("noise", 0.1), ("audio", "image"), tmp_path / "noise")
    assert not (tmp_path / "noise").exists()


def test_what_a_suspicion_is_worth():
    faulty = np.array([True, False, True, False])
    first, second = np.array([4.0, 3.0, 2.0, 1.0]), np.array([4.0, 1.0, 3.0, 2.0])
    assert worth(first, faulty) == {"ap": pytest.approx((1 + 2 / 3) / 2), "precision": 0.5}
    assert worth(np.array([0.0, 1.0, 0.0, 0.0]), faulty) == {
        "ap": pytest.approx(0.5),
        "precision": pytest.approx(1 / 3),
    }
    assert best_of({"first": first, "second": second}, faulty)[0] == "second"
    brier, bins = calibration(np.array([1.0, 0.05, 0.95, 0.15]), faulty)
    assert brier == pytest.approx((0.05**2 * 2 + 0.15**2) / 4)
    assert [row[0] for row in bins] == [1, 1, 0, 0, 0, 0, 0, 0, 0, 2]
    assert bins[9] == [2, pytest.approx(0.975), 1.0]
    assert share_right(["a", "b", "c"], ["a", "a", "c"], np.array([True, True, False])) == 0.5
    assert share_right(["a"], ["a"], np.array([False])) is None


def test_the_reliability_of_several_cells_together(tmp_path):
    cell = [[0, 0.0, 0.0]] * 10
    first, second = [*cell[:9], [3, 0.95, 1.0]], [[4, 0.01, 0.0], *cell[:8], [1, 0.99, 0.0]]
    bins = pooled([first, second])
    assert bins == [(0, 4, 0.01, 0.0), (9, 4, pytest.approx((3 * 0.95 + 0.99) / 4), 0.75)]
    assert audit_detection.reliability(bins)[1] == ["0.9 to 1.0", "4", "0.960", "0.750"]
    assert pooled([]) == []
    draw(bins, tmp_path / "reliability.svg")
    drawing = ElementTree.parse(tmp_path / "reliability.svg")
    points = drawing.findall(".//*[@id='bins']//{http://www.w3.org/2000/svg}path")  # circles of one size
    (x0, y0), (x1, y1) = ([float(number) for number in point.get("d").split()[1:3]] for point in points)
    assert (y0 - y1) / (x1 - x0) == pytest.approx(0.75 / 0.95, rel=1e-4)  # the axes have one scale, and y points down
    before = (tmp_path / "reliability.svg").read_bytes()
    draw(bins, tmp_path / "reliability.svg")
    assert (tmp_path / "reliability.svg").read_bytes() == before


def test_suspicions_of_training():
    sure = np.log(np.array([[0.9, 0.1], [0.9, 0.1]], dtype=np.float32))
    other = np.log(np.array([[0.9, 0.1], [0.1, 0.9]], dtype=np.float32))
    found = suspicions_of_training({"audio": sure, "image": other}, sure, np.array([0, 0]))
    assert found["loss"] == pytest.approx([-3 * np.log(0.9), -2 * np.log(0.9) - np.log(0.1)], rel=1e-5)
    assert found["similarity"] == pytest.approx([-1, -0.18 / 0.82], rel=1e-5)
    assert found["balance score"] == pytest.approx([-1, 1])


def test_without_a_probability_nothing_is_measured(tmp_path, monkeypatch, capsys):
    assert audit_detection.numbers([0.25, 1], ["a", "b"]).tolist() == [0.25, 1]
    for missing in (None, float("nan")):
        with pytest.raises(BssError, match=r"^1 of 3 samples have no probability, such as b: the fit"):
            audit_detection.numbers([0.5, missing, 0], ["a", "b", "c"])

    def measured(cell):
        return {"clean_above": audit_detection.numbers([None], ["a"])[0]}

    monkeypatch.setattr(audit_detection, "find_spec", lambda name: True)
    monkeypatch.setattr(audit_detection.Cell, "measured", measured)
    with pytest.raises(SystemExit, match="1"):
        audit_detection.main([str(tmp_path), "--root", str(tmp_path), "--kinds", "clean"])
    assert capsys.readouterr().err.startswith("audit_detection: clean: 1 of 1 samples have no probability, such as a:")


@pytest.mark.slow
def test_it_runs_and_keeps_what_is_finished(tmp_path, monkeypatch, capsys):
    pytest.importorskip("cleanlab")
    monkeypatch.setattr(digits, "SHARES", {"train": 120, "val": 60, "test": 40})
    digits.write_digits(DigitsConfig(contradicting=0.0), tmp_path / "root")
    command = [str(tmp_path / "kept"), "--root", str(tmp_path / "root"), "--without-groups", "--seeds", "0"]
    command += ["--shares", "40", "--kinds", "clean", "silenced", "duplicate"]
    command += [part for text in ("audit.folds=2", "audit.epochs=1") for part in ("--set", text)]
    audit_detection.main(command)
    first = capsys.readouterr().out
    assert first.splitlines()[-1].startswith("clean: ")
    assert first.count("\n| silenced-40 | ") == first.count("\n| duplicate-40 | ") == 2  # ranks, and verdicts
    silenced = json.loads((tmp_path / "kept" / "silenced-40" / "cell.json").read_text())
    assert (silenced["samples"], silenced["faulty"]) == (180, 72)
    assert silenced["columns"]["audit"]["ap"] > 0.9  # by the facts of the inputs, after one epoch
    copied = json.loads((tmp_path / "kept" / "duplicate-40" / "cell.json").read_text())
    assert copied["faulty"] == 2 * 24
    assert copied["found"] == copied["columns"]["copies"]["precision"] == 1.0
    assert (tmp_path / "kept" / "reliability.svg").is_file()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").glob("*/cell.json")}
    audit_detection.main(command)
    assert capsys.readouterr().out == first
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
