"""`bss init` on datasets whose files lie inside tables and shards."""

import pytest
from embedded_data import members, table, write_shard, write_table

from bss.config import config_from_tree
from bss.config.load import parse_yaml
from bss.errors import BssError
from bss.init.suggest import split_name, suggest
from bss.stages.prepare import prepare

IMAGE = {"kind": "image", "height": 4, "width": 4, "channels": 1}
AUDIO = {"kind": "audio", "sample_rate": 4000, "seconds": 0.1}


@pytest.fixture
def suggested(tmp_path):
    """Return suggest(tmp_path / "data" / name), after checking that what it writes can be prepared."""
    (tmp_path / "data").mkdir()
    (tmp_path / "project").mkdir()

    def suggested(name):
        made = suggest(tmp_path / "data" / name, tmp_path / "project")
        config = config_from_tree(parse_yaml(made.text, "params.yaml"), "params.yaml")
        prepare(config, tmp_path / "data", tmp_path / "store")
        return made, config

    return suggested


def test_the_columns_of_files_become_modalities(suggested, tmp_path):
    write_table(tmp_path / "data" / "m.parquet", table())
    made, config = suggested("m.parquet")
    assert {name: guess.kind for name, guess in made.guesses.items()} == {"audio": AUDIO, "image": IMAGE}
    assert config.prepare.manifest == "m.parquet"
    assert made.guesses["image"].seen == "images of 4 x 4 pixels"


def test_a_pattern_of_shards_is_written_as_the_manifest(suggested, tmp_path):
    texts = [(f"s{i:02}.txt", f"this is the text of number {i}".encode()) for i in range(16)]
    found = sorted([*members(), *texts])
    write_shard(tmp_path / "data" / "0.tar", found[:25])
    write_shard(tmp_path / "data" / "1.tar", found[25:])
    made, config = suggested("{0..1}.tar")
    assert {name: guess.kind["kind"] for name, guess in made.guesses.items()} == {
        "audio": "audio",
        "image": "image",
        "text": "text",
    }
    assert config.prepare.manifest == "{0..1}.tar"


def test_unusable_files_are_named_by_their_place(tmp_path):
    (tmp_path / "data").mkdir()
    write_table(tmp_path / "data" / "m.parquet", table(image=[{"bytes": b"no image", "path": None}] * 16))
    with pytest.raises(BssError, match=r"column 'image': none of the .* can be used|needs two or more modalities"):
        suggest(tmp_path / "data" / "m.parquet", tmp_path / "project")


def test_the_root_of_a_pattern_is_the_folder_before_it(tmp_path):
    (tmp_path / "a.csv").touch()
    assert split_name(tmp_path / "a.csv") == (tmp_path, "a.csv")
    assert split_name(tmp_path) == (tmp_path, ".")
    assert split_name(tmp_path / "x" / "{0..9}.tar") == (tmp_path / "x", "{0..9}.tar")
    assert split_name(tmp_path / "*" / "b" / "*.parquet") == (tmp_path, "*/b/*.parquet")
