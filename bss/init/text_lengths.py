"""Text lengths of a column in tokens, estimated if the tokenizer is not available yet."""

import math
import tempfile
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from bss.config.modalities import TextKind
from bss.config.schema import Links
from bss.data.decode.learned_tokenizer import learn_tokenizer, save_tokenizer
from bss.data.decode.spans import spread
from bss.data.decode.text import Tokenizer
from bss.data.learned_tokenizers import clean_texts
from bss.errors import BssError

LETTERS_PER_WORD = {
    **{"CJK": 2, "HIRAGANA": 3, "KATAKANA": 3},
    **{"THAI": 4, "LAO": 4, "KHMER": 4, "MYANMAR": 4, "TIBETAN": 4, "JAVANESE": 4, "BALINESE": 4, "TAI": 4},
}
"""Letters per word in scripts without spaces, about the mean; keyed by the first word of the letters' Unicode names."""
LETTERS_PER_TOKEN = 3
"""Letters per token in long Latin words; BERT's English tokenizer averages four or more on English."""
LEARNED_FROM = 5000
"""Training texts used to estimate lengths before the tokenizer is learned from all."""
ESTIMATE = "four tokens per three words, more for long ones, and one per letter of non-Latin scripts"


def count_words(text: str) -> int:
    """Estimate the number of words of a text, including scripts without spaces."""
    unspaced: dict[int, int] = {}
    others = []
    for letter in text:
        size = LETTERS_PER_WORD.get(_script(letter))
        others.append(letter if size is None else " ")
        if size is not None:
            unspaced[size] = unspaced.get(size, 0) + 1
    return len("".join(others).split()) + sum(math.ceil(count / size) for size, count in unspaced.items())


def measure_lengths(texts: Sequence[str], tokenizer: str, root: Path) -> tuple[list[int], str]:
    """Return each text's length in tokens, with special tokens, and why it is an estimate (empty if exact).

    Nothing is downloaded: a tokenizer on the hub is used only if it is cached.
    """
    try:
        return _lengths(texts, TextKind("text", tokenizer, tokens=512), root), ""
    except BssError:
        return [
            estimate_tokens(text) for text in texts
        ], f"the tokenizer {tokenizer} could not be loaded without a network"


def lengths_if_learned(
    texts: Sequence[str], train: Sequence[str], source: Literal["column", "file"], root: Path, links: Links
) -> list[int]:
    """Return each text's length in tokens, with special tokens, under the tokenizer that would be learned.

    `train` are the column's values in the training rows; at most `LEARNED_FROM` are used.
    """
    kind = TextKind("text", tokens=512, source=source)
    values = [train[i] for i in spread(len(train), min(len(train), LEARNED_FROM))]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "tokenizer"
        save_tokenizer(learn_tokenizer(clean_texts(values, kind, root, links), kind.vocabulary), folder)
        return _lengths(texts, replace(kind, tokenizer=str(folder)), folder)


def _lengths(texts: Sequence[str], kind: TextKind, root: Path) -> list[int]:
    count = Tokenizer(kind, root, "text", fetch=False).count
    return [count(text) for text in texts]


def estimate_tokens(text: str) -> int:
    """Estimate BERT's token count of a text, with two special tokens, erring on the high side."""
    total = 2.0
    for word in text.split():
        latin = sum(_script(letter) in ("LATIN", "DIGIT") for letter in word)
        rest = sum(letter.isalnum() for letter in word) - latin
        total += rest + (max(4 / 3, latin / LETTERS_PER_TOKEN) if latin else 0)
    return math.ceil(total)


def _script(letter: str) -> str:
    return unicodedata.name(letter, "").partition(" ")[0].partition("-")[0]
