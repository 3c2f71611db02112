"""The benchmark of strategies under schedules: what it compares."""

import pytest

from benchmarks.strategy_matrix import CONTROLS, SCHEDULERS, STRATEGIES, main, parameters
from bss.config import config_from_tree
from bss.training.trial_spec import all_trials


@pytest.mark.parametrize("root", [None, "data"])
def test_every_scheduler_is_crossed_with_every_control_and_strategy_it_goes_with(root):
    config = config_from_tree(parameters(root, 2), "params.yaml")
    trials = {(trial.scheduler, trial.strategy) for trial in all_trials(config)}
    every = {(scheduler, name) for scheduler in SCHEDULERS for name in ("none", *CONTROLS, *STRATEGIES)}
    assert every - trials == {("bss-l-online", "fused-only"), ("bss-l-online", "dgl")}
    assert trials <= every
    assert list(config.seeds) == [0, 1]


def test_an_unknown_fault_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--fault", "none"])
    assert "invalid choice: 'none'" in capsys.readouterr().err
