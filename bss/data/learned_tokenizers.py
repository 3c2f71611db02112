"""Learned tokenizers: `tokenizer: null` learns one from the training texts."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bss.config.modalities import ModalityKind, TextKind
from bss.config.schema import Links
from bss.data.decode.bad_sample import BadSampleError
from bss.data.decode.learned_tokenizer import learn_tokenizer, save_tokenizer, tokenizer_folder
from bss.data.decode.paths import boundary, inside
from bss.data.decode.text import clean, read_text
from bss.data.rows import Sample


def learn_tokenizers(
    folder: Path, kinds: Mapping[str, ModalityKind], samples: Sequence[Sample], root: Path, links: Links = "inside"
) -> dict[str, ModalityKind]:
    """Learn the missing tokenizers of `kinds`, write them into the store `folder`, and return `kinds` with their names.

    `samples` are those of the whole manifest, so that every shard learns the same; val and test are not used.
    Unreadable files are skipped here and reported when they are decoded.
    """
    train = [sample for sample in samples if sample.split == "train"]
    named = dict(kinds)
    for name, kind in kinds.items():
        if isinstance(kind, TextKind) and kind.tokenizer is None:
            place = folder / tokenizer_folder(name)
            values = (sample.files[name] for sample in train)
            save_tokenizer(learn_tokenizer(clean_texts(values, kind, root, links), kind.vocabulary), place)
            named[name] = replace(kind, tokenizer=str(place.resolve()))
    return named


def clean_texts(values: Iterable[str], kind: TextKind, root: Path, links: Links) -> Iterator[str]:
    """Yield the cleaned texts of a column's `values` (texts or paths), without unreadable ones."""
    real_root = root.resolve()
    limit = boundary(real_root, links)
    for value in values:
        try:
            yield clean(value if kind.source == "column" else read_text(inside(real_root, value, limit)), kind)
        except BadSampleError:
            continue
