"""What `bss init` writes has every key of the project's own params.yaml that users need."""

from pathlib import Path

import pytest
from conftest import small_tree
from ruamel.yaml import YAML

from bss.config import config_from_tree, config_to_tree
from bss.init.suggest import suggest

OURS = Path(__file__).parents[2] / "params.yaml"
NAMED_BY_USERS = {"network.encoders", "prepare.modalities", "schedule.schedulers", "strategies"}
"""What lies below depends on the data, or is a choice."""
LEFT_OUT = {
    "generate.digits": "the built-in data",
    "generate.digits.seed": "the built-in data",
    "generate.digits.contradicting": "the built-in data",
    "generate.digits.noisy": "the built-in data",
    "generate.digits.audio_advantage": "the built-in data",
    "prepare.source": "for published datasets, which `bss init --dataset` writes; others have a manifest",
}
WITH_DEFAULTS = {
    "network.agreement": "for prediction: surest alone",
    "network.heads": "linear heads by default: docs/networks.md",
    "train.decay.kind": "step, which needs no name",
}
"""Keys that neither file has."""


def keys(tree, path=""):
    """The keys of a tree with the path to them, in order, but for those that users name."""
    for key, value in tree.items():
        yield path + key
        if isinstance(value, dict) and path + key not in NAMED_BY_USERS:
            yield from keys(value, f"{path}{key}.")


@pytest.fixture
def written(own_root):
    root, _ = own_root
    return suggest(root / "manifest.csv", root.parent).text


def test_users_get_each_key_of_ours_in_our_order_but_for_those_left_out_on_purpose(written):
    ours = list(keys(YAML(typ="safe").load(OURS)))
    assert LEFT_OUT.keys() <= set(ours)
    assert list(keys(YAML(typ="safe").load(written))) == [key for key in ours if key not in LEFT_OUT]


def test_ours_has_each_key_that_there_is(own_root):
    every = config_to_tree(config_from_tree(small_tree(own_root[0]), "params.yaml"))
    missing = {key for key in keys(every) if not key.startswith("generate")} - set(keys(YAML(typ="safe").load(OURS)))
    assert {key for key in missing if key.rpartition(".")[0] not in missing} == set(WITH_DEFAULTS)


def test_values_that_do_not_depend_on_the_data_are_the_defaults(written, own_root):
    tree, small = YAML(typ="safe").load(written), small_tree(own_root[0])
    sections = ("audit", "evaluation", "tracking", "resources")
    plain = {key: value for key, value in small.items() if key not in sections}
    default = config_to_tree(config_from_tree(plain, "params.yaml"))
    assert {section: tree[section] for section in sections} == {section: default[section] for section in sections}
