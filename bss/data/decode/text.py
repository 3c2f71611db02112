"""Text as the numbers of its tokens."""

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
"""Of one .txt file; what is larger is no text of one sample."""


class Tokenizer:
    """A tokenizer that cuts at a fixed length, and whose padding is 0. Threads may share it."""

    def __init__(self, kind: TextKind, root: Path, modality: str, fetch: bool = True, saved: str | None = None) -> None:
        """Load it, or take what `save` of the same kind returned; without `fetch` the hub is not asked.

        Raises `BssError` where it cannot be had, cannot cut to `kind.tokens`, or pads with another number.
        """
        self.kind = kind
        self.key = f"params.yaml: prepare.modalities.{modality}"
        self._tokenizer = self._load(root, fetch) if saved is None else _restore(saved, modality)
        self.vocabulary: int = self._tokenizer.get_vocab_size()
        """Number of token ids."""

    def encode(self, text: str) -> Tokens:
        """Return the numbers of the text's tokens, int32 [tokens], filled with 0 at the end."""
        numbers = self._tokenizer.encode(clean(text, self.kind)).ids
        if not numbers:
            raise BadSampleError("holds no words")
        if 0 in numbers:
            raise BadSampleError("holds the tokenizer's mark for padding")
        if len(numbers) > self.kind.tokens or max(numbers) > np.iinfo(np.int32).max:
            raise BadSampleError("its tokenizer gives more tokens, or larger numbers, than there are")
        return np.pad(np.array(numbers, dtype=np.int32), (0, self.kind.tokens - len(numbers)))

    def count(self, text: str) -> int:
        """Return how many tokens the whole text has with its marks, those that `encode` cuts off too."""
        encoding = self._tokenizer.encode(clean(text, self.kind))
        marks = self._tokenizer.num_special_tokens_to_add(False)
        return len(encoding.ids) + sum(len(rest.ids) - marks for rest in encoding.overflowing)

    def save(self) -> str:
        """Return the whole tokenizer as JSON; it encodes the same without its folder or the hub."""
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
            found = "cannot be read" if folder.is_dir() else f"no folder {folder}, and the hub did not give it"
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
                "but 0 is needed, as BERT's tokenizers have it."
            )
        fast = getattr(loaded, "backend_tokenizer", None)
        if fast is None:
            raise BssError(f"{self.key}.tokenizer: {kind.tokenizer!r} has no tokenizer.json and none can be made.")
        marks = fast.num_special_tokens_to_add(False)
        if kind.tokens <= marks:
            raise BssError(f"{self.key}.tokens must be more than the tokenizer's {marks} marks, but got: {kind.tokens}")
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
    """Return a tokenizer of the hub: what was fetched before, else with `fetch` by the network."""
    from huggingface_hub import HfApi
    from transformers import AutoTokenizer

    settings: dict[str, Any] = {"revision": revision or "main", "trust_remote_code": False}
    try:
        return AutoTokenizer.from_pretrained(name, local_files_only=True, **settings)
    except Exception:  # nothing was fetched before
        if not fetch:
            raise
        # Asked once: transformers itself would try again for a minute where there is no network.
        HfApi().model_info(name, revision=revision, timeout=10)
    return AutoTokenizer.from_pretrained(name, **settings)


def clean(text: str, kind: TextKind) -> str:
    """Return the words of `text`, single spaces between them, in the case, the letters and the number of `kind`."""
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
            raise BadSampleError(f"larger than {MAX_BYTES >> 20} MiB: no text of one sample")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        require_content(path, "text file", "text")
        raise BadSampleError(f"not a text file in UTF-8 (byte {error.start}); convert it to UTF-8") from error
    except OSError as error:
        raise BadSampleError(f"not accessible ({error.strerror})") from error


def _is_punctuation(letter: str) -> bool:
    """Tell punctuation in Unicode's sense, and the symbols of ASCII such as $ and +."""
    return unicodedata.category(letter)[0] == "P" or letter in "$+<=>^`|~"
