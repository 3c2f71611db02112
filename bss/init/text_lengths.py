"""How long the texts of a column are, before anything is known of their language."""

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
"""Of scripts that put no spaces between words, by the first word of their letters' Unicode names; about the mean."""
LETTERS_PER_TOKEN = 3
"""Of a long word in Latin letters; BERT's English tokenizer has four or more of English."""
LEARNED_FROM = 5000
"""Training texts from which lengths are told before the tokenizer is learned from all."""
ESTIMATE = "four tokens for three words, more for long ones, and one for each letter of other scripts than Latin"


def count_words(text: str) -> int:
    """Return about how many words a text has, in scripts without spaces too."""
    unspaced: dict[int, int] = {}
    others = []
    for letter in text:
        size = LETTERS_PER_WORD.get(_script(letter))
        others.append(letter if size is None else " ")
        if size is not None:
            unspaced[size] = unspaced.get(size, 0) + 1
    return len("".join(others).split()) + sum(math.ceil(count / size) for size, count in unspaced.items())


def measure_lengths(texts: Sequence[str], tokenizer: str, root: Path) -> tuple[list[int], str]:
    """Return the length of each text in tokens, marks included, and why it is an estimate; nothing if it is none.

    Nothing is fetched: a tokenizer of the hub is used if it was fetched before.
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
    """Return the length of each text in tokens, marks included, of the tokenizer that would be learned.

    `train` are the column's values in the training rows; of many, `LEARNED_FROM` are used.
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
    """Return about how many tokens BERT's tokenizers make of a text, with two marks, rather too many than too few."""
    total = 2.0
    for word in text.split():
        latin = sum(_script(letter) in ("LATIN", "DIGIT") for letter in word)
        rest = sum(letter.isalnum() for letter in word) - latin
        total += rest + (max(4 / 3, latin / LETTERS_PER_TOKEN) if latin else 0)
    return math.ceil(total)


def _script(letter: str) -> str:
    return unicodedata.name(letter, "").partition(" ")[0].partition("-")[0]
