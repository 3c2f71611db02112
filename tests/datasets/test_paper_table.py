"""The paper's table as one params.yaml per dataset."""

import re

import pytest

from bss.cli import main
from bss.config import load_config
from bss.config.combinations import combinations_of, idle_strategies
from bss.datasets.find import all_datasets
from bss.datasets.paper_table import TABLE
from bss.training.strategy.start import config_for

OF_PAPER = [name for name, dataset in all_datasets().items() if dataset.accuracy]
PUBLISHED = {
    # The paper's table, copied once more by rows: CREMA-D, Kinetics-Sounds, Twitter-2015, Sarcasm, NVGesture, VGGSound.
    "concat": (63.31, 64.55, 70.11, 82.86, 81.33, None),
    "etmc": (65.86, 65.67, 73.96, 83.69, 83.61, None),
    "mses": (61.56, 64.71, 71.84, 84.18, 81.12, None),
    "g-blending": (64.65, 67.10, 74.35, 83.35, 82.99, None),
    "domfn": (67.34, 66.25, 74.45, 83.56, None, None),
    "ogm": (66.94, 66.06, 74.92, 83.23, None, 48.29),
    "mslr": (65.46, 65.91, 72.52, 84.23, 82.86, None),
    "agm": (67.07, 66.02, 74.83, 84.02, 82.78, 47.11),
    "pmr": (66.59, 66.56, 74.25, 83.60, None, None),
    "reconboost": (74.84, 70.85, 74.42, 84.37, 84.13, 50.97),
    "mmpareto": (74.87, 70.00, 73.58, 83.48, 83.82, 51.25),
    "smv": (78.72, 69.00, 74.28, 84.18, 83.52, 50.31),
    "mla": (79.43, 70.04, 73.52, 84.26, 83.40, 51.65),
    "amss": (70.30, 72.25, 75.12, 84.35, 84.64, None),
}
COLUMNS = ("crema-d", "kinetics-sounds", "twitter2015", "sarcasm", "nvgesture", "vggsound")


@pytest.fixture
def printed(tmp_path, capsys):
    """What `bss presets NAME --table` prints, and the parameters that it is."""

    def run(name, protocol):
        assert main(["presets", name, "--table", "--protocol", protocol]) == 0
        text = capsys.readouterr().out
        (tmp_path / "params.yaml").write_text(text)
        return text, load_config(tmp_path / "params.yaml")

    return run


def test_the_numbers_are_the_papers():
    assert list(PUBLISHED) == list(TABLE)
    found = {name: tuple(all_datasets()[column].accuracy.get(name) for column in COLUMNS) for name in TABLE}
    assert found == PUBLISHED


@pytest.mark.parametrize("protocol", ["honest", "published"])
@pytest.mark.parametrize("name", OF_PAPER)
def test_one_file_trains_every_row_of_the_table_that_can_be_trained(name, protocol, printed):
    text, config = printed(name, protocol)
    dataset = all_datasets()[name]
    rows = combinations_of(config)
    reading_val = {"mses", "g-blending", "mslr"} if protocol == "published" and "val" not in dataset.counts else set()
    assert idle_strategies(config) == []
    assert {row.strategy for row in rows} - {"none"} == set(TABLE) & set(dataset.accuracy) - reading_val
    assert {"uniform", "bss-h", "bss-l"} <= {row.scheduler for row in rows if row.strategy == "none"}
    assert len(set(rows)) == len(rows)
    for method in [name for name in TABLE if name in dataset.accuracy]:
        (line,) = re.findall(rf"^#   uniform\+{method} (.*)$", text, flags=re.M)
        assert line.startswith(f"{dataset.accuracy[method]:.2f}: ")
        assert ("not trained in this protocol" in line) == (method in reading_val)
    assert all(f"#   {method}: no number" in text for method in set(TABLE) - set(dataset.accuracy))
    published = [s for s in config.strategies.values() if hasattr(s, "loss")]
    assert published
    assert {strategy.loss for strategy in published} == {"published"}


def test_options_are_those_of_the_dataset(printed):
    _, crema = printed("crema-d", "honest")
    assert (crema.strategies["ogm"].alpha, crema.strategies["amss"].temperature) == (0.8, 0.2)
    assert crema.strategies["mslr"].coefficients == {"audio": 0.9, "video": 1.1}
    text, sarcasm = printed("sarcasm", "honest")
    assert (sarcasm.strategies["ogm"].alpha, sarcasm.strategies["amss"].temperature) == (0.3, 0.5)
    assert sarcasm.strategies["amss"].classifier
    assert "here with temperature: 0.5, relative: false, classifier: true" in text


def test_the_file_names_the_command_that_prints_it(printed):
    command = "bss presets crema-d --protocol published --table"
    assert printed("crema-d", "published")[0].startswith(f"# CREMA-D in protocol published. `{command}` prints these")


def test_the_baseline_of_the_published_protocol_is_the_papers(printed):
    assert printed("crema-d", "published")[1].compare.baseline == "uniform+concat"
    assert printed("crema-d", "honest")[1].compare.baseline == "uniform"
    assert printed("vggsound", "published")[1].compare.baseline == "uniform"  # the paper has no Concat for it


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--table"], "--table needs the name of a preset"),
        (["crema-d", "--table", "--protocol", "published", "--method", "bss-h"], "and no --method"),
        (["food-101", "--table"], "the paper's table does not have food-101; it has crema-d, kinetics-sounds"),
    ],
)
def test_what_has_no_table_is_refused(arguments, message, capsys):
    assert main(["presets", *arguments]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", OF_PAPER)
def test_each_row_predicts_as_its_published_number_does(name, printed):
    _, config = printed(name, "honest")
    own = {"etmc": "evidence", "domfn": "surest", "mla": "by-entropy"}
    own |= dict.fromkeys(("mslr", "reconboost"), "unimodal-heads")  # late fusion
    found = {name: config_for(strategy, config).network.prediction for name, strategy in config.strategies.items()}
    assert found == {name: own.get(name, "fused") for name in found}


@pytest.mark.parametrize("name", OF_PAPER)
def test_what_is_absent_has_the_mean_features_of_an_encoder_whose_zero_is_a_value(name, printed):
    text, config = printed(name, "honest")
    with_bert = name in ("twitter2015", "sarcasm")
    assert config.strategies["smv"].absent == ("mean" if with_bert else "zero")
    assert ("# The features of text can be negative" in text) == with_bert
    assert ("here with absent: mean" in text) == with_bert
