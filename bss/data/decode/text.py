"""Text as token ids."""

import re
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bss.config.modalities import TextKind
from bss.data.decode.bad_sample import BadSampleError, is_panic
from bss.data.decode.contents import require_content, require_text
from bss.errors import BssError

Tokens = npt.NDArray[np.int32]

NO_LETTER = re.compile(r"[^a-zA-Z]")

MAX_BYTES = 1 << 20
"""Largest .txt file; a larger one is not the text of one sample."""


class Tokenizer:
    """A tokenizer with a fixed length and padding id 0. Thread-safe."""

    def __init__(self, kind: TextKind, root: Path, modality: str, fetch: bool = True, saved: str | None = None) -> None:
        """Load it, or restore it from `save`; without `fetch`, do not contact the hub.

        Raises `BssError` if it cannot be loaded, cannot truncate to `kind.tokens`, or pads with another id.
        """
        self.kind = kind
        self.key = f"params.yaml: prepare.modalities.{modality}"
        self._tokenizer = self._load(root, fetch) if saved is None else _restore(saved, modality)
        self.vocabulary: int = self._tokenizer.get_vocab_size()
        """Number of token ids."""

    def encode(self, text: str) -> Tokens:
        """Return the text's token ids, int32 [tokens], padded with 0 at the end."""
        numbers = self._tokenizer.encode(clean(text, self.kind)).ids
        if not numbers:
            raise BadSampleError("has no words")
        if 0 in numbers:
            raise BadSampleError("contains the tokenizer's padding token")
        if len(numbers) > self.kind.tokens or max(numbers) > np.iinfo(np.int32).max:
            raise BadSampleError("its tokenizer returns too many tokens or token ids out of range")
        return np.pad(np.array(numbers, dtype=np.int32), (0, self.kind.tokens - len(numbers)))

    def count(self, text: str) -> int:
        """Return the number of tokens of the full text with special tokens, including those that `encode` cuts off."""
        encoding = self._tokenizer.encode(clean(text, self.kind))
        marks = self._tokenizer.num_special_tokens_to_add(False)
        return len(encoding.ids) + sum(len(rest.ids) - marks for rest in encoding.overflowing)

    def save(self) -> str:
        """Return the tokenizer as JSON; restored from it, it encodes the same without its folder or the hub."""
        text: str = self._tokenizer.to_str()
        return text

    def _load(self, root: Path, fetch: bool) -> Any:
        kind = self.kind
        assert kind.tokenizer is not None, "learn_tokenizers comes first"
        folder = root / kind.tokenizer
        try:
            loaded = _from_folder(folder) if folder.is_dir() else _from_hub(kind.tokenizer, kind.revision, fetch)
        except ImportError as error:
            raise BssError(f"{self.key}: text needs transformers ({error}): pip install transformers.") from error
        except BaseException as error:  # whatever a damaged file or a missing network raises
            if not (isinstance(error, Exception) or is_panic(error)):
                raise
            found = "cannot be read" if folder.is_dir() else f"no folder {folder}, and not on the hub"
            why = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise BssError(
                f"{self.key}.tokenizer: {kind.tokenizer!r}: {found} ({why[:200]}). Put the tokenizer's files "
                f"(tokenizer.json, tokenizer_config.json) into a folder of your data such as {root / 'tokenizer'}, and "
                "set `tokenizer: tokenizer`; the pad_token of tokenizer_config.json must have the id 0. Or set "
                "`tokenizer: null`, which learns one from the training texts and needs no network."
            ) from error
        if loaded.pad_token_id != 0:
            raise BssError(
                f"{self.key}.tokenizer: {kind.tokenizer!r} pads with {loaded.pad_token_id}, "
                "but bss needs 0, as in BERT's tokenizers."
            )
        fast = getattr(loaded, "backend_tokenizer", None)
        if fast is None:
            raise BssError(f"{self.key}.tokenizer: {kind.tokenizer!r} has no tokenizer.json, and none can be created.")
        marks = fast.num_special_tokens_to_add(False)
        if kind.tokens <= marks:
            raise BssError(f"{self.key}.tokens must exceed the {marks} special tokens, but got: {kind.tokens}")
        fast.no_padding()
        fast.enable_truncation(kind.tokens)
        return fast


def _restore(saved: str, modality: str) -> Any:
    from tokenizers import Tokenizer as Fast

    try:
        return Fast.from_str(saved)
    except Exception as error:  # the library raises a plain Exception
        raise BssError(
            f"the saved tokenizer of `{modality}` cannot be read ({error}). Run `bss prepare` and `bss train` again."
        ) from error


def _from_folder(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def _from_hub(name: str, revision: str | None, fetch: bool) -> Any:
    """Return a tokenizer from the hub: the cached one, or with `fetch` a downloaded one."""
    from huggingface_hub import HfApi
    from transformers import AutoTokenizer

    settings: dict[str, Any] = {"revision": revision or "main", "trust_remote_code": False}
    try:
        return AutoTokenizer.from_pretrained(name, local_files_only=True, **settings)
    except Exception:  # not cached
        if not fetch:
            raise
        # One attempt: transformers itself would retry for a minute without a network.
        HfApi().model_info(name, revision=revision, timeout=10)
    return AutoTokenizer.from_pretrained(name, **settings)


def clean(text: str, kind: TextKind) -> str:
    """Clean `text` as configured in `kind`: case, characters and number of words, joined by single spaces."""
    if kind.lower_case:
        text = text.lower()
    if kind.remove_punctuation:
        text = "".join(" " if _is_punctuation(letter) else letter for letter in text)
    if kind.letters_only:
        text = NO_LETTER.sub(" ", text)
    return " ".join(text.split()[: kind.words])


def read_text(path: Path) -> str:
    """Return the text of a file in UTF-8."""
    try:
        require_text(path)
        if path.stat().st_size > MAX_BYTES:
            raise BadSampleError(f"larger than {MAX_BYTES >> 20} MiB: not the text of one sample")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        require_content(path, "text file", "text")
        raise BadSampleError(f"not a text file in UTF-8 (byte {error.start}); convert it to UTF-8") from error
    except OSError as error:
        raise BadSampleError(f"not accessible ({error.strerror})") from error


def _is_punctuation(letter: str) -> bool:
    """Return whether a letter is Unicode punctuation or an ASCII symbol such as $ and +."""
    return unicodedata.category(letter)[0] == "P" or letter in "$+<=>^`|~"
