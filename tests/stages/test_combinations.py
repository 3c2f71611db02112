"""Schedulers x strategies through the stages: folders, keys, plain trials untouched, and what is refused."""

import pytest
from conftest import small_tree
from killed import Killed, killed_after_saving
from ruamel.yaml import YAML

from bss.artifacts.history import read_history
from bss.cli import main
from bss.config import config_from_tree
from bss.config.combinations import combinations_of
from bss.data.store import Store
from bss.errors import BssError
from bss.files import read_json
from bss.stages.compare import compare
from bss.stages.schedule import schedule
from bss.stages.sequence import check_sequence
from bss.stages.train import train
from bss.training.resume.checkpoints import checkpoints_folder
from bss.training.trial_spec import TrialId, all_trials, describe_trial, read_trial_plan, trial_parameters

SAME = ("history.csv", "metrics.json", "model.pt", "network.json", "predictions.parquet", "sequences.parquet")
ROWS = ["uniform", "bss-h", "uniform+ogm", "bss-h+ogm"]
OGM = {"kind": "ogm", "window": [0.0, 1.0]}


def crossed_tree(root):
    tree = small_tree(root) | {"strategies": {"none": {"kind": "none"}, "ogm": OGM}}
    tree["schedule"]["schedulers"] = {name: tree["schedule"]["schedulers"][name] for name in ("uniform", "bss-h")}
    tree["compare"] = {"control": "bss-h", "resamples": 1000}
    return tree


@pytest.fixture(scope="module")
def crossed(pipeline, small_root, small_store, tmp_path_factory):
    """Two schedulers x two strategies on the scores of `pipeline`: the folder and the configuration."""
    folder, config = tmp_path_factory.mktemp("crossed"), config_from_tree(crossed_tree(small_root), "params.yaml")
    scores = pipeline[0] / "scores"
    schedule(config, small_store, scores, folder / "plans")
    train(config, small_store, scores, folder / "plans", folder / "runs")
    compare(config, small_store, scores, folder / "runs", folder / "report")
    return folder, config


def contents(trial):
    return {name: (trial / name).read_bytes() for name in SAME}


@pytest.mark.slow
def test_every_scheduler_is_trained_plainly_and_with_the_strategy(crossed):
    folder, config = crossed
    found = {path.relative_to(folder / "runs").as_posix() for path in (folder / "runs").glob("*/seed=*")}
    assert found == {f"{row}/seed={seed}" for row in ROWS for seed in (0, 1)}
    assert [trial.path for trial in all_trials(config)] == [f"{row}/seed={seed}" for seed in (0, 1) for row in ROWS]


@pytest.mark.slow
def test_plain_trainings_have_the_bytes_and_keys_of_a_run_without_strategies(crossed, pipeline):
    for row in ("uniform", "bss-h"):
        here, alone = (folder / "runs" / row / "seed=1" for folder in (crossed[0], pipeline[0]))
        assert contents(here) == contents(alone)
        made, other = (read_json(path / "provenance.json", "train") for path in (here, alone))
        assert (made["inputs"], made["parameters"]) == (other["inputs"], other["parameters"])


@pytest.mark.slow
def test_the_strategy_trains_other_weights_on_the_same_sequences(crossed):
    for row in ("uniform", "bss-h"):
        plain, ogm = (contents(crossed[0] / "runs" / name / "seed=0") for name in (row, f"{row}+ogm"))
        assert ogm["sequences.parquet"] == plain["sequences.parquet"]
        assert ogm["history.csv"] != plain["history.csv"]
        assert ogm["model.pt"] != plain["model.pt"]
    made = read_json(crossed[0] / "runs" / "bss-h+ogm" / "seed=0" / "provenance.json", "train")["parameters"]
    assert (made["scheduler_name"], made["strategy_name"], made["strategy"]["kind"]) == ("bss-h", "ogm", "ogm")


@pytest.mark.slow
def test_the_report_has_a_row_per_combination_each_compared_with_plain_uniform(crossed):
    found = read_json(crossed[0] / "report" / "comparison.json", "compare")["schedulers"]
    assert list(found) == ROWS
    assert [name for name in found if "vs_baseline" in found[name]] == ROWS[1:]


@pytest.mark.slow
def test_a_sequence_of_a_training_with_a_strategy_can_be_regenerated(crossed, small_store):
    folder, config = crossed
    check_sequence(config, small_store, folder / "plans", folder / "runs", "bss-h", 0, 1, "ogm")
    with pytest.raises(BssError, match=r"--strategy agm: params\.yaml has none, ogm"):
        check_sequence(config, small_store, folder / "plans", folder / "runs", "bss-h", 0, 1, "agm")


@pytest.mark.slow
def test_the_report_says_which_strategy_acted_in_no_epoch(crossed, small_root, small_store, pipeline, tmp_path):
    folder = crossed[0]
    assert "idle_strategies" not in read_json(folder / "report" / "comparison.json", "compare")
    tree = crossed_tree(small_root)
    tree["strategies"]["ogm"] = {"kind": "mses"}
    other = config_from_tree(tree, "params.yaml")
    compare(other, small_store, pipeline[0] / "scores", folder / "runs", tmp_path / "report")
    (text,) = read_json(tmp_path / "report" / "comparison.json", "compare")["idle_strategies"]
    assert text.startswith("strategies.ogm: `mses` acts in none of the epochs (train.epochs: 3) with `patience: 5`")
    assert "acts in none of the epochs" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")


def keys(config, store, plans):
    data = Store.open(store)
    return {
        trial.path: describe_trial(config, data, plans, trial, plans, read_trial_plan(config, data, plans, trial)).key
        for trial in all_trials(config)
    }


@pytest.mark.slow
def test_a_strategy_decides_its_own_trainings_and_no_others(crossed, small_root, small_store):
    folder, config = crossed
    tree = crossed_tree(small_root)
    tree["strategies"] |= {"ogm": OGM | {"alpha": 0.7}, "mlb": {"kind": "mlb"}}
    before = keys(config, small_store, folder / "plans")
    after = keys(config_from_tree(tree, "params.yaml"), small_store, folder / "plans")
    assert {path for path in before if before[path] != after[path]} == {path for path in before if "+ogm" in path}
    assert len(set(after.values())) == len(after) == 12
    assert "strategy" not in trial_parameters(config, TrialId("uniform", 0))


@pytest.mark.slow
def test_a_stopped_training_with_a_strategy_resumes_to_the_same_bytes(
    crossed, small_root, small_store, tmp_path, pipeline
):
    tree = crossed_tree(small_root)
    tree["resources"]["checkpoints"] = {"minutes": None, "steps": 1}
    config = config_from_tree(tree, "params.yaml")
    paths = (small_store, pipeline[0] / "scores", crossed[0] / "plans", tmp_path)
    trial = TrialId("bss-h", 0, "ogm")
    with killed_after_saving(lambda steps: steps == 4), pytest.raises(Killed):
        train(config, *paths, [trial])
    assert not (tmp_path / trial.path).exists()
    assert list(checkpoints_folder(tmp_path / trial.path).iterdir())
    train(config, *paths, [trial])
    assert contents(tmp_path / trial.path) == contents(crossed[0] / "runs" / trial.path)


@pytest.mark.slow
def test_the_command_trains_what_it_is_asked_for(crossed, small_root, small_store, pipeline, tmp_path, capsys):
    params, plans, runs = tmp_path / "params.yaml", crossed[0] / "plans", tmp_path / "runs"
    YAML(typ="safe", pure=True).dump(crossed_tree(small_root), params)
    command = ["train", "--params", params, "--store", small_store, "--scores", pipeline[0] / "scores"]
    command += ["--plans", plans, "--runs", runs, "--seed", "0", "--scheduler", "uniform", "--strategy"]
    assert main([*map(str, command), "agm"]) == 1
    assert "--strategy agm: " in capsys.readouterr().err
    assert main([*map(str, command), "ogm"]) == 0
    assert [path.parent.name for path in runs.glob("*/seed=*")] == ["uniform+ogm"]


@pytest.mark.process
def test_two_processes_train_with_the_strategy(crossed, small_root, small_store, pipeline, tmp_path):
    tree = crossed_tree(small_root)
    tree["train"]["processes"] = 2
    trial = TrialId("uniform", 0, "ogm")
    paths = (small_store, pipeline[0] / "scores", crossed[0] / "plans", tmp_path)
    train(config_from_tree(tree, "params.yaml"), *paths, [trial])

    def losses(runs, row):
        return [epoch["train/loss"] for epoch in read_history(runs / row / "seed=0" / "history.csv")]

    alone, plain = losses(crossed[0] / "runs", "uniform+ogm"), losses(crossed[0] / "runs", "uniform")
    assert losses(tmp_path, "uniform+ogm") == pytest.approx(alone, rel=1e-4)
    assert alone != pytest.approx(plain, rel=1e-4)


def test_listed_combinations_are_trained_in_their_order(small_root):
    tree = crossed_tree(small_root) | {"combinations": ["bss-h+ogm", "uniform", "bss-h"]}
    found = combinations_of(config_from_tree(tree, "params.yaml"))
    assert found == [("bss-h", "ogm"), ("uniform", "none"), ("bss-h", "none")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"combinations": []}, r"`combinations` must be one or more different ones"),
        ({"combinations": ["uniform", "bss-h", "uniform+none"]}, r"`combinations` must be one or more different ones"),
        (
            {"combinations": ["uniform", "bss-h", "bss-x+ogm"]},
            r"the scheduler is one of \['uniform', 'bss-h'\].*bss-x\+ogm",
        ),
        ({"combinations": ["uniform", "bss-h", "bss-h+agm"]}, r"the strategy is one of \['none', 'ogm'\].*bss-h\+agm"),
        ({"combinations": ["bss-h"]}, r"`compare.baseline` must be one of the schedulers \['bss-h'\]"),
        ({"strategies": {"none": {"kind": "ogm"}}}, r"`strategies\.none\.kind` must be none"),
        ({"strategies": {"a+b": {"kind": "ogm"}}}, "a name of lower-case letters"),
        ({"strategies": {"a/b": {"kind": "ogm"}}}, "a name of lower-case letters"),
    ],
)
def test_what_cannot_be_trained_is_refused(changes, message, small_root):
    with pytest.raises(BssError, match=message):
        config_from_tree(crossed_tree(small_root) | changes, "params.yaml")


@pytest.mark.parametrize(
    ("strategy", "refused"),
    [
        ({"kind": "ogm", "loss": "published"}, True),
        ({"kind": "weights", "unimodal": 0.0}, True),
        ({"kind": "dgl"}, True),
        ({"kind": "dgl", "through": "heads"}, False),
        ({"kind": "ogm"}, False),
        ({"kind": "weights", "fused": 0.0}, False),
    ],
)
def test_scores_measured_during_training_need_heads_that_are_trained(strategy, refused, small_root):
    tree = small_tree(small_root) | {"strategies": {"mine": strategy}}
    listed = ["uniform", "control", "bss-h+mine"]
    config_from_tree(tree | {"combinations": listed}, "params.yaml")
    tree["combinations"] = [*listed, "bss-l+mine"]
    if not refused:
        config_from_tree(tree, "params.yaml")
        return
    with pytest.raises(BssError, match=r"the scheduler `bss-l` measures .* the strategy `mine` does not train"):
        config_from_tree(tree, "params.yaml")


@pytest.mark.parametrize(
    ("strategy", "criteria", "refused"),
    [
        ("none", ["prediction_similarity", "training_loss"], True),
        ("ogm", ["logit_similarity"], True),
        ("ogm", ["training_loss"], False),
        ("none", ["feature_similarity"], False),
        ("mlb", ["prediction_similarity"], False),
    ],
)
def test_so_they_do_where_the_weight_of_the_heads_is_0(strategy, criteria, refused, small_root):
    known = {"none": {"kind": "none"}, "ogm": {"kind": "ogm"}, "mlb": {"kind": "mlb", "loss": "published"}}
    tree = small_tree(small_root) | {"strategies": known, "compare": {"baseline": "uniform"}}
    tree["network"]["loss_weights"] = {"fused": 1.0, "unimodal": 0.0}
    tree["measure"]["score"] = {"criteria": criteria}
    tree["combinations"] = ["uniform", f"bss-l-online+{strategy}"]
    if not refused:
        config_from_tree(tree, "params.yaml")
        return
    with pytest.raises(BssError, match=rf"`bss-l-online` measures .* the strategy `{strategy}` does not train"):
        config_from_tree(tree, "params.yaml")


@pytest.mark.parametrize(
    ("listed", "criteria", "refused"),
    [
        (["uniform", "bss-h"], ["training_loss", "logit_similarity"], "logit_similarity"),
        (["uniform", "bss-h"], ["training_loss"], None),
        (["uniform"], ["prediction_similarity", "training_loss"], None),
    ],
)
def test_a_fixed_ranking_compares_no_untrained_heads(listed, criteria, refused, small_root):
    tree = small_tree(small_root) | {"combinations": listed, "compare": {"baseline": "uniform"}}
    tree["measure"]["score"] = {"criteria": criteria}
    config_from_tree(tree, "params.yaml")
    tree["network"]["loss_weights"] = {"fused": 1.0, "unimodal": 0.0}
    if refused is None:
        config_from_tree(tree, "params.yaml")
        return
    with pytest.raises(BssError, match=rf"`bss-h` ranks by {refused}, .* network\.loss_weights\.unimodal is 0"):
        config_from_tree(tree, "params.yaml")


def test_a_strategy_that_is_not_trained_needs_not_go_with_the_rest(small_root):
    tree = crossed_tree(small_root) | {"strategies": {"mine": {"kind": "midas"}}}
    tree["train"]["processes"] = 2
    config_from_tree(tree | {"combinations": ["uniform", "bss-h"]}, "params.yaml")
    with pytest.raises(BssError, match=r"strategies\.mine: `train\.processes` must be 1"):
        config_from_tree(tree | {"combinations": ["uniform", "bss-h", "uniform+mine"]}, "params.yaml")


def test_all_stands_for_every_scheduler(small_root):
    tree = crossed_tree(small_root) | {"combinations": ["all", "bss-h+ogm"]}
    tree["compare"]["control"] = None
    names = [row.name for row in combinations_of(config_from_tree(tree, "params.yaml"))]
    assert names == ["uniform", "bss-h", "bss-h+ogm"]
    names = [row.name for row in combinations_of(config_from_tree(tree | {"combinations": ["uniform", "all+ogm"]}, ""))]
    assert names == ["uniform", "uniform+ogm", "bss-h+ogm"]
    with pytest.raises(BssError, match="one or more different ones"):
        config_from_tree(tree | {"combinations": ["all", "bss-h"]}, "params.yaml")
    tree["schedule"]["schedulers"]["all"] = {"kind": "uniform"}
    with pytest.raises(BssError, match=r"schedule\.schedulers\.all: in `combinations` this stands for every scheduler"):
        config_from_tree(tree, "params.yaml")
