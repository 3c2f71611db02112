"""What the page knows of its samples, as JSON."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from bss.audit.page.media import SECONDS
from bss.audit.proposals import decide
from bss.data.decisions import KINDS, prepared_with
from bss.data.store import SPLITS, Store
from bss.data.tables import open_table

Address = dict[str, str]
"""Suffix (.webp or .wav) to address of a picture or sound."""
Addresses = Mapping[int, Mapping[str, Address]]
"""Media by row of the store and modality."""
ABOVE = 0.9
"""The page proposes what `--apply` does with this probability, as documented."""
LEAST = 0.005
"""Least probability of an explanation that is shown."""
FACTS = {
    "level_dbfs": "{:.0f} dBFS",
    "flatness": "flatness {:.2f}",
    "contrast": "contrast {:.1%}",
    "correlation": "correlation {:.1f} deviations",
    "spread": "spread {:.3g}",
    "tokens": "{:.0f} tokens",
}
"""How each fact of an input is shown."""


def rows_of(store: Store, shown: Iterable[Mapping[str, Any]]) -> list[int]:
    """Return the rows in the store of the samples `shown` and of their copies, sorted."""
    position = {name: row for row, name in enumerate(store.ids.tolist())}
    names = {row[key] for row in shown for key in ("id", "duplicate_of")} - {None}
    return sorted(position[name] for name in names)


def earlier_decisions(store: Store) -> list[tuple[str, str, str, str]]:
    """Return id, kind, value and the label before it of each decision that the store was prepared with."""
    return [(row["id"], row["decision"], row["value"], row["label"]) for row in prepared_with(store.path)]


def content_of(
    store: Store,
    dataset: str,
    earlier: Sequence[tuple[str, str, str, str]],
    rows: list[dict[str, Any]],
    shown: int,
    addresses: Addresses,
) -> dict[str, Any]:
    """Return the content of the page about the first `shown` of the audit's `rows`."""
    position = {name: row for row, name in enumerate(store.ids.tolist())}
    table = open_table(store.path / "samples.parquet", "prepare", tuple(store.modalities))
    texts = {name: table.texts(name) for name in store.modalities}
    proposals = {name: (kind, value) for name, kind, value in decide(rows, ABOVE)}
    explanations = _explanations(list(store.modalities), rows[0]) if rows else {}

    def inputs_of(row: int) -> list[dict[str, Any]]:
        return [
            {"text": texts[name][row], "written": modality.kind == "text", **addresses[row].get(name, {})}
            for name, modality in store.modalities.items()
        ]

    def copy_of(row: Mapping[str, Any]) -> dict[str, Any] | None:
        if row["duplicate_of"] is None:
            return None
        other = position[row["duplicate_of"]]
        return {
            "id": row["duplicate_of"],
            "split": str(store.splits[other]),
            "label": store.classes[store.labels[other]],
            "group": store.groups[other],
            "similarity": row["similarity"],
            "inputs": inputs_of(other),
        }

    samples, others = [], position.keys() - {row["id"] for row in rows[:shown]}
    for row in rows[:shown]:
        own = position[row["id"]]
        inputs = inputs_of(own)
        for name, one in zip(store.modalities, inputs, strict=True):
            one["shows"], one["confidence"] = row[f"{name}_shows"], row[f"{name}_confidence"]
            one["facts"] = _facts(store, name, own, row)
        found = sorted(((row[column] or 0.0, text) for column, text in explanations.items()), key=lambda pair: -pair[0])
        samples.append(
            {
                **{
                    key: row[key]
                    for key in ("id", "split", "class", "group", "kind", "probability", "blame", "suggested")
                },
                "explanations": [[text, p] for p, text in found if p >= LEAST],
                "proposal": proposals.get(row["id"]),
                "inputs": inputs,
                "copy": copy_of(row),
            }
        )
    return {
        "dataset": dataset,
        "classes": list(store.classes),
        "modalities": list(store.modalities),
        "splits": list(SPLITS),
        "decisions": list(KINDS),
        "earlier": earlier,
        "samples": samples,
        "others": sorted(others),  # decisions about them can be loaded
    }


def _explanations(modalities: Sequence[str], row: Mapping[str, Any]) -> dict[str, str]:
    """Return column and words of each explanation that the audit considered."""
    words = {"p_clean": "fits", "p_label": "wrong label"}
    words |= {f"p_contradiction_{name}": f"{name} contradicts" for name in modalities}
    words |= {f"p_empty_{name}": f"{name} carries nothing" for name in modalities}
    return {column: text for column, text in words.items() if column in row}


def _facts(store: Store, name: str, row: int, values: Mapping[str, Any]) -> str:
    """Return length and facts of an input in words."""
    found = []
    rate = store.modalities[name].sample_rate
    if rate is not None:
        seconds = int(store.lengths(name, np.array([row]))[0]) / rate
        found.append(f"first {SECONDS:g} of {seconds:.1f} s" if seconds > SECONDS else f"{seconds:.2g} s")
    for fact, form in FACTS.items():
        if values.get(f"{name}_{fact}") is not None:
            found.append(form.format(values[f"{name}_{fact}"]))
    return ", ".join(found)
