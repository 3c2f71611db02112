"""How long the texts of a column are, before anything is known of their language."""

import math
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from bss.config.modalities import TextKind
from bss.data.decode.text import Tokenizer
from bss.errors import BssError

LETTERS_PER_WORD = {
    **{"CJK": 2, "HIRAGANA": 3, "KATAKANA": 3},
    **{"THAI": 4, "LAO": 4, "KHMER": 4, "MYANMAR": 4, "TIBETAN": 4, "JAVANESE": 4, "BALINESE": 4, "TAI": 4},
}
"""Of scripts that put no spaces between words, by the first word of their letters' Unicode names; about the mean."""
LETTERS_PER_TOKEN = 3
"""Of a long word in Latin letters; BERT's English tokenizer has four or more of English."""
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
        count = Tokenizer(TextKind("text", tokenizer, tokens=512), root, "text", fetch=False).count
        return [count(text) for text in texts], ""
    except BssError:
        return [
            estimate_tokens(text) for text in texts
        ], f"the tokenizer {tokenizer} could not be loaded without a network"


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
