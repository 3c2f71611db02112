"""Text lengths in tokens, and how many texts are truncated."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bss.config.modalities import ModalityKind, TextKind
from bss.config.schema import Links
from bss.data.decode.paths import boundary, inside
from bss.data.decode.text import Tokenizer, read_text
from bss.data.rows import Sample


def lengths_column(modality: str) -> str:
    """Return the column of samples.parquet with the text lengths of a modality."""
    return f"{modality}_tokens"


def token_lengths(
    samples: Sequence[Sample], kinds: Mapping[str, ModalityKind], root: Path, links: Links = "inside"
) -> dict[str, list[int]]:
    """Return the length of each sample's full text in tokens, with special tokens, by text modality.

    All texts must be decodable.
    """
    real_root = root.resolve()
    limit = boundary(real_root, links)
    lengths = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, kind in kinds.items():
            if isinstance(kind, TextKind):
                count = Tokenizer(kind, real_root, name).count
                values = [sample.files[name] for sample in samples]
                texts = values if kind.source == "column" else (read_text(inside(real_root, v, limit)) for v in values)
                lengths[name] = list(pool.map(count, texts))
    return lengths


def vocabularies(kinds: Mapping[str, ModalityKind], root: Path) -> dict[str, int]:
    """Return the vocabulary size of each text modality's tokenizer."""
    texts = {name: kind for name, kind in kinds.items() if isinstance(kind, TextKind)}
    return {name: Tokenizer(kind, root.resolve(), name).vocabulary for name, kind in texts.items()}


def cut_note(lengths: Sequence[int], tokens: int) -> str:
    """Describe how many texts of these lengths exceed `tokens`; empty if none do."""
    cut = sum(length > tokens for length in lengths)
    if not cut:
        return ""
    share = 100 * cut / len(lengths)
    percent = f"{share:.0f} %" if share >= 1 else "less than 1 %"
    return f"{cut} of {len(lengths)} texts ({percent}) are cut to {tokens} tokens; the longest has {max(lengths)}"


def cut_notes(lengths: Mapping[str, Sequence[int]], kinds: Mapping[str, ModalityKind]) -> list[str]:
    """Return a line for each text modality with truncated texts."""
    notes = []
    for name, kind in kinds.items():
        if isinstance(kind, TextKind) and (note := cut_note(lengths.get(name, ()), kind.tokens)):
            notes.append(f"{name}: {note} (prepare.modalities.{name}.tokens)")
    return notes
