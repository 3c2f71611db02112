"""Values that decoders had to change are counted, reported per modality, and the same however the work is divided."""

import json

import numpy as np
import pytest
import soundfile
from conftest import write_manifest
from in_shards import joined

from bss.cli import main
from bss.data.decode.altered import (
    Alteration,
    Altered,
    altered_from_tree,
    altered_to_tree,
    count_altered,
    describe_altered,
    join_altered,
)
from bss.data.store import Store
from bss.errors import BssError
from bss.files import read_json, write_json
from bss.stages.prepare import prepare

CLIPPED = "clipped to [-1, 1]"


def test_counts_add_up_and_the_first_of_equally_large_values_is_named():
    total = {}
    count_altered(total, "sound", "a.wav", [Alteration("clipped", 3, 1.5)])
    count_altered(total, "sound", "b.wav", [Alteration("clipped", 0, 0.5)])
    count_altered(total, "sound", "c.wav", [Alteration("clipped", 4, 1.5), Alteration("wrapped", 1, 7)])
    assert total == {"sound": {"clipped": Altered(7, 2, 1.5, "a.wav"), "wrapped": Altered(1, 1, 7.0, "c.wav")}}
    assert describe_altered(total) == [
        "sound: 7 values in 2 samples were clipped; the largest was 1.5, in a.wav",
        "sound: 1 values in 1 samples were wrapped; the largest was 7, in c.wav",
    ]
    assert altered_from_tree(json.loads(json.dumps(altered_to_tree(total)))) == total


def test_the_sum_of_parts_is_the_whole():
    files = [(f"{i}.wav", [Alteration("clipped", i % 3, 1 + i % 4 / 8)]) for i in range(20)]
    whole, parts = {}, [{}, {}, {}]
    for i, (file, alterations) in enumerate(files):
        count_altered(whole, "sound", file, alterations)
        count_altered(parts[i * 3 // 20], "sound", file, alterations)
    assert join_altered(parts) == whole
    assert whole["sound"]["clipped"] == Altered(19, 13, 1.375, "7.wav")


@pytest.fixture
def loud(own_root, tree, make_config):
    """Sounds, three of which exceed full scale, by 2, 2 and 1 values; one of them is in a skipped sample."""
    root, rows = own_root
    for row, values in ((5, (1.25, -1.5, 1.0)), (40, (2.0, -2.0)), (60, (-2.0,))):
        sound = np.concatenate([np.zeros(100), values, np.full(5, 0.5)]).astype(np.float32)
        soundfile.write(root / rows[row]["audio"], sound, 4000, subtype="FLOAT")
    (root / rows[40]["image"]).unlink()
    write_manifest(root, rows)
    tree["prepare"] |= {"root": str(root), "on_bad_sample": "skip"}
    return root, rows, make_config(tree)


@pytest.mark.slow
def test_clipped_sounds_are_in_the_store_and_in_the_output(loud, tmp_path, capsys):
    root, rows, config = loud
    prepare(config, root, tmp_path / "store")
    name = rows[60]["audio"]
    expected = f"audio: 3 values in 2 samples were {CLIPPED}; the largest was 2, in {name}"
    assert f"Caution: {expected}.\n" in capsys.readouterr().out
    assert Store.open(tmp_path / "store").altered == {"audio": {CLIPPED: Altered(3, 2, 2.0, name)}}
    main(["inspect", "--store", str(tmp_path / "store"), "--output", str(tmp_path / "page.html")])
    assert f"Caution: {expected}.\n" in capsys.readouterr().out
    assert expected in (tmp_path / "page.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("of", [2, 7])
def test_shards_count_the_same(loud, tmp_path, of):
    root, _, config = loud
    prepare(config, root, tmp_path / "store")
    made = joined(config, root, tmp_path, of)
    assert (made / "store.json").read_bytes() == (tmp_path / "store/store.json").read_bytes()


def test_a_store_that_holds_no_changed_value_says_nothing(small_store):
    assert Store.open(small_store).altered == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    "damaged",
    [
        [],
        {"audio": 3},
        {"audio": {"clipped": {"values": 1}}},
        {"audio": {"clipped": {"values": 0, "samples": 1, "largest": 1.0, "file": "a"}}},
        {"audio": {"clipped": {"values": 1, "samples": 1, "largest": "1", "file": "a"}}},
    ],
)
def test_damaged_counts_are_refused(loud, tmp_path, damaged):
    root, _, config = loud
    prepare(config, root, tmp_path / "store")
    file = tmp_path / "store" / "store.json"
    write_json(file, read_json(file, "prepare") | {"altered": damaged})
    with pytest.raises(BssError, match="damaged"):
        Store.open(tmp_path / "store")
