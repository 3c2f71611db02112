"""Values that a decoder had to alter because the store cannot hold them: counted, never silent."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from bss.data.decode.bad_sample import Array, named


class Alteration(NamedTuple):
    """An alteration of some values of one sample."""

    what: str
    """Completes "values were ...", such as "clipped to [-1, 1]"."""
    values: int
    """Number of altered values."""
    largest: float
    """Largest magnitude among them before the alteration."""


class Decoded(NamedTuple):
    """One decoded sample of a modality."""

    array: Array
    altered: tuple[Alteration, ...] = ()
    """At most one entry per `what`; entries without altered values may be left out."""


@dataclass(frozen=True)
class Altered:
    """One alteration of a modality, summed over all samples."""

    values: int
    samples: int
    """Samples with at least one altered value."""
    largest: float
    """Largest magnitude before the alteration."""
    file: str
    """The first file with that value, as named in the manifest."""


AlteredValues = dict[str, dict[str, Altered]]
"""Altered values by modality and kind of alteration; only those that occurred."""


def together(alterations: Iterable[Alteration]) -> tuple[Alteration, ...]:
    """Return the summed alterations of the parts of one sample, one entry per `what`."""
    total: dict[str, Alteration] = {}
    for what, values, largest in alterations:
        old = total.get(what, Alteration(what, 0, 0.0))
        total[what] = Alteration(what, old.values + values, max(old.largest, largest))
    return tuple(total.values())


def count_altered(total: AlteredValues, modality: str, file: str, alterations: Iterable[Alteration]) -> None:
    """Add one sample's `alterations` to `total`; call it in manifest order."""
    for what, values, largest in alterations:
        if values:
            _add(total, modality, what, Altered(values, 1, float(largest), named(file)))


def join_altered(parts: Iterable[AlteredValues]) -> AlteredValues:
    """Return the sum of `parts`, given in manifest order."""
    total: AlteredValues = {}
    for part in parts:
        for modality, entries in part.items():
            for what, entry in entries.items():
                _add(total, modality, what, entry)
    return total


def describe_altered(total: AlteredValues) -> list[str]:
    """Return one line for each modality and alteration."""
    return [
        f"{modality}: {entry.values:,} values in {entry.samples:,} samples were {what}; "
        f"the largest was {entry.largest:.6g}, in {entry.file}"
        for modality, entries in total.items()
        for what, entry in entries.items()
    ]


def altered_to_tree(total: AlteredValues) -> dict[str, Any]:
    """Return `total` as plain values for JSON, in sorted order."""
    return {
        modality: {what: asdict(entry) for what, entry in sorted(entries.items())}
        for modality, entries in sorted(total.items())
    }


def altered_from_tree(tree: Any) -> AlteredValues:
    """Invert `altered_to_tree`; raise `ValueError` for an invalid tree."""
    if not _is_mapping(tree) or not all(map(_is_mapping, tree.values())):
        raise ValueError("not by modality and alteration")
    return {modality: {what: _entry(entry) for what, entry in entries.items()} for modality, entries in tree.items()}


def _entry(tree: Any) -> Altered:
    if not _is_mapping(tree) or set(tree) != set(Altered.__dataclass_fields__):
        raise ValueError("not values, samples, largest and file")
    counts = tree["values"], tree["samples"]
    sound = all(type(count) is int and count > 0 for count in counts)
    sound &= type(tree["largest"]) is float and type(tree["file"]) is str
    if not sound:
        raise ValueError("values, samples, largest or file have a wrong type or range")
    return Altered(**tree)


def _is_mapping(tree: Any) -> bool:
    return isinstance(tree, Mapping)


def _add(total: AlteredValues, modality: str, what: str, new: Altered) -> None:
    entries = total.setdefault(modality, {})
    old = entries.get(what)
    if old is None:
        entries[what] = new
        return
    top = new if new.largest > old.largest else old  # on a tie the first
    entries[what] = Altered(old.values + new.values, old.samples + new.samples, top.largest, top.file)
