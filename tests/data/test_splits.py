from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bss.data.manifest import Manifest
from bss.data.rows import Sample
from bss.data.splits import carve_val
from bss.errors import BssError


def manifest(labels, groups=None):
    samples = [
        Sample(i + 2, str(i), label, "train", None if groups is None else groups[i], {})
        for i, label in enumerate(labels)
    ]
    return Manifest(Path("manifest.csv"), [*samples, Sample(0, "t", labels[0], "test", None, {})], [])


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(10, 40), min_size=2, max_size=5), st.sampled_from([0.1, 0.2, 0.25, 0.5]))
def test_without_groups_the_classes_keep_their_proportions(counts, share):
    labels = [f"c{k}" for k, count in enumerate(counts) for _ in range(count)]
    carved = carve_val(manifest(labels), share)
    val = Counter(s.label for s in carved.samples if s.split == "val")
    for k, count in enumerate(counts):
        assert abs(val[f"c{k}"] - share * count) <= 1
    assert carved.samples[-1].split == "test"


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 12), st.integers(4, 12))
def test_whole_groups_are_moved_and_every_class_stays_in_train(groups, per_group):
    labels = ["ab"[i % 2] for i in range(groups * per_group)]
    carved = carve_val(manifest(labels, [f"g{i // per_group}" for i in range(len(labels))]), 0.2)
    by_split = {split: {s.group for s in carved.samples if s.split == split} for split in ("train", "val")}
    assert by_split["val"]
    assert by_split["train"]
    assert not by_split["val"] & by_split["train"]
    assert {s.label for s in carved.samples if s.split == "train"} == {"a", "b"}


def test_a_rare_class_does_not_make_val_larger():
    carved = carve_val(manifest(["a"] * 500 + ["b"] * 500 + ["c"] * 5), 0.2)
    val = Counter(s.label for s in carved.samples if s.split == "val")
    assert val == {"a": 100, "b": 100, "c": 1}


def test_samples_without_a_group_stand_alone():
    groups = ["g"] * 10 + [None] * 40
    carved = carve_val(manifest(["a", "b"] * 25, groups), 0.2)
    assert len({s.split for s in carved.samples if s.group == "g"}) == 1
    assert {s.split for s in carved.samples[:-1] if s.group is None} == {"train", "val"}


def test_the_same_data_gives_the_same_val():
    labels = ["a", "b"] * 30
    assert carve_val(manifest(labels), 0.2).samples == carve_val(manifest(labels), 0.2).samples


@pytest.mark.parametrize(
    ("labels", "groups", "message"),
    [
        (["a"] * 9 + ["b"] * 4, None, "val_share 0.2 needs 5 train samples of each class, but 'b' has 4"),
        (["a", "b"] * 4, [f"g{i}" for i in range(8)], "but 'a' has 4, 'b' has 4"),
        (["a", "b"] * 5, ["g"] * 10, "form a single group"),
        (["a"] * 5 + ["b"] * 5, ["g"] * 5 + ["h"] * 5, "a class would be missing"),
    ],
)
def test_impossible_splits(labels, groups, message):
    with pytest.raises(BssError) as caught:
        carve_val(manifest(labels, groups), 0.2)
    assert message in str(caught.value)
    assert "Assign some samples to val" in str(caught.value)
