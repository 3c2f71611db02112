"""Broken and hostile params.yaml, overrides, plans of Kubeflow's parameters: refused with a message, and at once."""

import json
from pathlib import Path

import pytest
from conftest import small_tree
from damage import damage, damages, examples, refused, refused_or
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from bss.config import BUILTIN, config_to_tree, load_config
from bss.config.load import apply_override, config_from_tree, parse_yaml

TREE = small_tree(Path("data"))
GOOD = BUILTIN.read_bytes()


def laughs(levels, width):
    lines = ["a0: &a0 [x]"]
    for level in range(1, levels):
        lines.append(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * width)}]")
    return "\n".join(lines)


BAD = {
    "aliases that name aliases": laughs(12, 9),
    "aliases that are wide": laughs(3, 5000),
    "tables that hold themselves": "train: &a\n  epochs: *a\n",
    "a list that holds itself": "seeds: &a [*a]\n",
    "merges of merges": "a: &a {x: 1}\n" + "".join(f"b{i}: &b{i}\n  <<: [*a, *a]\n" for i in range(50)),
    "lists in lists": "seeds: " + "[" * 400 + "]" * 400,
    "tables in tables": "\n".join(" " * i + "a:" for i in range(3000)),
    "a tag that makes objects": "train: !!python/object/apply:os.system [touch ran]\n",
    "a tag that is unknown": "train: !secret x\n",
    "bytes": "train: !!binary aGVsbG8=\n",
    "an impossible date": "train: 2024-99-99\n",
    "a date": "train: 2024-01-02\n",
    "a number of thousands of digits": "train: {epochs: " + "9" * 10_000 + "}\n",
    "a number that is too large": "train: {epochs: 1e999}\n",
    "no number": "train: {epochs: .nan}\n",
    "infinity": "measure: {warmup_epochs: .inf}\n",
    "sixty": "train: {epochs: 1:20:30}\n",
    "a key twice": "train: {epochs: 1, epochs: 2}\n",
    "a key that is a list": "? [a, b]\n: 1\n",
    "a key that is a table": "? {a: b}\n: 1\n",
    "a key that is nothing": "null: 1\n",
    "a zero byte": "train:\0 1\n",
    "an escape": "train: \x1b[2J\n",
    "two documents": "train: {}\n---\ntrain: {}\n",
    "nothing": "",
    "a text": "train",
    "a list": "- train\n",
    "a tab": "train:\n\tepochs: 1\n",
    "half a character": 'protocol: "\\ud800"\n',
    "a name with a zero byte": 'prepare: {root: "a\\0b", modalities: {}}\n',
    "a megabyte": "# " + "x" * (1 << 20) + "\n",
    "thousands of keys": "".join(f"k{i}: 1\n" for i in range(5000)),
    "a dataset that is a list": "dataset: [crema-d]\n",
    "a preset that is a table": "schedule: {schedulers: {a: {preset: {a: 1}}}}\n",
    "an encoder that is a list": "network: {encoders: {a: [1]}}\n",
    "a kind that is a list": "network: {encoders: {a: {kind: [cnn]}}}\n",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BAD)
def test_what_are_no_parameters_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "params.yaml"
    path.write_bytes(BAD[name].encode("utf-8", "surrogatepass"))
    refused("params.yaml", lambda: load_config(path), "params.yaml")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("data", [b"\xff\xfet\0r\0", b"protocol: \xe9t\xe9\n", b"\x00" * 100, b"\x80"])
def test_parameters_in_another_encoding_are_refused(data, tmp_path):
    (tmp_path / "params.yaml").write_bytes(data)
    refused("params.yaml", lambda: load_config(tmp_path / "params.yaml"), "params.yaml")


def test_a_folder_and_a_name_that_is_too_long_are_no_parameters(tmp_path):
    for path in (tmp_path, tmp_path / ("n" * 300), tmp_path / "params.yaml" / "x"):
        refused("params.yaml", lambda path=path: load_config(path), "cannot be read")


@pytest.mark.slow
@examples(60)
@given(changes=damages)
def test_damaged_parameters_are_refused_or_still_parameters(changes, tmp_path):
    (tmp_path / "params.yaml").write_bytes(damage(GOOD, changes))
    config = refused_or("params.yaml", lambda: load_config(tmp_path / "params.yaml"))
    if config is not None:
        assert config_from_tree(config_to_tree(config), "again") == config


def leaves(tree, path=()):
    yield path
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield from leaves(value, (*path, key))


FULL = config_to_tree(config_from_tree(TREE, "params.yaml"))
PATHS = [path for path in leaves(FULL) if path]
VALUES = st.sampled_from(
    [
        None,
        True,
        -1,
        0,
        10**30,
        -(10**400),
        1e308,
        "",
        "x",
        "../../x",
        "/etc/passwd",
        "\x00",
        "�",
        "é" * 300,
        [],
        {},
        [[]],
        {"kind": "x"},
        {"kind": None},
        {"": {}},
        [None],
        "2024-01-01",
        {"a": {"b": {"c": 1}}},
    ]
)


@pytest.mark.slow
@examples(300)
@given(changes=st.lists(st.tuples(st.sampled_from(PATHS), VALUES), min_size=1, max_size=2))
def test_parameters_with_values_of_another_kind_are_refused_or_still_parameters(changes):
    tree = json.loads(json.dumps(FULL))
    for path, value in changes:
        target = tree
        for key in path[:-1]:
            target = target[key] if isinstance(target, dict | list) and _has(target, key) else {}
        if isinstance(target, dict) or (isinstance(target, list) and isinstance(path[-1], int) and len(target)):
            target[path[-1] if isinstance(target, dict) else 0] = value
    config = refused_or("params.yaml", lambda: config_from_tree(tree, "params.yaml"))
    if config is not None:
        assert config_from_tree(config_to_tree(config), "again") == config


def _has(target, key):
    return key in target if isinstance(target, dict) else isinstance(key, int) and key < len(target)


@pytest.mark.parametrize(
    "override",
    [
        "",
        "=",
        "=1",
        "a",
        "a..b=1",
        ".=1",
        "train=" + "[" * 400,
        "train.epochs=1e999",
        "train.epochs=&a [*a]",
        "train.epochs=!!python/name:os.system",
        "seeds.0=1",
        "train.epochs=" + "9" * 5000,
        "\x00=\x00",
        "a" * 5000 + "=1",
        "train.epochs.x=1",
        "train=2024-99-99",
        "a.b.c.d.e.f.g.h=1",
        "__class__.__init__=1",
    ],
)
def test_an_override_that_is_none_is_refused(override):
    tree = json.loads(json.dumps(TREE))

    def load():
        apply_override(tree, override)
        return config_from_tree(tree, "params.yaml")

    refused("--set", load)


def test_good_parameters_with_aliases_are_read():
    text = "a: &a {x: [1, 2], y: 1e-3}\nb: *a\nc: {<<: *a, z: 3}\n"
    assert parse_yaml(text, "x") == {
        "a": {"x": [1, 2], "y": 0.001},
        "b": {"x": [1, 2], "y": 0.001},
        "c": {"x": [1, 2], "y": 0.001, "z": 3},
    }
    assert YAML(typ="safe").load(text)["b"]["x"] == [1, 2]
