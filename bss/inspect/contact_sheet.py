"""A few samples of each class, always the same ones."""

from dataclasses import dataclass

import numpy as np

from bss.data.decode.spans import spread
from bss.data.store import Store
from bss.data.tables import open_table
from bss.inspect.pictures import picture
from bss.inspect.summary import text_lengths

PER_CLASS = 4
"""Samples per class."""
AT_MOST = 96
"""Maximum number of samples in total; with many classes, fewer samples per class, then fewer classes."""


@dataclass(frozen=True)
class Part:
    """One modality of a sample."""

    modality: str
    address: str | None
    """A ``data:`` URL of its picture, or None."""
    text: str
    """The sample's text, or the path it was decoded from."""


@dataclass(frozen=True)
class Card:
    """One sample."""

    id: str
    split: str
    group: str | None
    parts: list[Part]


def contact_sheet(store: Store) -> dict[str, list[Card]]:
    """Return cards by class: samples spread evenly over the class, in the store's order."""
    shown = np.unique(spread(len(store.classes), min(len(store.classes), AT_MOST))).tolist()
    each = max(1, min(PER_CLASS, AT_MOST // len(shown)))
    table = open_table(store.path / "samples.parquet", "prepare", tuple(store.modalities))
    values = {name: table.texts(name) for name in store.modalities}
    lengths = text_lengths(store)
    cards = {}
    for label in shown:
        rows = np.flatnonzero(store.labels == label)
        chosen = rows[spread(len(rows), min(len(rows), each))]
        cards[store.classes[label]] = [_card(store, values, lengths, int(row)) for row in chosen]
    return cards


def _card(store: Store, values: dict[str, list[str]], lengths: dict[str, list[int]], row: int) -> Card:
    parts = []
    for name, modality in store.modalities.items():
        sample = store.sample(name, row)
        text = values[name][row]
        if modality.kind == "text":
            kept, length = np.count_nonzero(sample), lengths[name][row]
            text += f" ({kept} of its {length} tokens)" if length > kept else f" ({kept} of {len(sample)} tokens)"
        parts.append(Part(name, picture(modality, sample), text))
    return Card(store.ids[row], str(store.splits[row]), store.groups[row], parts)
