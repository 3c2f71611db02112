import base64
import csv
import hashlib
import html
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from browser import needs_browser, open_in_browser, shown_without_complaint

from bss.data.store import Store
from bss.kubeflow.summaries import scores_summary
from bss.report.audit import worst_samples
from bss.stages.compare import compare
from bss.stages.measure import measure


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
    assert all(address.startswith("data:") for address in Page(page).external)
    assert "@import" not in page
    (script,) = re.findall("<script>(.*?)</script>", page, re.DOTALL)
    assert page.count("<script") == 1
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page  # no script but this one runs, whatever the data hold
    assert "url(" not in page.replace("url(#", "")
    # ... and the page's policy forbids the browser to load anything.
    assert "default-src 'none'" in page


def test_it_holds_all_that_it_should(page, pipeline):
    parsed = Page(page)
    expected = {
        "Comparison",
        "Accuracy while training",
        "Pacing",
        "Accuracy per modality",
        "Balance score per measurement",
    }
    assert expected | {"Least balanced training samples", "What made this report"} <= set(parsed.headings)
    # differences x 2, curves x 2, pacing, modalities, histograms: initial, warm-up, and BSS-L's own
    assert parsed.svgs >= 10
    for name in pipeline[1].schedule.schedulers:
        assert f">{name}</td>" in page
    assert "train.optimiser.learning_rate" in page


def test_the_least_balanced_samples_are_those_with_the_lowest_scores(page, pipeline, small_store):
    from bss.data.tables import read_table

    tables = [read_table(pipeline[0] / "scores" / f"seed={s}" / "scores.parquet", "measure") for s in (0, 1)]
    mean = np.mean([t["score"].to_numpy() for t in tables], axis=0)
    worst = tables[0]["id"].to_pylist()[int(mean.argmin())]
    first = page.index("<tbody>", page.index("Least balanced"))
    assert page[first:].split("<td>")[1].startswith(worst)
    listed = page[first : page.index("</tbody>", first)]
    assert listed.count('<img class="stored" src="data:image/png;base64,') == 3 * listed.count("<tr>") > 0


def test_the_least_balanced_samples_have_what_each_modality_contributes_if_that_is_known(pipeline, small_store):
    store, (folder, config) = Store.open(small_store), pipeline
    ids = store.ids[store.rows("train")].tolist()
    without = worst_samples(config, store, folder / "scores", {})
    listed = worst_samples(config, store, folder / "scores", {"audio": np.arange(len(ids)) / 8})
    for sample, same in zip(listed, without, strict=True):
        assert sample.pop("audio contributes") == f"{ids.index(sample['id']) / 8:.2f}"
        assert sample == same


@pytest.mark.slow
def test_names_from_the_data_cannot_become_markup(pipeline, small_store, tmp_path):
    from bss.files import read_json, write_json

    store = tmp_path / "store"
    shutil.copytree(small_store, store)
    header = read_json(store / "store.json", "prepare")
    write_json(store / "store.json", header | {"name": "<img src=x>", "classes": ["<b>", "dog", "owl"]})
    folder, config = pipeline
    compare(config, store, folder / "scores", folder / "runs", tmp_path / "report")
    text = (tmp_path / "report" / "report.html").read_text()
    assert "<img src" not in text
    assert "<b>" not in text


def test_every_colour_of_a_drawing_has_a_light_and_a_dark_shade(page):
    style = page[: page.index("</style>")]
    used = set(re.findall(r"var\((--c\d+)\)", page))
    assert used >= {f"--c{i}" for i in range(6)}
    for name in used:
        assert len(set(re.findall(rf"{name}: (#[0-9a-f]{{6}});", style))) == 2


def test_few_seeds_and_the_published_protocol_are_warned_of(page):
    warnings = re.findall(r'<p class="warning">(.*?)</p>', page)
    (warning,) = map(html.unescape, warnings)
    assert warning.startswith("Seeds: 2, too few for a verdict, which needs at least 6.")
    assert "2 / 2^2 = 0.5, above 0.05" in warning
    assert "dvc exp run -S 'seeds=[0,1,2,3,4,5]'" in warning


def test_every_difference_is_listed_with_its_tests_and_its_verdict(page, pipeline):
    start = page.index("<tbody>", page.index("<th>verdict</th>"))
    rows = [
        re.findall(r"<td>(?:<span.*?></span>)?(.*?)</td>", row)
        for row in page[start : page.index("</tbody>", start)].split("</tr>")[:-1]
    ]
    with (pipeline[0] / "report" / "differences.csv").open(newline="", encoding="utf-8") as file:
        expected = list(csv.DictReader(file))
    assert len(rows) == len(expected) == 20
    for row, known in zip(rows, expected, strict=True):
        assert row[:2] == [known["scheduler"], known["reference"]]
        assert row[2] == {"test_acc": "selected", "last_test_acc": "last"}[known["metric"]]
        assert row[3].startswith(f"{float(known['difference']):+.2f} ")
        numbers = [f"{float(known['sd']):.2f}", *(f"{float(known[key]):.4f}" for key in ("p", "p_corrected"))]
        assert row[4:] == [*numbers, "inconclusive", known["seeds_needed"] or "-"]


@pytest.mark.slow
def test_the_histograms_show_every_kind_and_how_well_the_score_finds_it(pipeline, small_store, tmp_path):
    from bss.artifacts.scores import scores_path
    from bss.data.tables import read_table, write_table

    folder, config = pipeline
    store = tmp_path / "store"
    shutil.copytree(small_store, store)
    ids = Store.open(store).ids.tolist()
    scores = read_table(scores_path(folder / "scores", 0, "warm-up"), "measure")
    worst = [scores["id"].to_pylist()[i] for i in np.argsort(scores["score"].to_numpy())[:12]]
    kinds = {name: f"kind${i % 6}$" for i, name in enumerate(worst)}
    write_table(store / "truth.parquet", {"id": ids, "kind": [kinds.get(name, "clean") for name in ids]})
    compare(config, store, folder / "scores", folder / "runs", tmp_path / "report")
    text = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    caption = re.search("<figcaption>after the warm-up(.*?)</figcaption>", text).group(1)
    assert caption == "".join(f"; AUC kind${i}$ 1.00" for i in range(6))
    drawing = text[: text.index("<figcaption>after the warm-up")].rpartition("<svg")[2]
    for kind in ("clean", *(f"kind${i}$" for i in range(6))):
        assert f">{kind}</text>" in drawing


def rows_of(printed):
    """The lines of the table that `bss measure` prints."""
    return [line.strip() for line in printed.splitlines() if line.strip().startswith(("initial", "after"))]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "titles"),
    [
        ("train", ["initial network, train mode", "initial network, eval mode"]),
        ("eval", ["initial network, eval mode"]),
    ],
)
def test_without_a_warm_up_only_the_mode_tells_them_apart(mode, titles, pipeline, small_store, tmp_path, capsys):
    folder, config = pipeline
    config = replace(config, measure=replace(config.measure, warmup_epochs=0, initial_mode=mode))
    measure(config, small_store, tmp_path / "scores")
    printed = capsys.readouterr().out
    assert [line[: len(title)] for title, line in zip(titles, rows_of(printed), strict=True)] == titles
    assert "after the warm-up" not in printed
    compare(config, small_store, tmp_path / "scores", folder / "runs", tmp_path / "report")
    text = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    captions = re.findall("<figcaption>(.*?)</figcaption>", text)
    assert [caption for caption in captions if "initial network" in caption or "warm-up" in caption] == titles
    assert "The lowest scores, initial network, eval mode, averaged over seeds" in text
    head = scores_summary(tmp_path / "scores").splitlines()[2]
    assert head == "| " + " | ".join(["mean over samples and seeds", *titles]) + " |"


@pytest.mark.process
@needs_browser
def test_a_browser_shows_it_without_complaint(page, tmp_path):
    assert "Does balance-aware sequence sampling help" in shown_without_complaint(page, tmp_path)
    # A request to anywhere is a violation of the page's own policy, which the browser reports.
    done = open_in_browser(page.replace("<h1>", '<img src="http://localhost:9/x.png"><h1>', 1), tmp_path)
    assert "Content Security Policy" in done.stderr


def test_the_first_screen_is_one_sentence_and_the_forest_plot(page):
    start = page.index("</h1>")
    first = page[start : page.index("<h2>", start)]
    assert re.findall('<p class="headline">(.*?)</p>', first) == [
        "No verdict: 6 or more seeds are needed, there are 2."
    ]
    assert first.count("<svg") == 1
    drawing = first[first.index("<svg") : first.index("</svg>")]
    texts = [html.unescape(text) for text in re.findall("<text[^>]*>(.*?)</text>", drawing)]
    assert {"against uniform", "against control"} <= set(texts)
    assert texts.count("inconclusive, p 1.000") >= 1
    assert "<li>" not in first
