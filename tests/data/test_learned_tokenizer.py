"""The tokenizer that is learned from the training texts, where none is named."""

import json
import unicodedata
from dataclasses import replace

import numpy as np
import pytest
from conftest import make_rows, small_tree, write_manifest
from hypothesis import given, settings
from hypothesis import strategies as st
from in_shards import DATA, in_shards

from bss.config import config_from_tree
from bss.config.load import parse_yaml
from bss.config.modalities import TextKind
from bss.data.decode.learned_tokenizer import learn_tokenizer, save_tokenizer
from bss.data.decode.text import Tokenizer
from bss.data.store import Store
from bss.errors import BssError
from bss.init.suggest import suggest
from bss.stages.join_shards import join_shards
from bss.stages.prepare import prepare

TEXTS = ["the owl sees the cat", "the cat sees no owl", "猫头鹰看见一只猫", "猫头鹰看见两只猫"]
KIND = TextKind("text", tokens=24)


def learned(folder, texts, vocabulary=400, kind=KIND):
    save_tokenizer(learn_tokenizer(texts, vocabulary), folder)
    return Tokenizer(replace(kind, tokenizer=str(folder)), folder, "words")


def test_pairs_are_learned_most_frequent_first_and_marks_have_the_first_ids(tmp_path):
    made = learned(tmp_path / "t", ["aab aab aab ab"], 300)
    vocabulary = json.loads((tmp_path / "t" / "tokenizer.json").read_text())["model"]
    # Of the words " aab" three times and " ab" once: a+b 4 times, then " "+a 3 (a tie with a+ab, the smaller pair
    # first, by ids), then the rest of " aab". What occurs once, " "+ab, stays two tokens.
    assert vocabulary["merges"][0] == ["a", "b"]
    assert [vocabulary["vocab"][mark] for mark in ("[PAD]", "[CLS]", "[SEP]")] == [0, 1, 2]
    assert made.vocabulary == 3 + 256 + len(vocabulary["merges"]) == 3 + 256 + 3
    assert made.count("aab") == 1 + 2
    assert made.count("ab") == 2 + 2
    assert made.encode("aab").tolist()[:4] == [1, vocabulary["vocab"]["Ġaab"], 2, 0]


def test_the_order_of_the_texts_does_not_matter_and_the_limit_holds(tmp_path):
    first = learn_tokenizer(TEXTS, 300).to_str()
    assert first == learn_tokenizer(TEXTS[::-1], 300).to_str() == learn_tokenizer(iter(TEXTS), 300).to_str()
    # The alphabet of bytes and the marks, then as many pairs as there is room for.
    assert learn_tokenizer(TEXTS * 3, 265).get_vocab_size() == 265


@pytest.fixture(scope="module")
def reversible():
    """A learned tokenizer that takes marks in a text for text, and can decode."""
    from tokenizers.decoders import ByteLevel

    made = learn_tokenizer(TEXTS, 400)
    made.encode_special_tokens = True  # as `split_special_tokens` sets it
    made.decoder = ByteLevel()
    return made


@settings(deadline=None)
@given(st.text(max_size=200))
def test_no_text_has_an_unknown_token_and_all_can_be_read_back(reversible, text):
    made = reversible
    ids = made.encode(text).ids
    assert ids[0] == 1
    assert ids[-1] == 2
    assert made.decode(ids[1:-1], skip_special_tokens=False).removeprefix(" ") == unicodedata.normalize(
        "NFC", text
    ).removeprefix(" ")


def test_a_text_that_spells_a_mark_is_text(tmp_path):
    made = learned(tmp_path / "t", TEXTS, kind=replace(KIND, lower_case=False, remove_punctuation=False))
    tokens = made.encode("[PAD] owl [SEP]").tolist()
    end = tokens.index(2)
    assert not {0, 1, 2} & set(tokens[1:end])
    assert tokens[end + 1 :] == [0] * (24 - end - 1)


def test_a_frequent_chinese_letter_is_one_token_and_an_unseen_one_its_bytes(tmp_path):
    made = learned(tmp_path / "t", ["猫", "狗", "猫 狗"] * 5)
    assert made.count("猫") == 1 + 2
    assert made.count("猫 狗") == 2 + 2
    assert made.count("鹰") == 1 + 3 + 2  # the space before a word, three bytes, two marks


@pytest.fixture(params=["column", "file"])
def own_texts(request, tmp_path):
    """The small data with a text of each class; parameters, root and rows."""
    root = tmp_path / "pets"
    root.mkdir()
    rows = make_rows(root)
    for i, row in enumerate(rows):
        row["words"] = f"a {row['label']} sings song {i % 7} {'可爱的小猫' * (1 + i % 2)}"
        if row["split"] != "train":
            row["words"] += " zzzz zzzz"
        if request.param == "file":
            (root / f"{row['id']}.txt").write_text(row["words"], encoding="utf-8")
            row["words"] = f"{row['id']}.txt"
    write_manifest(root, rows)
    tree = small_tree(root)
    tree["prepare"]["modalities"]["words"] = {"kind": "text", "tokens": 24, "source": request.param}
    tree["network"]["encoders"]["words"] = {"kind": "bert", "vocabulary": None, "hidden": 8} | {
        "layers": 1,
        "heads": 1,
        "intermediate": 8,
    }
    return config_from_tree(tree, "params.yaml"), root, rows


@pytest.mark.slow
def test_it_is_learned_from_train_alone_and_shards_make_the_same_store(own_texts, tmp_path):
    config, root, _ = own_texts
    prepare(config, root, tmp_path / "store")
    text = (tmp_path / "store" / "words.tokenizer" / "tokenizer.json").read_text()
    vocabulary = json.loads(text)["model"]["vocab"]
    assert "Ġsings" in vocabulary
    assert "zz" not in vocabulary
    store = Store.open(tmp_path / "store")
    assert store.modalities["words"].vocabulary == len(vocabulary) < 4096
    assert np.array_equal(np.unique(store.read("words", np.arange(len(store)))[:, 0]), [1])
    parts = in_shards(config, root, tmp_path, 3)
    join_shards(config, DATA, parts, tmp_path / "joined")
    for path in sorted(p for p in (tmp_path / "store").rglob("*") if p.is_file()):
        assert path.read_bytes() == (tmp_path / "joined" / path.relative_to(tmp_path / "store")).read_bytes(), path
    damaged = parts[1] / "words.tokenizer" / "tokenizer.json"
    damaged.write_text(text + " ")
    with pytest.raises(BssError, match="have learned different tokenizers"):
        join_shards(config, DATA, parts, tmp_path / "again")


@pytest.mark.slow
def test_the_tokenizer_belongs_to_the_identity_of_the_store(own_texts, tmp_path):
    from bss.data.store import digest_store

    config, root, _ = own_texts
    prepare(config, root, tmp_path / "store")
    modalities = json.loads((tmp_path / "store" / "store.json").read_text())["modalities"]
    before = digest_store(tmp_path / "store", modalities)
    assert before == Store.open(tmp_path / "store").digest
    with (tmp_path / "store" / "words.tokenizer" / "tokenizer.json").open("a") as file:
        file.write(" ")
    assert digest_store(tmp_path / "store", modalities) != before


@pytest.mark.slow
def test_init_names_no_tokenizer_and_the_network_takes_the_vocabulary_of_the_store(own_texts, tmp_path):
    from bss.models.network import build_network, describe_network

    _, root, _ = own_texts
    made = suggest(root / "manifest.csv", tmp_path)
    kind, encoder = made.guesses["words"].kind, made.guesses["words"].encoder
    assert (kind["kind"], kind["tokenizer"], encoder["vocabulary"]) == ("text", None, None)
    config = config_from_tree(parse_yaml(made.text, "params.yaml"), "params.yaml")
    prepare(config, root, tmp_path / "store")
    store = Store.open(tmp_path / "store")
    network = build_network(describe_network(config.network, store))
    words = network.encoders["words"].model.embeddings.word_embeddings.weight
    assert words.shape == (store.modalities["words"].vocabulary, 128)


def test_clips_encoder_refuses_a_learned_tokenizer(tmp_path):
    tree = small_tree(tmp_path)
    tree["prepare"]["modalities"]["words"] = {"kind": "text"}
    tree["network"]["encoders"]["words"] = {"kind": "clip-text"}
    with pytest.raises(BssError, match=r"`prepare.modalities.words.tokenizer` must be CLIP's"):
        config_from_tree(tree, "params.yaml")
