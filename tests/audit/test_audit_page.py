"""What a curator does with audit.html, in a real browser: filter, decide by keyboard, undo, download, come back.

The screenshots are in the folder BSS_SCREENSHOTS, if it is set.
"""

import csv
import io
import json
import os
import re
import time
from pathlib import Path

import numpy as np
import pytest
from browser import needs_browser
from chromium import browser
from conftest import small_tree, write_manifest
from media import every_kind_sections, write_every_kind
from PIL import Image

from bss.audit.page.media import media_of
from bss.audit.page.write import write_page
from bss.audit.shares import shares_by, shares_of
from bss.config import config_from_tree
from bss.data.decisions import DIGITS, dataset_of, read_decisions
from bss.data.store import Modality, Store
from bss.errors import BssError
from bss.stages.prepare import check_manifest, prepare

CLASSES = {"one": '</script><b>owl</b> & "co", größe', "two": "cat; 猫"}
IDS = ['<img src=x onerror="document.title=1">', 'a "quoted", id', "two\nlines", "__proto__", "ключ & ἕν", "plain"]
MODALITIES = ("sound", "shots", "view", "motion", "words")


def in_browser(test):
    return pytest.mark.process(needs_browser(test))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Root, parameters and store of data with every kind of modality, whose names are hostile."""
    root = tmp_path_factory.mktemp("pages") / "birds & <bees>"
    root.mkdir()
    rows = write_every_kind(root)
    labels = sorted({row["label"] for row in rows})
    for number, row in enumerate(rows):
        row["id"] = IDS[number] if number < len(IDS) else f"s{number}"
        row["label"] = list(CLASSES.values())[labels.index(row["label"])]
        row["group"] = "<i>g</i>" if number % 2 and row["split"] == "train" else ""
    write_manifest(root, rows)
    tree = small_tree(root) | every_kind_sections(root)
    store = root.parent / "store"
    prepare(config_from_tree(tree, "params.yaml"), root, store)
    return root, tree, store


def audited(store):
    """Summary and columns of an audit that found a contradiction, a wrong label, an empty sound and a copy."""
    names, n = list(store.modalities), len(store)
    kinds = ["contradiction", "label", "empty", "duplicate", *["clean"] * (n - 4)]
    blame = [names[1], None, names[0], *[None] * (n - 3)]
    labels = [store.classes[label] for label in store.labels]
    others = [store.classes[1 - label] for label in store.labels]
    columns = {
        "id": store.ids.tolist(),
        "split": store.splits.tolist(),
        "class": labels,
        "group": store.groups,
        "kind": kinds,
        "probability": [0.99, 0.95, 0.9, 0.1, *[0.01] * (n - 4)],
        "blame": blame,
        "suggested": [others[i] if kinds[i] == "label" else None for i in range(n)],
        "suggested_confidence": [0.8 if kinds[i] == "label" else None for i in range(n)],
        "duplicate_of": [None, None, None, store.ids[5], *[None] * (n - 4)],
        "similarity": [None, None, None, 1.0, *[None] * (n - 4)],
        "leakage": [False] * n,
    }
    columns["p_clean"] = [1 - p for p in columns["probability"]]
    columns["p_label"] = [p if kind == "label" else 0.0 for p, kind in zip(columns["probability"], kinds, strict=True)]
    for name in names:
        for kind in ("contradiction", "empty"):
            here = [
                p if (k, b) == (kind, name) else 0.0
                for p, k, b in zip(columns["probability"], kinds, blame, strict=True)
            ]
            columns[f"p_{kind}_{name}"] = here
        wrong = [kind == "label" or of == name for kind, of in zip(kinds, blame, strict=True)]
        columns[f"{name}_shows"] = [other if w else own for own, other, w in zip(labels, others, wrong, strict=True)]
        columns[f"{name}_confidence"] = [0.75] * n
    columns["sound_level_dbfs"] = [-20.0] * n
    explanations = {"clean": ["p_clean"], "label": ["p_label"]}
    explanations |= {kind: [f"p_{kind}_{name}" for name in names] for kind in ("contradiction", "empty")}
    whole = shares_of(columns, explanations, range(n))
    shares = {
        of: shares_by(key, columns, explanations, whole) for of, key in (("groups", "group"), ("classes", "class"))
    }
    counts = {split: len(store.rows(split)) for split in ("train", "val", "test")}
    rest = {"unknown": 0, "leaks": 0, "folds": 5, "seeds": [0], "table": "0123456789abcdef"}
    return {"samples": counts, "kinds": whole, **shares, **rest}, columns


def config_with(tree, **audit):
    return config_from_tree(tree | {"audit": audit}, "params.yaml")


@pytest.fixture(scope="module")
def folder(data, tmp_path_factory):
    _, tree, path = data
    store, folder = Store.open(path), tmp_path_factory.mktemp("audit")
    write_page(config_with(tree, page="folder"), store, *audited(store), folder)
    return folder


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    pytest.importorskip("websocket", reason="websocket-client is not installed")
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


def opened(tab, path, width=1400, forget=True):
    tab.resize(width, 900, phone=width == 400)
    tab.open("about:blank")
    tab.open(path.as_uri())
    ready = "document.readyState === 'complete' && document.querySelector('article, #nothing:not([hidden])') !== null"
    assert tab.wait_for(ready)
    if forget:
        tab.evaluate("localStorage.clear()")
        return opened(tab, path, width, forget=False)
    return tab


@pytest.fixture
def page(tab, folder):
    return opened(tab, folder / "audit.html")


def ids(page):
    return page.evaluate("[...document.querySelectorAll('article')].map((card) => card.dataset.id)")


def choose(page, name, value):
    page.evaluate(
        f"""(() => {{ const node = document.getElementById({json.dumps(name)}); node.value = {json.dumps(value)};
        node.dispatchEvent(new Event(node.tagName === "INPUT" ? "input" : "change")); }})()"""
    )


def csv_of(page):
    return list(csv.DictReader(io.StringIO(page.evaluate("decisions.csv()"), newline="")))


def decided(page):
    return [(row["id"], row["decision"], row["value"]) for row in csv_of(page)]


@pytest.mark.slow
def test_a_page_in_a_folder_and_in_a_file_has_the_same_media_and_no_others_stay(data, tmp_path):
    _, tree, path = data
    store = Store.open(path)
    summary, columns = audited(store)
    found = write_page(config_with(tree, page="folder"), store, summary, columns, tmp_path)
    assert (found["form"], found["samples"]) == ("folder", len(store))
    files = {p.name for p in (tmp_path / "media" / "0123456789ab").iterdir()}
    assert len(files) == len(store) * 5  # sound and its spectrogram, and three loops; no file of a text
    (tmp_path / "media" / ".DS_Store").write_bytes(b"")  # of a file browser
    write_page(config_with(tree, page="folder"), store, summary | {"table": "f" * 64}, columns, tmp_path)
    assert sorted(p.name for p in (tmp_path / "media").iterdir()) == [".DS_Store", "f" * 12]
    (tmp_path / "media" / ".DS_Store").unlink()
    found = write_page(config_with(tree), store, summary, columns, tmp_path)
    text = (tmp_path / "audit.html").read_text(encoding="utf-8")
    assert found["form"] == "file"
    assert text.count("data:image/webp;base64,") == len(store) * 4 + 4  # and of the copy
    assert not (tmp_path / "media").exists()
    assert write_page(config_with(tree, page="none"), store, summary, columns, tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_the_page_has_the_most_suspicious_samples_and_says_so(data, tmp_path):
    _, tree, path = data
    store = Store.open(path)
    assert write_page(config_with(tree, page_samples=3), store, *audited(store), tmp_path)["samples"] == 3
    text = (tmp_path / "audit.html").read_text(encoding="utf-8")
    assert "This page has the 3 most suspicious." in text
    content = content_in(text)
    assert [sample["id"] for sample in content["samples"]] == store.ids[:3].tolist()
    assert content["others"] == sorted(store.ids[3:])


def content_in(text):
    (content,) = re.findall(r'id="content">(.*?)</script>', text, flags=re.S)
    return json.loads(content)


def test_it_proposes_what_apply_would_decide_and_nothing_for_what_that_leaves(folder):
    content = content_in((folder / "audit.html").read_text(encoding="utf-8"))
    # The class for the wrong label is sure by 0.8 alone; the empty sound is no surer than 0.9; the copy is of val.
    expected = [["ignore", content["modalities"][1]], ["drop", ""], None, ["drop", ""], *[None] * 8]
    assert [sample["proposal"] for sample in content["samples"]] == expected


def test_clips_are_loops_and_small_pictures_keep_their_pixels():
    clip = np.zeros((20, 1, 6, 8), dtype=np.uint8)
    clip[:, 0] += (10 * np.arange(20, dtype=np.uint8))[:, None, None]
    loop = Image.open(io.BytesIO(media_of(Modality("clip", clip.shape, "uint8"), clip)[".webp"]))
    assert (loop.n_frames, loop.size) == (16, (8, 6))
    loop.seek(15)
    assert np.asarray(loop.convert("L")).tolist() == [[190] * 8] * 6
    picture = np.arange(48, dtype=np.uint8).reshape(1, 6, 8)
    shown = Image.open(io.BytesIO(media_of(Modality("image", picture.shape, "uint8"), picture)[".webp"]))
    assert np.array_equal(np.asarray(shown.convert("L")), picture[0])
    large = np.zeros((3, 400, 600), dtype=np.uint8)
    shown = Image.open(io.BytesIO(media_of(Modality("image", large.shape, "uint8"), large)[".webp"]))
    assert shown.size == (256, 171)
    assert media_of(Modality("text", (4,), "int32"), np.zeros(4, dtype=np.int32)) == {}


@in_browser
def test_names_and_texts_are_shown_as_they_are(page, data):
    choose(page, "filter-kind", "")
    store = Store.open(data[2])
    assert ids(page) == store.ids.tolist()
    assert page.evaluate("[...document.querySelectorAll('article h2')].map((n) => n.textContent)") == ids(page)
    shown = page.evaluate("[...document.querySelectorAll('article .label strong')].map((n) => n.textContent)")
    assert shown == [store.classes[label] for label in store.labels]
    assert page.evaluate("document.querySelectorAll('article b, article i, article script').length") == 0
    assert page.evaluate("document.title") == "bss: audit of birds & <bees>"
    assert "An owl, a <b>cat</b>!" in page.evaluate("document.querySelector('blockquote').textContent")
    assert "<i>g</i>" in page.evaluate("document.querySelector('.card .place, body').closest('body').innerText")


@in_browser
def test_every_picture_and_sound_of_the_folder_loads(page):
    choose(page, "filter-kind", "")
    page.evaluate("document.querySelectorAll('img').forEach((n) => { n.loading = 'eager'; })")
    pictures = "[...document.querySelectorAll('img')]"
    assert page.wait_for(f"{pictures}.every((n) => n.complete)")
    assert page.evaluate(f"{pictures}.filter((n) => n.naturalWidth > 0).length") == (12 + 1) * 4
    page.evaluate("document.querySelectorAll('audio').forEach((n) => { n.preload = 'auto'; n.load(); })")
    assert page.wait_for("[...document.querySelectorAll('audio')].every((n) => n.readyState >= 2)")


@in_browser
def test_what_each_modality_says_and_which_one_is_to_blame(page):
    card = "document.querySelector('article')"
    names = page.evaluate("content.modalities")
    assert page.evaluate(f"{card}.querySelector('.blamed h3').textContent") == f"{names[1]}to blame"
    says = page.evaluate(f"[...{card}.querySelectorAll('.says')].map((n) => n.textContent)")
    first, second = page.evaluate("[content.samples[0].class, content.samples[0].inputs[1].shows]")
    assert says == [f"shows {second if name == names[1] else first} 75 %" for name in names]
    assert page.evaluate(f"{card}.querySelectorAll('.differs').length") == 1
    assert page.evaluate(f"{card}.querySelector('.verdict').textContent") == f"{names[1]} contradicts 99 %fits 1 %"
    assert "-20 dBFS" in page.evaluate(f"{card}.innerText")


@in_browser
def test_filters_together_and_the_search(page):
    everyone = page.evaluate("content.samples.map((s) => [s.id, s.kind, s.split, s.class, s.group])")
    assert ids(page) == [name for name, kind, *_ in everyone if kind != "clean"]
    choose(page, "filter-kind", "label")
    assert ids(page) == [everyone[1][0]]
    choose(page, "filter-kind", "")
    choose(page, "filter-group", "<i>g</i>")
    choose(page, "filter-class", CLASSES["two"])
    wanted = [name for name, _, _, label, group in everyone if (label, group) == (CLASSES["two"], "<i>g</i>")]
    assert ids(page) == wanted
    choose(page, "filter-group", "")
    choose(page, "filter-class", "")
    choose(page, "filter-split", "test")
    assert ids(page) == [name for name, _, split, *_ in everyone if split == "test"]
    choose(page, "filter-split", "")
    choose(page, "search", "QUOTED")
    assert ids(page) == ['a "quoted", id']
    page.evaluate("document.querySelector('button[data-filter]').click()")
    assert page.evaluate("document.getElementById('filter-kind').value") == "label"


@in_browser
def test_keys_decide_and_move_on_and_undo_goes_back(page):
    names = page.evaluate("content.modalities")
    first, second, third, fourth = ids(page)
    page.press("a")  # the proposal
    assert page.evaluate("current") == second
    page.press("d")
    page.press("3", "k")
    expected = {
        (first, "ignore", names[1]),
        (second, "drop", ""),
        (third, "ignore", names[2]),
        (fourth, "keep", ""),
    }
    assert set(decided(page)) == expected
    assert "4 decided: " in page.evaluate("document.getElementById('progress').textContent")
    page.press("u", "U")  # Caps Lock is on
    assert page.evaluate("current") == third
    assert {row[0] for row in decided(page)} == {first, second}
    page.press("ArrowUp", "d")  # the same again takes it back, and stays there
    assert page.evaluate("current") == second
    assert {row[0] for row in decided(page)} == {first}
    page.press("p", "i")
    assert decided(page) == []
    assert page.evaluate("document.querySelectorAll('.card.decided').length") == 0


@in_browser
def test_relabelling_takes_what_is_typed(page):
    first = ids(page)[0]
    label, other = page.evaluate(
        "[content.samples[0].class, content.classes.find((c) => c !== content.samples[0].class)]"
    )
    page.press("r")
    assert page.wait_for("document.querySelector('#relabel[open]') !== null")
    assert page.evaluate("[...document.querySelectorAll('#relabel li')].map((n) => n.textContent)") == [other]
    page.press(*other[:3])
    page.press("Enter")
    assert decided(page) == [(first, "relabel", other)]
    page.evaluate(f"decisions.decide(content.samples[0], 'relabel', {json.dumps(label)})")
    assert decided(page) == [(first, "keep", "")]


@in_browser
def test_relabelling_lists_what_the_modalities_together_show_first(page):
    page.evaluate("content.classes.push('a', 'b'); content.samples[1].suggested = 'b'")
    page.press("n", "r", "Enter")
    assert decided(page) == [(page.evaluate("content.samples[1].id"), "relabel", "b")]


@in_browser
def test_decisions_stay_when_the_page_is_opened_again(page, folder):
    page.press("d", "k")
    before = decided(page)
    assert len(before) == 2
    assert decided(opened(page, folder / "audit.html", forget=False)) == before
    assert page.evaluate("document.querySelectorAll('.card.decided').length") == 2


@in_browser
def test_the_downloaded_file_is_what_prepare_reads_and_what_the_page_loads(page, data, folder, tmp_path):
    root, tree, path = data
    choose(page, "filter-kind", "")
    samples = page.evaluate("content.samples.map((s) => [s.id, s.split, s.class])")
    other = dict(zip(CLASSES.values(), reversed(CLASSES.values()), strict=True))
    wanted = {}
    for i, (name, split, label) in enumerate(samples):
        choices = [("keep", ""), ("relabel", other[label]), ("ignore", "words")]
        wanted[name] = choices[0] if split != "train" else choices[i % 3]
        page.evaluate(f"decisions.decide(content.samples[{i}], ...{json.dumps(wanted[name])})")
    page.evaluate("refilter()")
    page.downloads_to(tmp_path)
    page.evaluate("document.getElementById('download').click()")
    file = tmp_path / "decisions.csv"
    for _ in range(600):
        if file.exists() and file.stat().st_size:
            break
        time.sleep(0.1)
    dataset = dataset_of(path)
    checked = check_manifest(config_from_tree(tree, "params.yaml"), root)
    found = read_decisions(file, checked.original, dataset, MODALITIES, decide_test=False)
    assert {d.id: (d.kind, d.value) for d in found.by_id.values()} == wanted
    assert set(IDS) <= set(found.by_id)
    with pytest.raises(BssError, match="is about another dataset"):
        read_decisions(file, checked.original, "0" * 64, MODALITIES, decide_test=False)
    page.evaluate("localStorage.clear()")
    opened(page, folder / "audit.html")
    text = file.read_bytes().decode()
    assert page.evaluate(f"decisions.load({json.dumps(text)})") == len(wanted)
    assert page.evaluate("decisions.csv()") == text
    load = f"decisions.load({json.dumps(text.replace(dataset[:DIGITS], 'x'))})"
    message = page.evaluate(f"(() => {{ try {{ {load}; }} catch (error) {{ return error.message; }} }})()")
    assert message == "it is about another dataset"


@in_browser
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("owl-17,drop,", 'row 2: no sample has the id "owl-17"'),
        ("plain,delete,", 'row 2: "delete" is not keep, drop, relabel, ignore'),
        ("plain,drop,\nplain,keep,", 'row 3: id "plain" is not unique'),
        ("plain,relabel,cow", 'row 2: "cow" is not a label of this dataset'),
        ("plain,relabel,LABEL", 'row 2: "LABEL" is the label that the sample has'),
        ("plain,ignore,smell", 'row 2: "smell" is not a modality of this dataset'),
        ("plain,keep,cow", 'row 2: "cow": keep takes no value'),
    ],
)
def test_a_file_that_prepare_would_refuse_is_not_loaded(page, data, rows, message):
    store = Store.open(data[2])
    label = store.classes[store.labels[store.ids.tolist().index("plain")]]
    cell = '"' + label.replace('"', '""') + '"'
    text = f"id,decision,value\ns6,drop,\n{rows.replace('LABEL', cell)}\n"
    page.evaluate(f"load(new File([{json.dumps(text)}], 'mine.csv'))")
    said = "document.getElementById('loaded').textContent"
    assert page.wait_for(f"{said} !== ''")
    row = int(message[4]) + 1  # after that of s6
    assert page.evaluate(said) == f"mine.csv was not loaded: row {row}{message[5:]}.".replace("LABEL", label)
    assert decided(page) == []


@in_browser
def test_decisions_about_test_carry_a_note(page):
    choose(page, "filter-kind", "")
    choose(page, "filter-split", "test")
    page.press("k")
    assert page.evaluate("document.getElementById('notes').hidden")
    page.press("d")
    assert "1 change test: they need prepare.decide_test" in page.evaluate("document.getElementById('notes').innerText")


@in_browser
def test_earlier_decisions_are_in_the_file_and_can_be_taken_back(tab, data, tmp_path):
    root, tree, _ = data
    rows = {row["id"]: row for row in csv.DictReader((root / "manifest.csv").open(newline="", encoding="utf-8"))}
    train = [name for name, row in rows.items() if row["split"] == "train"]
    dropped, changed = train[0], train[1]
    old = rows[changed]["label"]
    new = next(label for label in CLASSES.values() if label != old)
    with (root / "earlier.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["id", "decision", "value"], [dropped, "drop", ""], [changed, "relabel", new]])
    tree = tree | {"prepare": tree["prepare"] | {"decisions": "earlier.csv"}}
    prepare(config_from_tree(tree, "params.yaml"), root, tmp_path / "store")
    store = Store.open(tmp_path / "store")
    write_page(config_with(tree), store, *audited(store), tmp_path)
    page = opened(tab, tmp_path / "audit.html")
    assert set(decided(page)) == {(dropped, "drop", ""), (changed, "relabel", new)}
    sample = f"byId.get({json.dumps(changed)})"
    assert page.evaluate(f"{sample}.class") == new
    # What is kept is what the page shows; the label of before is the manifest's own, and no relabelling.
    page.evaluate(f"decisions.decide({sample}, 'keep', '')")
    assert (changed, "relabel", new) in decided(page)
    page.evaluate(f"decisions.decide({sample}, 'relabel', {json.dumps(old)})")
    assert (changed, "keep", "") in decided(page)


@in_browser
@pytest.mark.parametrize("width", [1400, 400])
def test_nothing_is_wider_than_the_window(tab, folder, width):
    page = opened(tab, folder / "audit.html", width)
    if "BSS_SCREENSHOTS" in os.environ:
        page.screenshot(Path(os.environ["BSS_SCREENSHOTS"]) / f"audit-{width}.png", whole=True)
    inside = page.evaluate("document.documentElement.clientWidth")
    assert width - 20 <= inside <= width
    assert page.evaluate("document.documentElement.scrollWidth") == inside
    parts = "[...document.querySelectorAll('article *, #bar *')]"
    assert page.evaluate(f"{parts}.filter((n) => n.getBoundingClientRect().right > innerWidth).length") == 0


@in_browser
def test_five_thousand_samples_are_a_page_at_a_time(tab, folder):
    text = (folder / "audit.html").read_text(encoding="utf-8")
    head, content, tail = re.split(r'(?<=id="content">)(.*?)(?=</script>)', text, maxsplit=1, flags=re.S)
    made = json.loads(content)
    made["samples"] = [
        made["samples"][i % 12] | {"id": f"sample {i}", "group": f"group {i % 1000}"} for i in range(5000)
    ]
    many = json.dumps(made).replace("<", "\\u003c")
    (folder / "many.html").write_text(f"{head}{many}{tail}", encoding="utf-8")
    page = opened(tab, folder / "many.html")
    choose(page, "filter-kind", "")
    assert page.evaluate("document.getElementById('count').textContent") == "5000 of 5000 samples"
    assert page.evaluate("document.querySelectorAll('article').length") == 20
    page.press(*["n"] * 20)
    assert page.evaluate("current") == "sample 20"
    assert ids(page) == [f"sample {i}" for i in range(20, 40)]
    page.press("p", "k")
    assert page.evaluate("current") == "sample 20"
    choose(page, "order", "id")
    page.evaluate("goTo(4999)")
    assert ids(page)[-1] == "sample 4999"
    choose(page, "filter-group", "group 7")
    assert ids(page) == [f"sample {i}" for i in range(7, 5000, 1000)]
