import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from media import write_tokenizer

from bss.config.modalities import TextKind
from bss.data.decode import BadSampleError, make_decoder
from bss.data.decode.spans import WHOLE
from bss.data.decode.text import MAX_BYTES, clean
from bss.errors import BssError

WORDS = ["the", "bird", "sing", "##s", "don", "t", "stop", "!", "The"]
NUMBER = {word: number for number, word in enumerate(WORDS, start=5)}


@pytest.fixture
def root(tmp_path):
    write_tokenizer(tmp_path / "tokenizer", WORDS)
    return tmp_path


def text(**settings):
    return TextKind("text", **({"tokenizer": "tokenizer", "tokens": 8} | settings))


def test_words_become_numbers_between_the_marks_and_zeros_fill_up(root):
    tokens = make_decoder(text(), root, "words")("The bird sings!", WHOLE).array
    assert tokens.dtype == np.int32
    assert tokens.tolist() == [2, NUMBER["the"], NUMBER["bird"], NUMBER["sing"], NUMBER["##s"], 3, 0, 0]


def test_a_long_text_is_cut_before_the_last_mark(root):
    tokens = make_decoder(text(tokens=4), root, "words")("the bird sings the bird", WHOLE).array
    assert tokens.tolist() == [2, NUMBER["the"], NUMBER["bird"], 3]


def test_lower_case_and_punctuation_are_parameters(root):
    assert clean("  Don't STOP,  it costs $5! ", text()) == "don t stop it costs 5"
    assert clean(" Don't\nSTOP! ", text(remove_punctuation=False)) == "don't stop!"
    assert clean("Hé «X» 中。文", text(lower_case=False)) == "Hé X 中 文"
    tokens = make_decoder(text(remove_punctuation=False), root, "words")("stop!", WHOLE).array
    assert tokens.tolist() == [2, NUMBER["stop"], NUMBER["!"], 3, 0, 0, 0, 0]


def test_letters_alone_and_the_first_words_are_kept():
    letters = text(letters_only=True, remove_punctuation=False)
    assert clean("RT @a: $T$'s caf\u00e9 won 2-1 \u4e2d!", letters) == "rt a t s caf won"
    assert clean("A B  c, d", text(words=3)) == "a b c"
    assert clean("A B", text(words=3)) == "a b"
    assert clean("1 2 a 3 b c", text(letters_only=True, words=2)) == "a b"
    with pytest.raises(ValueError, match="`words` must be null or at least 1, but got: 0"):
        text(words=0)


def test_a_text_in_a_file(root):
    (root / "a.txt").write_text("\ufeffThe bird", encoding="utf-8")
    decode = make_decoder(text(source="file"), root, "words")
    assert decode("a.txt", WHOLE).array.tolist() == [2, NUMBER["the"], NUMBER["bird"], 3, 0, 0, 0, 0]
    (root / "latin.txt").write_bytes("Vögel".encode("latin-1"))
    (root / "large.txt").write_bytes(b"a" * (MAX_BYTES + 1))
    (root / "empty.txt").write_bytes(b"")
    (root / "out.txt").symlink_to("/etc/hostname")
    cases = {
        "latin.txt": "not a text file in UTF-8",
        "large.txt": "larger than 1 MiB",
        "empty.txt": "file is empty",
        "none.txt": "file not found",
        "out.txt": "a link that leaves the data root",
    }
    for name, message in cases.items():
        with pytest.raises(BadSampleError, match=message):
            decode(name, WHOLE)


def test_the_mark_for_padding_inside_a_text_is_refused(root):
    kind = text(lower_case=False, remove_punctuation=False)
    with pytest.raises(BadSampleError, match="padding token"):
        make_decoder(kind, root, "words")("the [PAD] bird", WHOLE)


def test_threads_share_a_tokenizer(root):
    decode = make_decoder(text(tokens=50), root, "words")
    texts = ["the bird sings " * (i % 20 + 1) for i in range(400)]
    expected = [decode(words, WHOLE).array.tolist() for words in texts]
    with ThreadPoolExecutor(8) as pool:
        assert [row.tolist() for row in pool.map(lambda words: decode(words, WHOLE).array, texts)] == expected


def test_a_tokenizer_that_pads_with_another_number_is_refused(tmp_path):
    write_tokenizer(tmp_path / "tokenizer", WORDS, marks=("[UNK]", "[PAD]", "[CLS]", "[SEP]"))
    with pytest.raises(
        BssError, match=r"prepare\.modalities\.words\.tokenizer: 'tokenizer' pads with 1, but bss needs 0"
    ):
        make_decoder(text(), tmp_path, "words")


def test_too_few_tokens_for_the_marks_are_refused(root):
    with pytest.raises(BssError, match=r"words\.tokens must exceed the 2 special tokens, but got: 2"):
        make_decoder(text(tokens=2), root, "words")


def test_a_damaged_tokenizer_is_reported(root):
    (root / "tokenizer" / "vocab.txt").unlink()
    (root / "tokenizer" / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "Nothing"}))
    with pytest.raises(BssError, match=r"words\.tokenizer: 'tokenizer': cannot be read"):
        make_decoder(text(), root, "words")


def test_a_tokenizer_that_can_not_be_had_is_one_message(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BssError) as caught:
        make_decoder(text(tokenizer="some/tokenizer"), tmp_path, "words")
    message = str(caught.value)
    assert "prepare.modalities.words.tokenizer: 'some/tokenizer': no folder" in message
    assert "not on the hub" in message
    assert "Put the tokenizer's files (tokenizer.json, tokenizer_config.json) into a folder of your data" in message
    assert "\n" not in message
