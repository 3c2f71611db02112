"""Extracted features of modalities that the folder names: real .npy files and a labels.csv."""

from collections import Counter

import numpy as np
import pytest
from small_training import small_tree

from bss.cli import main
from bss.config import config_from_tree, load_config
from bss.data.store import Store
from bss.datasets.features import DATASET
from bss.datasets.splits import honest_rows
from bss.errors import BssError
from bss.stages.prepare import prepare
from tests.datasets import miniatures

SPLITS = ("train", "train", "train", "val", "test")
ENCODER = {"kind": "mlp", "hidden": [8], "features": 8}


def write_features(root, groups=True):
    """Thirty samples of two classes with pulse and gaze; a place is in two splits where there are `groups`."""
    random = np.random.default_rng(0)
    for modality, shape in (("pulse", (7,)), ("gaze", (3, 2))):
        (root / modality).mkdir(parents=True)
        for i in range(30):
            np.save(root / modality / f"s{i}.npy", random.standard_normal(shape) + i % 2)
    lines = ["id,label,split,group" if groups else "id,label,split"]
    for i in range(30):
        row = f"s{i},{('calm', 'awake')[i % 2]},{SPLITS[i // 2 % 5]}"
        lines.append(f"{row},{'' if i == 0 else 'hut' if i in (1, 8) else f'place {i // 2}'}" if groups else row)
    (root / "labels.csv").write_text("\n".join(lines) + "\n")


def config(root, protocol="honest", names=("pulse", "gaze"), **prepare_keys):
    modalities = {name: {"kind": "features"} for name in names}
    tree = small_tree("features", root, modalities, dict.fromkeys(names, ENCODER), protocol, **prepare_keys)
    made = config_from_tree(tree, "params.yaml")
    for name in set(made.schedule.schedulers) - {"uniform", "random-ranking", "bss-h", "bss-l"}:
        del made.schedule.schedulers[name]
    return made


def test_the_folders_are_the_modalities_and_the_splits_are_kept(tmp_path, capsys):
    write_features(tmp_path / "data")
    prepare(config(tmp_path / "data", "published"), tmp_path / "data", tmp_path / "store")
    store = Store.open(tmp_path / "store")
    assert Counter(store.splits.tolist()) == {"train": 18, "val": 6, "test": 6}
    assert store.classes == ("awake", "calm")
    gaze = np.load(tmp_path / "data" / "gaze" / "s5.npy").astype(np.float32)
    np.testing.assert_array_equal(store.read("gaze", np.array([5]))[0], gaze)
    assert "1 groups are in two splits" in capsys.readouterr().out


def test_the_honest_split_has_each_group_once_and_samples_without_one_are_their_own(tmp_path):
    write_features(tmp_path)
    rows, left_out = honest_rows(DATASET.read(tmp_path), DATASET.honest)
    assert left_out == 1
    assert "s1" not in {row["id"] for row in rows}
    assert rows[0]["group"] == "id s0"
    write_features(tmp_path / "plain", groups=False)
    assert honest_rows(DATASET.read(tmp_path / "plain"), DATASET.honest)[1] == 0


@pytest.mark.slow
def test_every_stage_runs(tmp_path):
    write_features(tmp_path / "data")
    miniatures.require_comparison(config(tmp_path / "data"), tmp_path)


def test_init_writes_the_modalities_that_the_folder_has(tmp_path, capsys):
    write_features(tmp_path / "data" / "mine")
    params = tmp_path / "params.yaml"
    assert main(["init", "--dataset", "features", "--root", str(tmp_path / "data/mine"), "--output", str(params)]) == 0
    made = load_config(params)
    assert list(made.prepare.modalities) == ["gaze", "pulse"]
    assert made.prepare.source == "features"
    assert {encoder.kind for encoder in made.network.encoders.values()} == {"mlp"}
    assert main(["presets", "features"]) == 1
    assert "bss init --dataset features --root DIR" in capsys.readouterr().err
    assert main(["presets"]) == 0


def test_missing_and_broken_files_and_folders_are_named(tmp_path):
    root = tmp_path / "data"
    write_features(root)
    (root / "gaze" / "s3.npy").unlink()
    (root / "pulse" / "s4.npy").write_bytes(b"")
    np.save(root / "pulse" / "s6.npy", np.zeros(8))
    texts = [f"id s{i}" for i in (3, 4, 6)]
    miniatures.require_refused_then_skipped(config(root), config(root, **miniatures.SKIP), tmp_path, 3, texts, 26)
    with pytest.raises(BssError, match=r"missing column 'pulses' \(is it 'pulse'\?\)"):
        prepare(config(root, names=("pulses", "gaze")), root, tmp_path / "other")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: (root / "labels.csv").unlink(), r"has none of labels\.csv"),
        (lambda root: (root / "labels.csv").write_text("id,class,split\na,b,train\n"), r"missing label; it has"),
        (
            lambda root: [path.rename(path.with_suffix(".bin")) for path in root.glob("*/*.npy")],
            r"no folder with \.npy",
        ),
    ],
)
def test_a_folder_of_another_layout_is_refused_by_name(tmp_path, damage, message):
    write_features(tmp_path)
    damage(tmp_path)
    with pytest.raises(BssError, match=message):
        DATASET.read(tmp_path)
