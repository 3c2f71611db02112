"""Broken and hostile arrays, texts and tokenizers."""

import gc
import io
import json
import pickle
import warnings

import numpy as np
import pytest
from compared import what_is_accepted_is_compared  # noqa: F401  a fixture
from damage import damage, damages, decode, every_damage, examples, judge, refused, refused_or
from hypothesis import given
from media import write_tokenizer
from second_array import compare_features, compare_flow
from second_text import compare_text, tokens_of
from tally import tried

from bss.config.modalities import FeaturesKind, FlowKind, TextKind
from bss.data.decode import BadSampleError, make_decoder
from bss.data.decode.spans import WHOLE
from bss.errors import BssError

pytestmark = [
    pytest.mark.usefixtures("others_garbage_is_gone", "what_is_accepted_is_compared"),
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def others_garbage_is_gone():
    """Collect what earlier tests left open: its ResourceWarning would be an error in a test that allows no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


FEATURES = FeaturesKind("features")
FLOW = FlowKind("flow", frames=2, height=4, width=5)
WORDS = TextKind("text", tokenizer="tokenizer", tokens=8)


def array_bytes(array, allow_pickle=False):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=allow_pickle)
    return buffer.getvalue()


GOOD = {
    "features": array_bytes(np.arange(12.0).reshape(3, 4)),
    "flow": array_bytes(np.arange(3 * 2 * 6 * 5, dtype=np.float32).reshape(3, 2, 6, 5)),
}


def is_features(decoded):
    assert decoded.dtype == np.float32
    assert decoded.size
    assert np.isfinite(decoded).all()


def is_flow(decoded):
    assert decoded.dtype == np.float16
    assert decoded.shape == (2, 2, 4, 5)
    assert np.isfinite(decoded).all()


CHECKS = {"features": (FEATURES, is_features), "flow": (FLOW, is_flow)}
SECOND = {"features": compare_features, "flow": lambda decoded, data: compare_flow(decoded, data, FLOW)}


def judge_array(what, path, data):
    path.write_bytes(data)
    judge("npy", path, *CHECKS[what], lambda decoded: SECOND[what](decoded, data))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("what", GOOD)
def test_an_array_damaged_anywhere_is_refused_or_still_an_array(what, tmp_path):
    for data in every_damage(GOOD[what], header=128):
        judge_array(what, tmp_path / "x.npy", data)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("what", GOOD)
@examples(100)
@given(changes=damages)
def test_an_array_with_several_faults_is_refused_or_still_an_array(what, changes, tmp_path):
    judge_array(what, tmp_path / "x.npy", damage(GOOD[what], changes))


def npy(descr="<f4", shape="(4,)", order="False", version=b"\x01\x00", data=b"\0" * 64):
    header = f"{{'descr': {descr!r}, 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    length = len(header).to_bytes(2 if version[0] == 1 else 4, "little")
    return b"\x93NUMPY" + version + length + header + data


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "data",
    [
        npy(shape="(10000000000000,)"),
        npy(shape="(4611686018427387904, 4)"),
        npy(shape="(4294967296, 4294967296)"),
        npy(shape="(-1,)"),
        npy(shape="(-4, -4)"),
        npy(shape="(0, 99999999999)"),
        npy(shape="(" + "1, " * 70 + ")"),
        npy(shape="(1e999,)"),
        npy(shape="(True,)"),
        npy(shape="[4]"),
        npy(shape="(" * 2000 + ")" * 2000),
        npy(shape="(9" + "9" * 5000 + ",)"),
        npy(shape="__import__('os').system('true')"),
        npy(descr="|V2147483647", shape="(1,)"),
        npy(descr="<f4, <f4"),
        npy(descr="|O"),
        npy(descr="<U1000000000", shape="(1,)"),
        npy(descr="<M8[s]"),
        npy(descr="<c16"),
        npy(descr="nonsense"),
        npy(order="2"),
        npy(version=b"\x03\x00", shape="(10000000000000,)"),
        npy(version=b"\xff\xff"),
        npy(data=b""),
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b" " * 100,
    ],
)
def test_an_array_that_declares_what_cannot_be_is_refused(data, tmp_path):
    (tmp_path / "x.npy").write_bytes(data)
    for kind in (FEATURES, FLOW):
        with pytest.raises(BadSampleError):
            decode(tmp_path / "x.npy", kind)
        tried("npy", "refused")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_numbers_that_are_not_finite_are_refused(value, tmp_path):
    flow = np.zeros((3, 2, 6, 5))
    flow[1, 0, 3, 2] = value
    for kind in (FEATURES, FLOW):
        np.save(tmp_path / "x.npy", flow)
        with pytest.raises(BadSampleError, match=r"not finite|overflow float32: the largest is 1e\+300"):
            decode(tmp_path / "x.npy", kind)
        tried("npy", "refused")


def test_a_sparse_file_of_a_gigantic_array_is_refused_unread(tmp_path):
    """A file of a terabyte of holes takes no room on disk, but would in memory."""
    for kind, shape in ((FEATURES, (1 << 38,)), (FLOW, (2, 2, 1 << 18, 1 << 18))):
        header = npy(shape=repr(shape), data=b"")
        with (tmp_path / "x.npy").open("wb") as file:
            file.write(header)
            file.truncate(len(header) + 4 * int(np.prod(shape, dtype=object)))
        with pytest.raises(BadSampleError, match=r"at most 268435456|too many pixels"):
            decode(tmp_path / "x.npy", kind)
        tried("npy", "refused")


def test_arrays_that_hold_what_they_say_are_read_whatever_their_order_and_type(tmp_path):
    numbers = np.arange(24).reshape(2, 3, 4)
    for array in (numbers, np.asfortranarray(numbers), numbers.astype(">f8"), numbers > 3, np.float64(3)):
        np.save(tmp_path / "x.npy", array)
        np.testing.assert_array_equal(decode(tmp_path / "x.npy", FEATURES), np.asarray(array, dtype=np.float32))


@pytest.fixture
def words(tmp_path):
    """A data root with a tokenizer of a few words."""
    write_tokenizer(tmp_path / "tokenizer", ["owl", "cat", "a"])
    return tmp_path


def is_tokens(decoded):
    assert decoded.shape == (8,)
    assert decoded.dtype == np.int32
    assert (decoded >= 0).all()


HOSTILE_TEXTS = [
    b"",
    b"\xff\xfeo\0w\0l\0",
    b"owl \xc3\x28",
    b"\xed\xa0\x80",
    b"owl\0cat",
    b"\0" * 100,
    b"[PAD] owl",
    "\u202eowl \u200b\ufeff".encode(),
    ("a" * 100_000).encode(),
    ("e" + "\u0301" * 50_000).encode(),
    b"owl " * 200_000,
    b"x" * (1 << 21),
    b"\x1b[2J\x1b]0;owned\x07",
]


@pytest.mark.parametrize("data", HOSTILE_TEXTS, ids=range(len(HOSTILE_TEXTS)))
def test_a_hostile_text_is_refused_or_tokens(data, words):
    (words / "x.txt").write_bytes(data)
    kind = TextKind("text", tokenizer="tokenizer", tokens=8, source="file")
    judge("text", words / "x.txt", kind, is_tokens, lambda ids: compare_text(ids, data, words / "tokenizer", 8))


@examples(100)
@given(changes=damages)
def test_a_damaged_text_is_refused_or_tokens(changes, words_folder):
    data, path = damage("An owl — a cat, ein Käuzchen!".encode() * 4, changes), words_folder / "x.txt"
    path.write_bytes(data)
    kind = TextKind("text", tokenizer="tokenizer", tokens=8, source="file")
    judge("text", path, kind, is_tokens, lambda ids: compare_text(ids, data, words_folder / "tokenizer", 8))


@pytest.fixture(scope="module")
def words_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")
    write_tokenizer(folder / "tokenizer", ["owl", "cat", "a"])
    return folder


@pytest.fixture(scope="module")
def tokenizer_json(words_folder):
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(words_folder / "tokenizer")
    return json.loads(loaded.backend_tokenizer.to_str())


def compare_tokens(decoded, tokenizer):
    is_tokens(decoded)
    assert decoded.tolist() == tokens_of("an owl", tokenizer, 8)


def with_tokenizer(folder, text, config='{"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]"}'):
    """Write a tokenizer of these files and return what decodes the words `an owl` with it."""
    (folder / "tokenizer").mkdir(exist_ok=True)
    (folder / "tokenizer" / "tokenizer.json").write_text(text, encoding="utf-8")
    (folder / "tokenizer" / "tokenizer_config.json").write_text(config, encoding="utf-8")

    def encode():
        try:
            return make_decoder(WORDS, folder, "words")("an owl", WHOLE).array
        except BadSampleError as error:
            raise BssError(str(error)) from error

    return encode


def test_a_tokenizer_whose_files_are_damaged_is_refused_or_gives_tokens(tokenizer_json, tmp_path):
    good = json.dumps(tokenizer_json)
    is_tokens(with_tokenizer(tmp_path, good)())
    step = max(1, len(good) // 60)
    for cut in range(0, len(good), step):
        refused("tokenizer", with_tokenizer(tmp_path, good[:cut]))
    for config in ("", "[]", "null", '{"tokenizer_class": 3}', "[" * 100_000, '{"tokenizer_class": "NoSuch"}', "\0"):
        refused_or("tokenizer", with_tokenizer(tmp_path, good, config), lambda ids: compare_tokens(ids, good))


def _set(tree, path, value):
    tree = json.loads(json.dumps(tree))
    target = tree
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    return tree


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("model", "vocab"), {}),
        (("model", "vocab", "owl"), 4_000_000_000),
        (("model", "vocab", "owl"), -1),
        (("model", "vocab", "owl"), 1e999),
        (("model", "unk_token"), "missing"),
        (("model", "max_input_chars_per_word"), 0),
        (("model", "type"), "Unigram"),
        (("model",), None),
        (("post_processor",), {"type": "Sequence", "processors": []}),
        (
            ("post_processor",),
            {
                "type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "x", "type_id": 0}}] * 50,
                "pair": [],
                "special_tokens": {"x": {"id": "x", "ids": [7], "tokens": ["x"]}},
            },
        ),
        (
            ("pre_tokenizer",),
            {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False},
        ),
        (("pre_tokenizer",), {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": False}),
        (("normalizer",), {"type": "Replace", "pattern": {"String": ""}, "content": "x" * 1000}),
        (("added_tokens",), [{"id": 0, "content": "owl", "special": True}]),
        (("truncation",), {"max_length": 0, "strategy": "LongestFirst", "stride": 9, "direction": "Right"}),
    ],
)
def test_a_tokenizer_that_is_made_to_do_harm_is_refused_or_gives_tokens(path, value, tokenizer_json, tmp_path):
    text = json.dumps(_set(tokenizer_json, path, value))
    refused_or("tokenizer", with_tokenizer(tmp_path, text), lambda ids: compare_tokens(ids, text))


def test_a_tokenizer_that_brings_code_or_pickles_is_refused_and_they_do_not_run(tokenizer_json, tmp_path):
    (tmp_path / "tokenizer").mkdir()
    evil = f"open({str(tmp_path / 'ran')!r}, 'w')"
    (tmp_path / "tokenizer" / "tokenization_evil.py").write_text(evil)
    (tmp_path / "tokenizer" / "vocab.pkl").write_bytes(_evil_pickle(tmp_path / "ran"))
    config = {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["tokenization_evil.Evil", None]}}
    good = json.dumps(tokenizer_json)
    refused_or("tokenizer", with_tokenizer(tmp_path, good, json.dumps(config)), lambda ids: compare_tokens(ids, good))
    (tmp_path / "tokenizer" / "tokenizer.json").unlink()
    refused("tokenizer", lambda: make_decoder(WORDS, tmp_path, "words"), "tokenizer")
    assert not (tmp_path / "ran").exists()


class _Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def _evil_pickle(path):
    return pickle.dumps(_Evil(path))


def test_a_pickle_is_no_array_and_does_not_run(tmp_path):
    ran = tmp_path / "ran"
    for data in (_evil_pickle(ran), array_bytes(np.array([_Evil(ran)], dtype=object), allow_pickle=True)):
        (tmp_path / "x.npy").write_bytes(data)
        for kind in (FEATURES, FLOW):
            with pytest.raises(BadSampleError):
                decode(tmp_path / "x.npy", kind)
            tried("pickle", "refused")
    assert not ran.exists()
