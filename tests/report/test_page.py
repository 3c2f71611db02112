import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from bss.stages.compare import compare


class Page(HTMLParser):
    """Collects what a browser would load from elsewhere, and the text."""

    def __init__(self, text):
        super().__init__()
        self.external, self.headings, self.open, self.svgs = [], [], [], 0
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        self.svgs += tag == "svg"
        names = ("src", "href", "xlink:href", "data")
        self.external += [v for k, v in attributes if k in names and v and not v.startswith("#")]

    def handle_data(self, data):
        if self.open and self.open[-1] == "h2" and data.strip():
            self.headings.append(data.strip())


@pytest.fixture(scope="module")
def page(pipeline):
    return (pipeline[0] / "report" / "report.html").read_text(encoding="utf-8")


def test_the_page_needs_nothing_else(page):
    assert Page(page).external == []
    assert "@import" not in page
    assert "<script" not in page


def test_it_holds_all_that_it_should(page, pipeline):
    parsed = Page(page)
    expected = {"Comparison", "Validation accuracy", "Pacing", "Accuracy per modality", "Balance score per measurement"}
    assert expected | {"Least balanced training samples", "What made this report"} <= set(parsed.headings)
    # differences x 4, curves x 2, pacing, modalities, histograms: initial, warm-up, and BSS-L's own
    assert parsed.svgs >= 10
    for name in pipeline[1].schedule.schedulers:
        assert f">{name}</td>" in page
    assert "train.optimiser.learning_rate" in page


def test_the_least_balanced_samples_are_those_with_the_lowest_scores(page, pipeline, small_store):
    import numpy as np

    from bss.data.tables import read_table

    tables = [read_table(pipeline[0] / "scores" / f"seed={s}" / "scores.parquet", "measure") for s in (0, 1)]
    mean = np.mean([t["score"].to_numpy() for t in tables], axis=0)
    worst = tables[0]["id"].to_pylist()[int(mean.argmin())]
    first = page.index("<tbody>", page.index("Least balanced"))
    assert page[first:].split("<td>")[1].startswith(worst)


def test_names_from_the_data_cannot_become_markup(pipeline, small_store, tmp_path):
    from bss.files import read_json, write_json

    store = tmp_path / "store"
    shutil.copytree(small_store, store)
    header = read_json(store / "store.json", "prepare")
    write_json(store / "store.json", header | {"name": "<img src=x>", "classes": ["<b>", "dog", "owl"]})
    folder, config = pipeline
    compare(config, store, folder / "scores", folder / "runs", tmp_path / "report")
    text = (tmp_path / "report" / "report.html").read_text()
    assert "<img" not in text
    assert "<b>" not in text


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no browser on this machine")
def test_a_browser_shows_it_without_complaint(pipeline, tmp_path):
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--enable-logging=stderr"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"]
    command += [f"--user-data-dir={tmp_path}", "--dump-dom", (pipeline[0] / "report" / "report.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert "Does balance-aware sequence sampling help" in done.stdout
    assert "CONSOLE" not in done.stderr
