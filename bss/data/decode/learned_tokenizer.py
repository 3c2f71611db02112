"""Byte-level BPE tokenizer, learned from texts (Sennrich, Haddow and Birch, 2016; Radford et al., 2019)."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

FILES = ("tokenizer.json", "tokenizer_config.json")
"""Files that transformers' AutoTokenizer reads."""
MARKS = ("[PAD]", "[CLS]", "[SEP]")
"""Padding, start and end of a text; their ids are 0, 1 and 2."""
MIN_COUNT = 2
"""Pairs that occur less often are not merged."""
MAX_BYTES = 16
"""Maximum number of bytes of one token, so that a repeated sentence without spaces does not become one."""


def tokenizer_folder(modality: str) -> str:
    """Return the folder in a store, and in a trial's results, that holds a modality's learned tokenizer."""
    return f"{modality}.tokenizer"


def learn_tokenizer(texts: Iterable[str], vocabulary: int) -> Any:
    """Return a `tokenizers.Tokenizer` with at most `vocabulary` ids, the same for the same texts in any order.

    Its first ids are the special tokens and the 256 bytes, so no text has an unknown token.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    # Adds a space before the first word: a word has the same tokens at any position.
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=MIN_COUNT,
        max_token_length=MAX_BYTES,
        special_tokens=list(MARKS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    _, start, end = MARKS
    marks = [(mark, MARKS.index(mark)) for mark in (start, end)]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{start} $A {end}", special_tokens=marks)
    return tokenizer


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Write `FILES` into a new folder."""
    padding, start, end = MARKS
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": padding,
        "cls_token": start,
        "sep_token": end,
        "split_special_tokens": True,  # a text that spells a special token stays text
    }
    folder.mkdir()
    for name, text in zip(FILES, (tokenizer.to_str(), json.dumps(config, indent=2) + "\n"), strict=True):
        (folder / name).write_text(text, encoding="utf-8")


def copy_tokenizers(source: Path, modalities: Iterable[str], folder: Path) -> None:
    """Copy the learned tokenizers of `modalities`, if any, from the store `source` into `folder`."""
    for name in map(tokenizer_folder, modalities):
        if (source / name).is_dir():
            shutil.copytree(source / name, folder / name)
