"""Texts brought to tokens a second time: with the `tokenizers` library alone, cut and filled by hand."""

import codecs
import unicodedata

from tokenizers import BertWordPieceTokenizer, Tokenizer

SYMBOLS = "$+<=>^`|~"
"""Of ASCII that count as punctuation though Unicode calls them symbols."""


def compare_text(decoded, data: bytes, folder, tokens: int) -> None:
    """Assert that `decoded` are the tokens of the bytes of a text file in UTF-8, by the vocab.txt in `folder`."""
    text = codecs.decode(data.removeprefix(codecs.BOM_UTF8), "utf-8", "strict").lower()
    spaced = "".join(" " if unicodedata.category(c).startswith("P") or c in SYMBOLS else c for c in text)
    fast = BertWordPieceTokenizer(str(folder / "vocab.txt"), lowercase=True)
    start, *words, end = fast.encode(" ".join(spaced.split())).ids
    expected = [start, *words[: tokens - 2], end]
    assert decoded.tolist() == expected + [0] * (tokens - len(expected))


def tokens_of(text: str, tokenizer: str, length: int) -> list[int]:
    """Return the tokens of `text` by a tokenizer.json of the content `tokenizer`, cut and filled to `length`."""
    fast = Tokenizer.from_str(tokenizer)
    fast.no_padding()
    fast.enable_truncation(length)
    found = fast.encode(text).ids
    return found + [0] * (length - len(found))
