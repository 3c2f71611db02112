import pytest

from bss.config import BUILTIN
from bss.config.combinations import combinations_of
from bss.errors import BssError
from bss.kubeflow.data import find_data, raw_data
from bss.kubeflow.parameters import config_from_part
from bss.kubeflow.start import config_for_pods, resolve, resolve_config
from bss.remote.fetch import DataVersion

TEXT = BUILTIN.read_text()


def test_schedulers_are_picked_and_seeds_replaced():
    config = resolve_config(TEXT, ["train.epochs=2", "compare.control=null"], ["uniform", "bss-l"], [3.0, 5.0])
    assert list(config.schedule.schedulers) == ["uniform", "bss-l"]
    assert config.seeds == (3, 5)
    assert config.train.epochs == 2


def test_combinations_of_other_schedulers_go_with_them():
    overrides = ["strategies.ogm={kind: ogm}", "combinations=[uniform, bss-l, uniform+ogm]", "compare.control=null"]
    config = resolve_config(TEXT, overrides, ["uniform"], [])
    assert config.combinations == ("uniform", "uniform+ogm")


CROSSED = ["combinations=null", "strategies={ogm: {kind: ogm}, mlb: {kind: mlb}}", "compare.control=null"]


@pytest.mark.parametrize(
    ("overrides", "schedulers", "strategies", "rows"),
    [
        ([], ["uniform", "bss-h"], ["none", "ogm"], ["uniform", "bss-h", "uniform+ogm", "bss-h+ogm"]),
        ([], ["uniform"], ["none"], ["uniform"]),
        (["combinations=[uniform, bss-h+ogm, bss-l+mlb]"], [], ["none", "mlb"], ["uniform", "bss-l+mlb"]),
        (["compare.baseline=uniform+ogm"], ["uniform", "bss-h"], ["ogm"], ["uniform+ogm", "bss-h+ogm"]),
    ],
)
def test_strategies_are_picked(overrides, schedulers, strategies, rows):
    config = resolve_config(TEXT, [*CROSSED, *overrides], schedulers, [], strategies)
    assert [row.name for row in combinations_of(config)] == rows


@pytest.mark.parametrize(
    ("schedulers", "strategies", "message"),
    [
        ([], ["agm"], "strategies: agm: not in params.yaml, which has none, ogm, mlb."),
        ([], ["ogm"], "compare.baseline"),  # uniform would be trained with ogm only
    ],
)
def test_strategies_that_cannot_be_compared_are_refused(schedulers, strategies, message):
    with pytest.raises(BssError, match=message):
        resolve_config(TEXT, CROSSED, schedulers, [], strategies)


@pytest.mark.parametrize(
    ("overrides", "schedulers", "seeds", "message"),
    [
        (["train.epoch=2"], [], [], "train.epoch: unknown key; did you mean `epochs`"),
        ([], ["bss-x"], [], "schedulers: bss-x: not in params.yaml, which has uniform"),
        ([], ["uniform"], [], "compare.control"),
        ([], [], [0.5], "seeds"),
        ([], [], [1, 1], "seeds"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(overrides, schedulers, seeds, message):
    with pytest.raises(BssError, match=message.replace(".", r"\.")):
        resolve_config(TEXT, overrides, schedulers, seeds)


def test_training_pods_with_gpus_must_find_one():
    config = resolve_config(TEXT, [], [], [])
    assert config_for_pods(config, 0, 1) == config
    assert config_for_pods(config, 1, 1).resources.device == "cuda"
    with pytest.raises(BssError, match=r"resources\.device: cpu"):
        config_for_pods(resolve_config(TEXT, ["resources.device=cpu"], [], []), 1, 1)
    with pytest.raises(BssError, match=r"train\.processes: 2, but each training pod requests 1 GPU"):
        config_for_pods(resolve_config(TEXT, ["train.processes=2"], [], []), 1, 1)
    assert config_for_pods(resolve_config(TEXT, ["train.processes=2"], [], []), 2, 1).train.processes == 2


def test_nodes_need_a_pipeline_that_was_compiled_for_them():
    several = ["train.nodes=2", "resources.staging=s3://bucket/staging"]
    config = resolve_config(TEXT, several, [], [])
    assert config_for_pods(config, 1, 2).resources.device == "cuda"
    assert config_for_pods(config, 1, 4).train.nodes == 2
    with pytest.raises(BssError, match=r"train\.nodes: 2, but this pipeline was compiled for 1"):
        config_for_pods(config, 1, 1)
    with pytest.raises(BssError, match=r"train\.nodes: 1, but this pipeline was compiled for 2"):
        config_for_pods(resolve_config(TEXT, [], [], []), 1, 2)
    with pytest.raises(BssError, match=r"train\.processes: 1, but each training pod requests 4 GPU"):
        config_for_pods(config, 4, 2)
    with pytest.raises(BssError, match=r"resources\.device: auto looks at this machine"):
        config_for_pods(config, 0, 2)
    assert config_for_pods(resolve_config(TEXT, [*several, "resources.device=cpu"], [], []), 0, 2).train.nodes == 2


def test_built_in_data_is_known_by_its_parameters():
    one, other = (resolve_config(TEXT, [f"generate.digits.seed={seed}"], [], []) for seed in (0, 1))
    version = find_data(one, "", "", "")
    assert version == find_data(one, "", "", "")
    assert version.digest != find_data(other, "", "", "").digest
    assert resolve(one, version).prepare != resolve(other, version).prepare


def test_the_place_of_the_data_decides_nothing():
    config, moved = (resolve_config(TEXT, [f"prepare.root={root}"], [], []) for root in ("data/digits", "elsewhere"))
    version = find_data(config, "", "", "")
    assert resolve(config, version).prepare == resolve(moved, version).prepare


def test_data_of_a_repository_does_not_depend_on_built_in_data():
    one, other = (resolve_config(TEXT, [f"generate.digits.seed={seed}"], [], []) for seed in (0, 1))
    version = DataVersion("https://example.org/data.git", "1" * 40, "data/birds", "d" * 32)
    assert resolve(one, version).prepare == resolve(other, version).prepare
    assert config_from_part(resolve(one, version).prepare).prepare.root == "birds"


@pytest.mark.parametrize(
    ("overrides", "place", "message"),
    [
        ([], ("https://example.org/x.git", "", ""), "data_path: missing. Set the folder"),
        ([], ("", "main", ""), "data_repository: missing, but data_revision"),
        (["generate={}"], ("", "", ""), "generates no built-in data"),
    ],
)
def test_data_that_is_not_named_is_asked_for(overrides, place, message):
    with pytest.raises(BssError, match=message):
        find_data(resolve_config(TEXT, overrides, [], []), *place)


def test_data_that_changed_since_the_run_started_is_refused():
    config = resolve_config(TEXT, [], [], [])
    with pytest.raises(BssError, match="now holds other data"), raw_data(config, "", "", "", "0" * 64):
        pass


def test_an_audit_of_a_pipeline_without_that_step_is_refused_and_the_reverse():
    config = resolve_config(TEXT, ["audit.enabled=true"], [], [])
    assert config_for_pods(config, 0, 1, audits=True) == config
    with pytest.raises(BssError, match=r"audit.enabled: true, but this pipeline has no step audit. Compile it"):
        config_for_pods(config, 0, 1)
    with pytest.raises(BssError, match=r"audit.enabled: false, but this pipeline has the step audit"):
        config_for_pods(resolve_config(TEXT, [], [], []), 0, 1, audits=True)
