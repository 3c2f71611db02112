"""Every benchmark runs, compares what it says, and is written down; nothing here asserts on time."""

import copy
import importlib
import json
import re

import pytest

from benchmarks import (
    balance_cost,
    data_path,
    frozen_features,
    growth,
    overheads,
    record,
    reference_loop,
    sequences,
    strategy_cost,
    training_length,
)
from benchmarks.comparison import Line, interleave
from benchmarks.crema import Shape, write_folder
from benchmarks.record import PROJECT, write_page
from benchmarks.reference import Folder
from bss.config import BUILTIN
from bss.config.load import apply_override, read_yaml

TINY = Shape(seconds=0.6, height=40, width=48, crop=36, channels=2)
SMALLEST = {
    sequences: "--sizes 1000 5000 --repetitions 2 --threads 1",
    balance_cost: "--samples 24 --epochs 1 --repetitions 1 --batch-size 8 --channels 2",
    reference_loop: "--train 12 --test 6 --epochs 1 --repetitions 1 --batch-size 6 --workers 1 --curve-samples 18 "
    "--curve-epochs 1 --curve-seeds 1",
    data_path: "--samples 12 --batch-size 6 --steps 1 --workers 1 --repetitions 1",
    growth: "--sizes 64 --large 1000 2000 --wide 32",
    frozen_features: "--samples 8 --batch-size 4 --repetitions 1 --side 32 --hidden 64 --layers 1",
    strategy_cost: "--samples 12 --repetitions 1 --batch-size 6 --channels 2",
    overheads: "--repetitions 1 --samples 36 --epochs 2",
}


@pytest.mark.process
@pytest.mark.parametrize("module", SMALLEST, ids=lambda module: module.BENCHMARK.name)
def test_a_benchmark_measures_both_sides_and_writes_its_table(module, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(reference_loop, "FULL", TINY)
    monkeypatch.setattr(reference_loop, "SMALL", TINY)
    for one in (balance_cost, data_path, overheads, strategy_cost):
        monkeypatch.setattr(one, "SHAPE", TINY)
    page = tmp_path / "benchmarks.md"
    arguments = [*SMALLEST[module].split(), "--record", "--results", str(tmp_path / "results"), "--page", str(page)]
    lines = record.main(module.BENCHMARK, arguments)
    assert any(line.other is not None for line in lines)
    for line in lines:
        assert all(value >= 0 for value in line.ours)
        assert line.other is None or len(line.other) == len(line.ours)
    result = json.loads((tmp_path / "results" / f"{module.BENCHMARK.name}.json").read_text())
    assert result["machine"]["cores"] >= 1
    assert len(result["lines"]) == len(lines)
    text, printed = page.read_text(), capsys.readouterr().out
    for line in lines:
        assert f"| {line.what} |" in text
        assert f"| {line.what} |" in printed
    assert module.BENCHMARK.title in text
    assert result["command"].split(" --")[0] in text


def test_a_missed_goal_is_told_with_its_reason():
    met = Line("a / b", [1.0, 2.0, 9.0], [2.0, 4.0, 2.0], at_most=0.5)
    assert met.found == [0.5, 0.5, 4.5]
    assert met.reached is True
    missed = Line("a / b", [1.0, 2.0], [2.0, 4.0], ratio="other / ours", at_least=3, if_missed="too little data")
    assert missed.found == [2.0, 2.0]
    assert missed.cells()["reached"] == "no: too little data"
    assert Line("a", [1.0], at_most=2, note="alone", if_missed="too slow").cells()["reached"] == "yes; alone"
    assert Line("a", [1.0], [1.0]).cells()["reached"] == ""


def test_repetitions_go_to_and_fro():
    order = []
    seconds = interleave({name: lambda name=name: order.append(name) for name in "abc"}, 2)
    assert "".join(order) == "abccba"
    assert [len(values) for values in seconds.values()] == [2, 2, 2]


@pytest.mark.process
def test_the_reference_sees_spectrograms_of_the_published_size(tmp_path):
    shape = Shape(height=90, width=120)
    data = Folder(write_folder(tmp_path / "data", 6, 6, shape), "train", shape, True)
    spectrogram, image, label, index = data[5]
    assert spectrogram.shape == (1, 257, 1250)
    assert image.shape == (3, 224, 224)
    assert (label, index) == (5, 5)


def test_the_page_is_made_of_the_recorded_results(tmp_path):
    page = tmp_path / "page.md"
    write_page(PROJECT / "benchmarks" / "results", page)
    assert page.read_text() == (PROJECT / "docs" / "benchmarks.md").read_text()


def test_make_bench_runs_every_benchmark():
    makefile = (PROJECT / "Makefile").read_text()
    names = re.search(r"^BENCHMARKS := (.*)$", makefile, flags=re.M)[1].split()
    elsewhere = ["imbalance_cost"]  # test_imbalance_cost.py
    assert sorted(names) == sorted([*elsewhere, *(module.BENCHMARK.name for module in SMALLEST)])
    for name in names:
        assert importlib.import_module(f"benchmarks.{name}").BENCHMARK.name == name


def test_trainings_of_another_length_keep_the_proportions_of_the_parameters():
    tree = read_yaml(BUILTIN)
    changed = copy.deepcopy(tree)
    for text in training_length.of_length(24):
        apply_override(changed, text)
    assert changed == tree


@pytest.mark.process
def test_the_page_of_lengths_has_a_row_for_each_scheduler_and_number_of_epochs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(training_length, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(training_length, "CURRICULA", ("random-ranking",))
    monkeypatch.setattr(training_length, "SCHEDULERS", ("uniform", "random-ranking"))
    training_length.main(["--epochs", "1", "--seeds", "0", "1", "--set", "measure.warmup_epochs=0", "--record"])
    text = (tmp_path / "page.md").read_text()
    assert "bold: the interval excludes 0" in text
    rows = [line.split(" | ")[:2] for line in text.splitlines() if line.startswith("| ")][2:]
    assert rows == [["| 1", "uniform"], ["| 1", "random-ranking"]]
    assert "2 seeds" in text
    assert text.splitlines()[-1] in capsys.readouterr().out
