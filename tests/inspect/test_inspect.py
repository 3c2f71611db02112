import base64
import io
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from browser import needs_browser, shown_without_complaint
from conftest import small_tree, write_manifest
from media import every_kind_sections, write_every_kind
from PIL import Image

from bss.cli import main
from bss.config import config_from_tree
from bss.data.store import Modality, Store
from bss.inspect.contact_sheet import AT_MOST, contact_sheet
from bss.inspect.pictures import LARGEST, flows, picture, spectrogram
from bss.stages.prepare import prepare

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Checks that every tag that is opened is closed in order; collects pictures and addresses."""

    def __init__(self, text):
        super().__init__()
        self.stack, self.pictures, self.addresses, self.text = [], [], [], []
        self.feed(text)
        assert self.stack == []

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.stack.append(tag)
        found = dict(attributes)
        self.addresses += [found[name] for name in ("src", "href", "data") if name in found]
        if tag == "img":
            assert found["alt"]
            self.pictures.append(found["src"])

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def decoded(address):
    assert address.startswith("data:image/png;base64,")
    return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))


@pytest.fixture(scope="module")
def every_kind_store(tmp_path_factory):
    root = tmp_path_factory.mktemp("birds")
    write_manifest(root, write_every_kind(root))
    store = tmp_path_factory.mktemp("prepared") / "store"
    prepare(config_from_tree(small_tree(root) | every_kind_sections(root), "params.yaml"), root, store)
    return store


@pytest.fixture(scope="module")
def page(every_kind_store, tmp_path_factory):
    output = tmp_path_factory.mktemp("pages") / "inspect.html"
    assert main(["inspect", "--store", str(every_kind_store), "--output", str(output)]) == 0
    return output.read_text(encoding="utf-8")


def test_the_page_is_well_formed_and_needs_nothing_else(page):
    parsed = Page(page)
    assert all(address.startswith("data:image/png") for address in parsed.addresses)
    assert "default-src 'none'" in page
    assert "<script" not in page
    assert "@import" not in page
    assert "prefers-color-scheme: dark" in page


def test_every_modality_of_a_sample_is_shown(page):
    parsed = Page(page)
    # Two classes, four samples of each; text is no picture.
    assert len(parsed.pictures) == 2 * 4 * 4
    for address in parsed.pictures:
        assert max(decoded(address).size) <= 4 * LARGEST
    assert page.count("An owl, a &lt;b&gt;cat&lt;/b&gt;! (8 of 9 tokens)") == 8
    assert "<b>" not in page
    for shown in ("3 x 3 x 8 x 10", "2 x 2 x 5 x 6", "float16", "8000 Hz", "No sample has a group"):
        assert shown in page


def test_the_same_store_gives_the_same_page(page, every_kind_store, tmp_path):
    main(["inspect", "--store", str(every_kind_store), "--output", str(tmp_path / "new" / "again.html")])
    assert (tmp_path / "new" / "again.html").read_text(encoding="utf-8") == page


def test_counts_and_groups_are_printed_and_on_the_page(small_store, tmp_path, capsys):
    assert main(["inspect", "--store", str(small_store), "--output", str(tmp_path / "page.html")]) == 0
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["owl", "16", "6", "6"] in shown
    assert ["all", "48", "18", "18"] in shown
    assert ["train", "3", "18", "0"] in shown  # groups, the largest, samples without
    assert ["audio", "audio", "800", "float32", "4000", "Hz", "262.6", "KiB"] in shown
    text = " ".join("".join(Page((tmp_path / "page.html").read_text(encoding="utf-8")).text).split())
    assert "train3180" in text
    assert "owl1666" in text.replace(" ", "")


def test_the_ground_truth_groups_in_two_splits_and_skipped_samples_are_reported(small_store, tmp_path, capsys):
    from bss.data.tables import read_table, write_table

    store = tmp_path / "store"
    shutil.copytree(small_store, store)
    table = read_table(store / "samples.parquet", "prepare")
    columns = {name: table[name].to_pylist() for name in table.column_names}
    kinds = ["bad" if i < 5 else "clean" for i in range(84)]
    write_table(store / "truth.parquet", {"id": columns["id"], "kind": kinds})
    columns["group"][-1] = columns["group"][0]
    write_table(store / "samples.parquet", columns)
    (store / "skipped.csv").write_text("id,row,reason\nx,1,broken\ny,2,broken\n")
    assert main(["inspect", "--store", str(store), "--output", str(tmp_path / "page.html")]) == 0
    out = capsys.readouterr().out
    assert "Caution: 1 groups are in two splits." in out
    assert "samples skipped: 2" in out
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "1 group(s) are in two splits, such as\ntrain0" in page
    assert "2 sample(s) could not be decoded" in page
    assert re.search(r"<td>bad</td><td>5</td><td>0</td><td>0</td>", page)


def test_a_store_that_is_missing_is_one_message(tmp_path, capsys):
    assert main(["inspect", "--store", str(tmp_path / "none"), "--output", str(tmp_path / "page.html")]) == 1
    assert "store.json: not found. Run `bss prepare`" in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()


@pytest.mark.slow
def test_many_classes_share_the_page(small_store):
    store = Store.open(small_store)
    assert [len(cards) for cards in contact_sheet(store).values()] == [4, 4, 4]
    assert [card.id for card in contact_sheet(store)["dog"]] == [
        "train-dog-3",
        "train-dog-10",
        "val-dog-1",
        "test-dog-2",
    ]
    store.classes = tuple(f"class {i}" for i in range(len(store)))
    store.labels = np.arange(len(store))
    assert sum(map(len, contact_sheet(store).values())) == 84 < AT_MOST


def test_pictures_show_what_is_stored():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 6, 8), dtype=np.uint8)
    shown = np.asarray(decoded(picture(Modality("image", (3, 6, 8), "uint8", None), pixels)))
    np.testing.assert_array_equal(shown, pixels.transpose(1, 2, 0))
    stack = np.repeat(np.arange(8, dtype=np.uint8)[:, None, None, None] * 30, 5, axis=3).repeat(4, axis=2)
    shown = np.asarray(decoded(picture(Modality("clip", (8, 1, 4, 5), "uint8", None), stack)))
    assert shown.shape == (4, 20, 3)
    assert shown[0, ::5, 0].tolist() == [30, 90, 150, 210]
    large = np.zeros((3, 600, 900), dtype=np.uint8)
    assert decoded(picture(Modality("image", large.shape, "uint8", None), large)).size == (192, 128)
    assert picture(Modality("text", (4,), "int32", None), np.zeros(4, dtype=np.int32)) is None
    numbers = decoded(picture(Modality("features", (5,), "float32", None), np.arange(5, dtype=np.float32)))
    assert numbers.size == (5, 1)


def test_a_tone_is_a_line_in_the_spectrogram_at_its_height():
    time = np.arange(8000) / 8000
    shown = spectrogram(np.sin(2 * np.pi * 1000 * time).astype(np.float32)).astype(int).sum(axis=2)
    row = shown[:, shown.shape[1] // 2].argmax()
    assert row == pytest.approx(shown.shape[0] * 3 / 4, abs=2)  # a quarter of the way up to 4000 Hz
    for samples in (1, 2, 50):
        assert spectrogram(np.zeros(samples, dtype=np.float32)).shape[2] == 3


def test_opposite_flows_have_opposite_colours_and_none_is_black():
    still, right, left = (np.zeros((1, 2, 3, 3), dtype=np.float16) for _ in range(3))
    right[:, 0], left[:, 0] = 2, -2
    np.testing.assert_array_equal(flows(still), np.zeros((3, 3, 3)))
    np.testing.assert_array_equal(flows(right)[0, 0], [255, 0, 0])
    np.testing.assert_array_equal(flows(left)[0, 0], [0, 255, 255])


@pytest.mark.process
@needs_browser
def test_a_browser_shows_it_without_complaint(page, tmp_path):
    assert "What is in the store of" in shown_without_complaint(page, tmp_path)
