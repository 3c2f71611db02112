"""A file that is not found is reported with the file of nearly its name."""

import unicodedata

import numpy as np
import pytest
from PIL import Image

from bss.config.modalities import FeaturesKind, FlowKind, FramesKind, ImageKind
from bss.data.decode import BadSampleError, make_decoder
from bss.data.decode.near_names import near_names
from bss.data.decode.spans import WHOLE

NFC, NFD = (unicodedata.normalize(form, "a/café.png") for form in ("NFC", "NFD"))

CASES = [
    (NFD, NFC, "the same letters in Unicode form NFD, the manifest has NFC"),
    (NFC, NFD, "the same letters in Unicode form NFC, the manifest has NFD"),
    ("a/1.png", "a\\1.png", "its folders are separated by /"),
    ("a/1.PNG", "a/1.png", "upper and lower case differ"),
    ("A/1.png", "a/1.png", "upper and lower case differ"),
    ("a/1 .png", "a/1.png", "spaces differ"),
    ("a/two words.png", "a/two  words.png", "spaces differ"),
    ("a/two words.png", "a/two%20words.png", "the manifest has it as in a URL"),
    ("a/1.jpeg", "a/1.png", "another suffix"),
    ("a/1.png", "a/1", "another suffix"),
    ("a/1.png", "a/1.png.png", "another suffix"),
    ("a/1.png", "data/birds/a/1.png", "in another folder"),
    ("a/1.png", "C:\\data\\a\\1.png", "in another folder"),
    ("a/1.png", "1.png", "in another folder"),
    ("1.png", "a/1.png", "in another folder"),
    ("a/b/1.png", "b/1.png", "in another folder"),
]


def message(root, name, kind=None):
    with pytest.raises(BadSampleError) as caught:
        make_decoder(kind or ImageKind("image", height=2, width=2, channels=3), root, "m")(name, WHOLE)
    return str(caught.value)


@pytest.mark.parametrize(("there", "named", "difference"), CASES)
def test_the_name_that_was_meant_is_reported_with_its_difference(there, named, difference, tmp_path):
    path = tmp_path / there
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (2, 2)).save(path, "PNG")
    if (tmp_path / named).exists():
        pytest.skip("this file system takes both names for one")
    assert message(tmp_path, named) == f"file not found (there is {there}: {difference})"


def test_nothing_is_reported_where_no_name_is_near_or_only_another_modality_has_it(tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("a/1.png", "a/2.png"):
        Image.new("L", (2, 2)).save(tmp_path / name)
    assert message(tmp_path, "a/3.png") == "file not found"
    assert message(tmp_path, "b/3.png") == "file not found"
    assert message(tmp_path, "a/1.npy", FeaturesKind("features")) == "file not found"


def test_every_kind_of_modality_reports_it(tmp_path):
    (tmp_path / "Clips" / "one").mkdir(parents=True)
    np.save(tmp_path / "Clips" / "1.npy", np.zeros(3))
    kinds = [FeaturesKind("features"), FlowKind("flow", frames=1, height=2, width=2)]
    for kind in kinds:
        expected = "file not found (there is Clips/1.npy: upper and lower case differ)"
        assert message(tmp_path, "clips/1.npy", kind) == expected
    frames = FramesKind("frames", count=1, height=2, width=2)
    expected = "file not found (there is Clips/one: upper and lower case differ)"
    assert message(tmp_path, "clips/one", frames) == expected


def test_at_most_three_names_are_reported(tmp_path):
    for name in ("x.jpg", "x.jpeg", "x.gif", "x.bmp"):
        (tmp_path / name).write_bytes(b"x")
    assert message(tmp_path, "x.png") == "file not found (there is x.bmp or x.gif or x.jpeg: another suffix)"


def test_a_file_that_comes_later_is_found(tmp_path):
    (tmp_path / "b.png").write_bytes(b"x")
    assert near_names("a.png", tmp_path) == []
    (tmp_path / "A.png").write_bytes(b"x")
    assert near_names("a.png", tmp_path) == ["A.png"]


def test_control_characters_in_names_do_not_reach_the_terminal(tmp_path):
    (tmp_path / "1\x1b[2J.png").write_bytes(b"x")
    assert "\x1b" not in message(tmp_path, "1\x1b[2J.gif")


def test_content_that_git_annex_has_not_fetched_is_named(tmp_path):
    (tmp_path / "1.png").symlink_to(tmp_path / ".git" / "annex" / "objects" / "key")
    assert message(tmp_path, "1.png") == "file not found (its content is missing: run git annex get)"
