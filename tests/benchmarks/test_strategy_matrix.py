"""The benchmark of strategies under schedules: what it compares."""

import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from benchmarks.strategy_matrix import CONTROLS, LENGTHS, SCHEDULERS, STRATEGIES, main, parameters
from bss.config import config_from_tree
from bss.config.combinations import Combination, epochs_of, idle_strategies
from bss.config.strategies import find_strategies
from bss.files import write_json
from bss.init.yaml_style import block_style
from bss.report.controls import equal_compute, missing_controls, trained_controls
from bss.strategies.ogm import Ogm
from bss.strategies.weights import Weighted
from bss.training.trial_spec import all_trials

sys.path.append(str(Path(__file__).parents[1] / "report"))
from made import compared


@pytest.mark.parametrize("root", [None, "data"])
def test_every_scheduler_is_crossed_with_every_control_and_strategy_it_goes_with(root):
    config = config_from_tree(parameters(root, 2), "params.yaml")
    trials = {(trial.scheduler, trial.strategy) for trial in all_trials(config)}
    every = {(scheduler, name) for scheduler in SCHEDULERS for name in ("none", *CONTROLS, *STRATEGIES)}
    assert every - trials == {("bss-l-online", "fused-only"), ("bss-l-online", "dgl")}
    assert trials <= every
    assert list(config.seeds) == [0, 1]


def test_every_strategy_has_its_control():
    config = config_from_tree(parameters(None, 2), "params.yaml")
    names, weights = list(config.strategies), config.network.loss_weights
    assert missing_controls(config.strategies, names, weights) == {}
    controls = trained_controls(config.strategies, names, weights)
    assert controls == {
        **dict.fromkeys(["ogm", "amss"], "gradients-x0-5"),
        **dict.fromkeys(["agm", "mlb"], "gradients-x1-5"),
        **dict.fromkeys(["pmr", "g-blending", "lfm"], "unimodal-x4"),
        **dict.fromkeys(["dgl", "mla"], "independent"),
        **dict.fromkeys(["opm", "remix"], "modality-dropout"),
        "mmpareto": "gradients-x3",
    }
    flops = {Combination("uniform", "none"): 1.0, Combination("uniform", "mmpareto"): 1.66}
    flops[Combination("uniform", "longer")] = epochs_of(config, "longer") / config.train.epochs
    assert equal_compute(config.strategies, flops, "none") == ({Combination("uniform", "mmpareto"): "longer"}, {})


def test_other_epochs_stretch_what_strategies_count_in_epochs():
    kinds = {strategy.kind: strategy() for strategy in find_strategies()}
    whole = {(kind, f.name) for kind in STRATEGIES for f in fields(kinds[kind]) if type(f.default) is int}
    probes = ("g-blending", "probe_epochs")  # there are none with `probe: heads`
    assert whole - {probes} == set(LENGTHS.items())
    assert kinds["g-blending"].probe == "heads"
    plain, half, twice = (
        config_from_tree(parameters(None, 8, epochs), "params.yaml").strategies for epochs in (None, 12, 48)
    )
    assert [strategies["remix"].warm_up for strategies in (plain, half, twice)] == [10, 5, 20]
    assert [strategies["g-blending"].every for strategies in (plain, half, twice)] == [10, 5, 20]
    assert parameters(None, 8, 1)["strategies"]["remix"]["warm_up"] == 1


def test_other_epochs_stretch_decay_and_pacing():
    plain, longer = parameters(None, 8), parameters(None, 8, 48)
    assert (plain["train"]["epochs"], plain["train"]["decay"]["at"]) == (24, [16])
    assert (longer["train"]["epochs"], longer["train"]["decay"]["at"]) == (48, [32])
    grow = [tree["schedule"]["schedulers"]["bss-h"]["pacing"].pop("grow_epochs") for tree in (plain, longer)]
    assert grow == [8, 16]
    for tree in (plain, longer):
        del tree["train"]["epochs"], tree["train"]["decay"]["at"]
        for name, key in LENGTHS.items():
            tree["strategies"][name].pop(key, None)
    assert plain == longer
    assert config_from_tree(parameters(None, 8, 2), "params.yaml").train.decay.at == (1,)


@pytest.mark.parametrize("epochs", [None, 12, 48])
def test_every_strategy_acts_within_its_epochs(epochs):
    assert idle_strategies(config_from_tree(parameters(None, 2, epochs), "params.yaml")) == []


def test_a_folder_of_other_epochs_is_refused(tmp_path, capsys):
    (tmp_path / "outputs" / "store").mkdir(parents=True)
    (tmp_path / "params.yaml").write_text(block_style(parameters(None, 1)))
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--epochs", "48"])
    assert "was written for 24 epochs, not 48" in capsys.readouterr().err


def test_a_finished_matrix_is_printed_as_a_table_per_scheduler(tmp_path, capsys):
    base, noise = np.linspace(70, 75, 8), np.array([0.1, -0.1, 0.2, -0.2, 0.15, -0.15, 0.05, -0.05])
    rows = {"uniform": base, "bss-h": base + 1, "uniform+half": base + 2 + noise, "uniform+ogm": base + 4 - noise}
    steps = dict.fromkeys(rows, 100) | {"uniform+ogm": 125}
    comparison = compared(rows, steps, {"half": Weighted(encoder_gradients=0.5), "ogm": Ogm()})
    report = tmp_path / "outputs" / "report"
    report.mkdir(parents=True)
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--markdown"])
    assert "comparison.json" in capsys.readouterr().err
    write_json(report / "comparison.json", comparison)
    write_json(report / "times.json", dict.fromkeys(rows, 1.0))
    assert main([str(tmp_path), "--markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "| strategy | test accuracy, % | order | strategy | against its control | operations |" in lines
    assert lines.index("### uniform") < lines.index("### bss-h")
    found = {line.split(" | ")[0]: line for line in lines[lines.index("### uniform") : lines.index("### bss-h")]}
    ogm = comparison["matrix"]["cells"]["uniform+ogm"]["effects"]
    assert set(ogm) == {"strategy", "control"}
    low, high, p = (ogm["control"][key] for key in ("low", "high", "p_corrected"))
    assert f"half: **+2.00** [{low:+.2f}, {high:+.2f}], p {p:.3f} | x1.25 |" in found["| ogm"]
    assert found["| none"].endswith("| - | - | - | x1.00 |")
    (order,) = (line for line in lines[lines.index("### bss-h") :] if line.startswith("| none"))
    assert "| **+1.00** in every seed, p " in order


def test_an_unknown_fault_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--fault", "none"])
    assert "invalid choice: 'none'" in capsys.readouterr().err
