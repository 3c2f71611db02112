from pathlib import Path

import pytest

from bss.data.manifest import Manifest
from bss.data.rows import Sample
from bss.init.cautions import manifest_cautions


def manifest(counts, files=lambda number: f"{number}.wav", group=lambda number: f"g{number}"):
    """Samples by (label, split) and count."""
    samples = []
    for (label, split), count in counts.items():
        for _ in range(count):
            number = len(samples)
            samples.append(Sample(number, str(number), label, split, group(number), {"audio": files(number)}))
    return Manifest(Path("manifest.csv"), samples, [])


def even(*labels, train=40, val=10, test=10):
    sizes = {"train": train, "val": val, "test": test}
    return {(label, split): count for label in labels for split, count in sizes.items()}


def test_a_sound_manifest_needs_no_caution():
    assert manifest_cautions(manifest(even("a", "b"))) == []
    assert manifest_cautions(manifest(even(*map(str, range(10))))) == []


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (even("0.5", "1.0"), "the labels look like measurements (2 different numbers)"),
        (even(*map(str, range(30)), train=3, val=1, test=1), "the labels look like measurements (30 different"),
        (even("Owl", "owl"), "labels that differ only in case count as different classes: 'Owl' and 'owl'"),
        (even("owl", "\ufeffowl"), r"labels that look the same count as different classes: 'owl' and '\ufeffowl'"),
        (even("caf\u00e9", "cafe\u0301"), r"look the same count as different classes: 'cafe\u0301' and 'caf\xe9'"),
        (even("a  b", "a\u00a0b"), r"look the same count as different classes: 'a  b' and 'a\xa0b'"),
        (even("a", "b") | {("b", "train"): 6}, "fewer than 10 training samples: b (6)"),
        (even("a", "b") | {("a", "train"): 900}, "sizes differ widely (40 to 900 in train)"),
        (even("a", "b") | {("b", "test"): 0}, "not in test: b"),
        (even("a", "b") | {("b", "val"): 0}, "not in val: b"),
        (even("a", "b", test=2), "test holds 4 of 104 samples: its accuracies are coarse"),
        (even("a", "b", test=90), "test is larger than train (180 against 80)"),
        (even("a", "b") | {("b", "val"): 60}, "as frequent in val as in train: a"),
    ],
)
def test_oddities_are_reported(counts, message):
    assert any(message in line for line in manifest_cautions(manifest(counts)))


def test_a_file_in_two_splits_and_missing_groups_are_reported():
    shared = manifest_cautions(manifest(even("a", "b"), files=lambda n: f"{n - 50 if 50 <= n < 60 else n}.wav"))
    assert "10 of the values of audio are in two splits" in "\n".join(shared)
    assert any(
        "no column `group`" in line for line in manifest_cautions(manifest(even("a", "b"), group=lambda _: None))
    )
