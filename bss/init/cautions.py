"""Warnings about a manifest before anyone trains on it."""

import unicodedata
from collections import Counter

from bss.data.manifest import Manifest
from bss.data.store import SPLITS

FEW = 10
"""With fewer training samples of a class, a network learns little about it."""
FEW_TEST = 5
"""With fewer test samples of a class, its share is not meaningful."""


def manifest_cautions(manifest: Manifest) -> list[str]:
    """Return a line for each oddity of labels, splits, groups and files."""
    return [*_labels(manifest), *_classes(manifest), *_splits(manifest), *_files(manifest)]


def class_counts(manifest: Manifest) -> dict[str, dict[str, int]]:
    """Return the number of samples of each class and split."""
    counts = Counter((sample.label, sample.split) for sample in manifest.samples)
    return {label: {split: counts[label, split] for split in SPLITS} for label in manifest.classes}


def measurement_caution(manifest: Manifest) -> list[str]:
    """Return a line if the labels look like measurements rather than classes."""
    distinct = {sample.label for sample in manifest.samples}
    numbers = [_number(label) for label in distinct]
    if any(number is None for number in numbers):
        return []
    broken = any(number != int(number) for number in numbers if number is not None)
    if not broken and (len(distinct) <= 20 or len(manifest.samples) >= FEW * len(distinct)):
        return []
    return [
        f"the labels look like measurements ({len(distinct)} different numbers): bss needs classes, and each number "
        "would become one"
    ]


def _labels(manifest: Manifest) -> list[str]:
    distinct = {sample.label for sample in manifest.samples}
    cautions = measurement_caution(manifest)
    looks: dict[str, list[str]] = {}
    for label in sorted(distinct):
        looks.setdefault(_look_of(label).casefold(), []).append(label)
    alike = [names for names in looks.values() if len(names) > 1]
    case_alone = [names for names in alike if len({name.casefold() for name in names}) == 1]
    hidden = [names for names in alike if names not in case_alone]
    for what, found in (("differ only in case", case_alone), ("look the same", hidden)):
        listed = ", ".join(" and ".join(map(ascii, names)) for names in found)
        cautions += [f"labels that {what} count as different classes: {listed}"] * bool(found)
    return cautions


def _look_of(label: str) -> str:
    """Return the visible text: one Unicode form, single spaces, no invisible characters such as byte-order marks."""
    visible = "".join(c for c in unicodedata.normalize("NFKC", label) if unicodedata.category(c) != "Cf")
    return " ".join(visible.split())


def _classes(manifest: Manifest) -> list[str]:
    counts = class_counts(manifest)
    few = [f"{label} ({count['train']})" for label, count in counts.items() if count["train"] < FEW]
    cautions = [f"fewer than {FEW} training samples: {_some(few)}"] * bool(few)
    train = [count["train"] for count in counts.values()]
    if max(train) > 10 * min(train):
        cautions.append(f"class sizes differ widely ({min(train)} to {max(train)} in train): look at macro-F1")
    for split in ("val", "test"):
        unseen = [label for label, count in counts.items() if not count[split]]
        if 0 < len(unseen) < len(counts):  # an empty val is not missing any class
            cautions.append(f"not in {split}: {_some(unseen)}")
    return cautions


def _splits(manifest: Manifest) -> list[str]:
    counts = class_counts(manifest)
    totals = {split: sum(count[split] for count in counts.values()) for split in SPLITS}
    everything = sum(totals.values())
    cautions = []
    for split in ("val", "test"):
        if 0 < totals[split] < 0.05 * everything:
            cautions.append(f"{split} holds {totals[split]} of {everything} samples: its accuracies are coarse")
        if totals[split] > totals["train"]:
            cautions.append(f"{split} is larger than train ({totals[split]} against {totals['train']})")
        uneven = [
            label
            for label, count in counts.items()
            if count[split] >= FEW_TEST
            and not 0.5 <= (count[split] / totals[split]) / (count["train"] / totals["train"]) <= 2
        ]
        if uneven:
            cautions.append(f"more than twice or less than half as frequent in {split} as in train: {_some(uneven)}")
    if all(sample.group is None for sample in manifest.samples):
        cautions.append(
            "no column `group`: cannot check whether a speaker, actor or video is in two splits, which makes a "
            "test too easy"
        )
    return cautions


def _files(manifest: Manifest) -> list[str]:
    """Find the same value of a modality in two splits."""
    seen: dict[tuple[str, str, object], set[str]] = {}
    for sample in manifest.samples:
        for modality, value in sample.files.items():
            seen.setdefault((modality, value, sample.span(modality)), set()).add(sample.split)
    shared = Counter(modality for (modality, _, _), splits in seen.items() if len(splits) > 1)
    return [f"{count} of the values of {modality} are in two splits" for modality, count in shared.items()]


def _number(label: str) -> float | None:
    try:
        number = float(label)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
