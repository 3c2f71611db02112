import numpy as np
import pytest
from conftest import make_rows, small_tree, write_manifest
from hypothesis import given, settings
from hypothesis import strategies as st
from in_shards import DATA, in_shards
from media import write_tokenizer

from bss.config import config_from_tree
from bss.config.modalities import TextKind
from bss.data.decode.text import Tokenizer
from bss.data.read_csv import read_csv
from bss.data.store import Store
from bss.data.tables import open_table
from bss.data.text_lengths import cut_note
from bss.init.suggest import suggest
from bss.init.text_lengths import count_words, estimate_tokens, measure_lengths
from bss.inspect.command import inspect
from bss.stages.join_shards import join_shards
from bss.stages.prepare import prepare

CHINESE = "今天的天气非常好我们一起去公园散步看到了很多漂亮的花还有可爱的小狗大家都很开心"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a tokenizer that knows each letter of CHINESE."""
    root = tmp_path_factory.mktemp("texts")
    write_tokenizer(root / "tok", [*sorted(set(CHINESE)), "owl"])
    return root


def test_a_chinese_text_has_a_token_per_letter(folder):
    tokenizer = Tokenizer(TextKind("text", "tok", tokens=8), folder, "words")
    assert len(CHINESE) == 39
    assert tokenizer.count(CHINESE) == 39 + 2
    assert np.count_nonzero(tokenizer.encode(CHINESE)) == 8


@pytest.mark.slow
@settings(deadline=None)
@given(words=st.lists(st.sampled_from(["owl", "今", "?", "Owl", "unknown"]), max_size=30), tokens=st.integers(3, 40))
def test_a_text_is_cut_exactly_where_it_has_more_tokens_than_are_stored(words, tokens, folder):
    whole = Tokenizer(TextKind("text", "tok", tokens=100), folder, "words")
    tokenizer = Tokenizer(TextKind("text", "tok", tokens=tokens), folder, "words")
    text = " ".join(words)
    expected = np.count_nonzero(whole.encode(text))
    assert tokenizer.count(text) == expected == 2 + sum(word != "?" for word in words)
    assert np.count_nonzero(tokenizer.encode(text)) == min(expected, tokens)


@pytest.mark.parametrize(
    ("lengths", "note"),
    [
        ([], ""),
        ([8, 3], ""),
        ([9, 8, 3], "1 of 3 texts (33 %) are cut to 8 tokens; the longest has 9"),
        ([9, *[1] * 199], "1 of 200 texts (less than 1 %) are cut to 8 tokens; the longest has 9"),
    ],
)
def test_the_share_of_texts_that_are_cut(lengths, note):
    assert cut_note(lengths, 8) == note


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        ("owl", 1),
        ("an owl at night", 4),
        ("王小明", 2),
        ("今天的天气非常好", 4),
        ("สมชาย", 2),
        ("今天 owl 真的", 3),
        ("さくら", 1),
        ("オウルは夜", 3),
    ],
)
def test_words_are_counted_in_scripts_without_spaces_too(text, words):
    assert count_words(text) == words


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("an owl at night", 8),
        ("internationalisation", 9),
        (CHINESE, 41),
        ("сова ночью", 11),
        ("owl 2020!", 5),
        ("", 2),
    ],
)
def test_tokens_are_estimated_by_letters_where_words_say_nothing(text, tokens):
    assert estimate_tokens(text) == tokens


def test_a_tokenizer_that_is_there_is_asked_and_no_other_is_fetched(folder, monkeypatch):
    assert measure_lengths([CHINESE, "owl"], "tok", folder) == ([41, 3], "")
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: pytest.fail("the network was asked"))
    lengths, why = measure_lengths([CHINESE, "owl"], "someone/none", folder)
    assert lengths == [41, 4]
    assert "someone/none could not be loaded without a network" in why


@pytest.fixture
def texts(tmp_path):
    """The small data with a Chinese text each, a quarter of them longer than the others; root and rows."""
    root = tmp_path / "pets"
    root.mkdir()
    rows = make_rows(root)
    write_tokenizer(root / "tok", sorted(set(CHINESE)))
    for i, row in enumerate(rows):
        row["words"] = CHINESE[i % 5 :] + CHINESE if i % 4 == 3 else CHINESE[i % 5 : 20]
    write_manifest(root, rows)
    return root, rows


def config(root, tokens):
    tree = small_tree(root)
    tree["prepare"]["modalities"]["words"] = {"kind": "text", "tokenizer": "tok", "tokens": tokens}
    tree["network"]["encoders"]["words"] = {"kind": "bert", "hidden": 8, "layers": 1, "heads": 1, "intermediate": 8}
    return config_from_tree(tree, "params.yaml")


def test_init_takes_texts_without_spaces_as_texts_and_counts_their_tokens(texts, tmp_path):
    root, _ = texts
    made = suggest(root / "manifest.csv", tmp_path)
    # 78 letters and two marks, of the quarter that is long.
    assert made.guesses["words"].kind == {"kind": "text", "tokenizer": "tok", "tokens": 80}
    assert made.guesses["words"].seen == "texts of 18 to 80 tokens"
    assert not any("are cut" in line for line in made.cautions)


def test_init_says_how_many_texts_it_would_cut(texts, tmp_path):
    root, rows = texts
    write_manifest(root, [row | {"words": CHINESE * 4 if i % 2 else CHINESE} for i, row in enumerate(rows)])
    made = suggest(root / "manifest.csv", tmp_path)
    assert made.guesses["words"].kind["tokens"] == 128
    assert "of the inspected texts, 12 of 24 texts (50 %) are cut to 128 tokens; the longest has 158" in (
        "\n".join(made.cautions)
    )


@pytest.mark.slow
def test_prepare_inspect_and_shards_say_how_many_texts_are_cut(texts, tmp_path, capsys):
    root, rows = texts
    made = config(root, 24)
    prepare(made, root, tmp_path / "store")
    note = "words: 21 of 84 texts (25 %) are cut to 24 tokens; the longest has 80"
    assert note in " ".join(capsys.readouterr().out.split())
    table = open_table(tmp_path / "store" / "samples.parquet", "prepare", ("id", "words_tokens"))
    assert table.whole_numbers("words_tokens").tolist() == [len(row["words"]) + 2 for row in rows]
    inspect(tmp_path / "store", tmp_path / "page.html")
    assert note in " ".join(capsys.readouterr().out.split())
    page = (tmp_path / "page.html").read_text()
    assert note in page
    assert "(24 of its 80 tokens)" in page
    assert f"{CHINESE[:20]} (22 of 24 tokens)" in page
    parts = in_shards(made, root, tmp_path, 3)
    capsys.readouterr()
    join_shards(made, DATA, parts, tmp_path / "joined")
    assert note in " ".join(capsys.readouterr().out.split())
    assert Store.open(tmp_path / "joined").digest == Store.open(tmp_path / "store").digest


def test_texts_of_files_are_counted_too_and_no_note_is_made_where_all_fit(texts, tmp_path, capsys):
    root, rows = texts
    for row in rows:
        (root / f"{row['id']}.txt").write_text(row["words"], encoding="utf-8")
        row["words"] = f"{row['id']}.txt"
    rows[5]["words"] = "none.txt"
    write_manifest(root, rows)
    tree = small_tree(root)
    tree["prepare"]["modalities"]["words"] = {"kind": "text", "tokenizer": "tok", "tokens": 80, "source": "file"}
    tree["prepare"]["on_bad_sample"] = "skip"
    tree["network"]["encoders"]["words"] = {"kind": "bert", "hidden": 8, "layers": 1, "heads": 1, "intermediate": 8}
    prepare(config_from_tree(tree, "params.yaml"), root, tmp_path / "store")
    assert "are cut" not in capsys.readouterr().out
    table = open_table(tmp_path / "store" / "samples.parquet", "prepare", ("id", "words_tokens"))
    assert len(table) == 83
    assert table.whole_numbers("words_tokens").max() == 80
    assert [row["reason"] for _, row in read_csv(tmp_path / "store" / "skipped.csv")[1]] == [
        "words none.txt: file not found"
    ]
