"""How a store's samples were decoded; stored with it and its trials so that new files are decoded identically."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from bss.config.load import check_tree, config_to_tree
from bss.config.modalities import ModalityKind, TextKind
from bss.data.decode.text import Tokenizer
from bss.errors import BssError
from bss.files import read_json, write_json

PREPROCESSING = "preprocessing.json"
"""File in the folder of a store and of a trial."""


@dataclass(frozen=True)
class Preprocessing:
    """How each modality was decoded."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid", "strict": True}

    modalities: dict[str, ModalityKind]
    tokenizers: dict[str, str]
    """Saved tokenizer of each text modality."""


def write_preprocessing(
    folder: Path, kinds: Mapping[str, ModalityKind], named: Mapping[str, ModalityKind], root: Path
) -> None:
    """Write to `folder` how `kinds` are decoded; `named` are the same kinds with the name of each text's tokenizer.

    Tokenizers may be folders in `root`, and are copied completely.
    """
    tokenizers = {
        name: Tokenizer(kind, root.resolve(), name).save() for name, kind in named.items() if isinstance(kind, TextKind)
    }
    modalities = {name: config_to_tree(kind) for name, kind in kinds.items()}
    write_json(folder / PREPROCESSING, {"schema_version": 1, "modalities": modalities, "tokenizers": tokenizers})


def read_preprocessing(path: Path, made_by: str) -> Preprocessing:
    """Read the file at `path` that the stage `made_by` wrote; raise `BssError` if it is missing or damaged."""
    tree = read_json(path, made_by, {"schema_version": int, "modalities": dict, "tokenizers": dict})
    del tree["schema_version"]
    preprocessing = check_tree(tree, Preprocessing, f"{path} (rerun `bss {made_by}` to rewrite it)")
    texts = {name for name, kind in preprocessing.modalities.items() if isinstance(kind, TextKind)}
    if set(preprocessing.tokenizers) != texts:
        raise BssError(f"{path}: damaged (tokenizers do not match its texts). Run `bss {made_by}` again.")
    return preprocessing
