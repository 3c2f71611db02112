"""A tokenizer and images in miniature, where the presets of text and image look for them."""

from pathlib import Path

import numpy as np
from media import stamp, write_tokenizer
from PIL import Image

WORDS = ["a", "the", "owl", "cat", "pie", "sees", "is", "good", "bad", "here"]


def write_words(root: Path) -> None:
    """Write a BERT tokenizer of WORDS below the data root, under the name that it has on the hub."""
    write_tokenizer(root / "google-bert" / "bert-base-uncased", WORDS)


def write_image(path: Path, level: int) -> None:
    """Write a grey image; its format is the name's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((30, 44, 3), level, dtype=np.uint8)).save(path)
    stamp(path)


def words_of(tokens: np.ndarray) -> str:
    """Return the words that token numbers stand for; what the tokenizer does not know is [UNK]."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    return " ".join(names[number] for number in tokens.tolist() if names[number] not in ("[PAD]", "[CLS]", "[SEP]"))
