"""What readers do with the report, in a real browser: sort, highlight, listen, read on a phone.

The screenshots are in the folder BSS_SCREENSHOTS, if it is set.
"""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from browser import needs_browser
from chromium import browser
from conftest import small_tree
from made import add_imbalance, made_results

from bss.artifacts.scores import read_scores, scores_path
from bss.config import config_from_tree
from bss.config.combinations import combinations_of
from bss.data.store import Store
from bss.report.comparison import compare_results
from bss.report.observations import observe
from bss.report.page import render_page
from bss.stages.measure import measure

pytestmark = [pytest.mark.process, needs_browser]
pytest.importorskip("websocket", reason="websocket-client is not installed")

SEEDS = 8
PHONE = 400
STRATEGIES = {
    "ogm": {"kind": "ogm"},
    "mlb": {"kind": "mlb"},
    "mixup": {"kind": "mixup"},
    "gradients-x3": {"kind": "weights", "encoder_gradients": 3.0},
    "label-smoothing": {"kind": "weights", "label_smoothing": 0.1},
}


def make_page(root, store, scores, schedulers, strategies):
    tree = small_tree(root) | {"seeds": list(range(SEEDS))}
    named = {f"bss-{i}": {"kind": "heuristic"} for i in range(1, schedulers - 1)}
    random = {"kind": "heuristic", "ranking": "random"}
    tree["schedule"]["schedulers"] = {"uniform": {"kind": "uniform"}, "control": random} | named
    tree["strategies"] = {"none": {"kind": "none"}} | strategies
    config = config_from_tree(tree, "params.yaml")
    data = Store.open(store)
    results = made_results([row.name for row in combinations_of(config)], SEEDS, data.modalities)
    if not strategies:
        add_imbalance(results, data.modalities)
    comparison = compare_results(config, results, len(data.rows("val")))
    config = replace(config, seeds=(0,))  # the scores are those of one
    counts = {split: len(data.rows(split)) for split in ("train", "val", "test")} | {"classes": len(data.classes)}
    measured = read_scores(scores_path(scores, 0, "warm-up"), data)[None]
    comparison["observed"] = observe(config, results, measured, counts)
    times = {name: trials[0].seconds for name, trials in results.items()}
    return render_page(config, data, scores, results, comparison, times)


@pytest.fixture(scope="module")
def scores(small_root, small_store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("measured") / "scores"
    measure(config_from_tree(small_tree(small_root) | {"seeds": [0]}, "params.yaml"), small_store, folder)
    return folder


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture(scope="module")
def files(small_root, small_store, scores, tmp_path_factory):
    """The report of nine schedulers, and of ten with six strategies each."""
    folder = tmp_path_factory.mktemp("pages")
    for name, schedulers, strategies in (("nine", 9, {}), ("sixty", 10, STRATEGIES)):
        text = make_page(small_root, small_store, scores, schedulers, strategies)
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(params=["nine", "sixty"])
def shown(request, tab, files):
    """The browser's page with a report in a wide window, and the report's name."""
    return opened(tab, files, request.param, 1400), request.param


@pytest.fixture
def nine(tab, files):
    return opened(tab, files, "nine", 1400)


def opened(tab, files, name, width):
    tab.resize(width, 900, phone=width == PHONE)
    tab.open("about:blank")
    tab.open((files / f"{name}.html").as_uri())
    assert tab.wait_for("document.readyState === 'complete' && document.querySelector('th button') !== null")
    return tab


def pictured(tab, name, whole=True):
    if "BSS_SCREENSHOTS" in os.environ:
        tab.screenshot(Path(os.environ["BSS_SCREENSHOTS"]) / f"{name}.png", whole)


def sort_by(tab, table, title):
    """Click on the column `title` of the table after the heading `table`; return its order and its texts."""
    return tab.evaluate(
        f"""(() => {{
          const head = [...document.querySelectorAll("h2")].find((h) => h.textContent === "{table}");
          let table = head;
          while (!table.matches("div.scroll")) table = table.nextElementSibling;
          const cells = [...table.querySelectorAll("thead th")];
          const column = cells.findIndex((cell) => cell.textContent === "{title}");
          cells[column].querySelector("button").click();
          const texts = [...table.querySelectorAll("tbody tr")].map((row) => row.cells[column].textContent.trim());
          return [cells[column].ariaSort, texts];
        }})()"""
    )


def number(text):
    return float(text.split()[0].rstrip("*="))


@pytest.mark.parametrize(
    ("table", "title"),
    [("Comparison", "test ± sd"), ("Comparison", "vs control"), ("Comparison", "seconds"), ("Differences", "seeds")],
)
def test_a_column_of_numbers_sorts_by_value_from_the_largest_and_then_the_reverse(shown, table, title):
    page, _ = shown
    order, texts = sort_by(page, table, title)
    values = [number(text) for text in texts if text != "-"]
    assert order == "descending"
    assert values == sorted(values, reverse=True)
    assert len(set(values)) > 4
    order, reverse = sort_by(page, table, title)
    assert order == "ascending"
    assert [number(text) for text in reverse if text != "-"] == sorted(values)
    missing = texts.count("-")
    assert texts[len(values) :] == reverse[len(values) :] == ["-"] * missing  # last, whatever the order


def test_numbers_are_not_sorted_as_texts(nine):
    _, texts = sort_by(nine, "Differences", "difference")
    assert [number(text) for text in texts] != [number(text) for text in sorted(texts, reverse=True)]


def test_a_column_of_names_sorts_from_a_to_z_and_numbers_in_them_by_value(shown):
    page, name = shown
    order, texts = sort_by(page, "Comparison", "scheduler")
    assert order == "ascending"
    if name == "nine":
        assert texts == [*(f"bss-{i}" for i in range(1, 8)), "control", "uniform"]
    assert sort_by(page, "Comparison", "scheduler") == ["descending", texts[::-1]]


def middle(tab, selector):
    """Scroll the first element of `selector` into view; return its middle."""
    return tab.evaluate(
        f"""(() => {{
          const part = document.querySelector(`{selector}`);
          part.scrollIntoView({{block: "center", behavior: "instant"}});
          const box = part.getBoundingClientRect();
          return [box.x + box.width / 2, box.y + box.height / 2];
        }})()"""
    )


CURVES = 'svg[aria-label*="against epochs, mean"]'
BRIGHT = (
    f"[...new Set([...document.querySelectorAll('{CURVES} [data-series]:not(.dim)')].map((g) => g.dataset.series))]"
)


def test_pointing_at_a_name_of_the_legend_highlights_its_curve_and_a_click_keeps_it(nine):
    everything = [str(place) for place in range(9)]
    assert sorted(nine.evaluate(BRIGHT)) == everything
    # The last group of a series is its name in the legend.
    third = middle(nine, f"{CURVES} g[data-series='3']:has(text)")
    away = (5, 5)
    nine.mouse("mouseMoved", *third)
    assert nine.wait_for(f"{BRIGHT}.join() === '3'")
    pictured(nine, "highlighted", whole=False)
    nine.mouse("mouseMoved", *away)
    assert nine.wait_for(f"{BRIGHT}.length === 9")
    for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
        nine.mouse(kind, *third)
    nine.mouse("mouseMoved", *away)
    assert nine.evaluate(BRIGHT) == ["3"]


def test_pointing_at_a_curve_highlights_it(nine):
    x, y = nine.evaluate(
        f"""(() => {{
          const svg = document.querySelector(`{CURVES}`);
          svg.scrollIntoView({{block: "center", behavior: "instant"}});
          // The curve that the pointer meets is the one drawn last.
          const path = [...svg.querySelectorAll("g[data-series='8'] path")].find((p) => p.style.fill === "none");
          const point = path.getPointAtLength(0.6 * path.getTotalLength()).matrixTransform(path.getScreenCTM());
          return [point.x, point.y];
        }})()"""
    )
    nine.mouse("mouseMoved", x, y)
    assert nine.wait_for(f"{BRIGHT}.join() === '8'")


def test_every_sound_has_a_player_and_loads(nine):
    players = nine.evaluate("document.querySelectorAll('audio[controls]').length")
    assert players == nine.evaluate("document.querySelectorAll('table.text tbody tr:has(audio)').length") == 20
    nine.evaluate("document.querySelectorAll('audio').forEach((player) => { player.preload = 'auto'; player.load(); })")
    assert nine.wait_for("[...document.querySelectorAll('audio')].every((player) => player.readyState >= 2)")
    lengths = nine.evaluate("[...document.querySelectorAll('audio')].map((player) => player.duration)")
    assert lengths == pytest.approx([0.2] * 20)
    assert nine.evaluate("[...document.querySelectorAll('audio')].every((player) => player.error === null)")


@pytest.mark.parametrize("width", [1400, PHONE])
@pytest.mark.parametrize("name", ["nine", "sixty"])
def test_the_page_never_scrolls_sideways_but_wide_parts_do_in_their_own_boxes(tab, files, name, width):
    page = opened(tab, files, name, width)
    pictured(page, f"{name}-{width}")
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    inside = page.evaluate("document.documentElement.clientWidth")  # without the bar that scrolls down
    assert width - 20 <= inside <= width
    assert page.evaluate("document.documentElement.scrollWidth") == inside
    outside = page.evaluate(
        """[...document.querySelectorAll("table, svg")]
          .filter((part) => part.getBoundingClientRect().right > innerWidth)
          .filter((part) => getComputedStyle(part.closest("figure, .scroll")).overflowX !== "auto").length"""
    )
    assert outside == 0
    if width == PHONE:
        boxes = page.evaluate(
            "[...document.querySelectorAll('figure.wide, .scroll')].filter((b) => b.scrollWidth > b.clientWidth).length"
        )
        assert boxes >= 8
        smallest = page.evaluate(
            "Math.min(...[...document.querySelectorAll('figure.wide svg')].map((s) => s.getBoundingClientRect().width))"
        )
        assert smallest >= 832 * 0.99  # scaled down to the phone, the text in them could not be read


def test_drawings_of_imbalance_keep_the_size_of_their_text_on_a_phone(tab, files):
    page = opened(tab, files, "nine", PHONE)
    page.evaluate("[...document.querySelectorAll('h2')].find((h) => h.textContent === 'Imbalance').scrollIntoView()")
    pictured(page, "imbalance-400", whole=False)
    shares = page.evaluate(
        """[...document.querySelectorAll("svg[aria-label*='of each modality against epochs']")].map(
          (svg) => svg.getBoundingClientRect().width / (parseFloat(svg.getAttribute("width")) / 0.75))"""
    )
    assert len(shares) == 9
    assert min(shares) >= 0.85  # of 8 points and more


def test_sixty_rows_are_all_in_the_table_and_in_the_panels(tab, files):
    page = opened(tab, files, "sixty", 1400)
    rows = page.evaluate(
        "document.querySelectorAll('h2 ~ .scroll table.sortable:not(.matrix)')[0].tBodies[0].rows.length"
    )
    cells = page.evaluate("document.querySelectorAll('table.matrix td strong').length")
    assert cells == 60
    panels = page.evaluate(
        """[...document.querySelectorAll('svg[aria-label*="one panel each"] text')].map((text) => text.textContent)"""
    )
    expected = page.evaluate("[...document.querySelectorAll('table.matrix tbody th')].map((cell) => cell.textContent)")
    assert len(expected) == 10
    for strategy in ("", *(f"+{name}" for name in STRATEGIES)):
        assert {f"{scheduler}{strategy}" for scheduler in expected} <= set(panels)
    assert rows >= 60


def test_the_differences_are_drawn_before_any_table(shown):
    first, before_headings = shown[0].evaluate(
        """(() => {
          const figure = document.querySelector("figure"), heading = document.querySelector("h2");
          return [figure.textContent, figure.compareDocumentPosition(heading) === Node.DOCUMENT_POSITION_FOLLOWING];
        })()"""
    )
    assert "against uniform" in first
    assert before_headings


def test_the_matrix_sorts_by_a_strategys_accuracy(tab, files):
    page = opened(tab, files, "sixty", 1400)
    order, texts = sort_by(page, "Schedulers and strategies", "mlb")
    values = [number(text) for text in texts]
    assert order == "descending"
    assert values == sorted(values, reverse=True)
    assert len(values) == 10


@pytest.mark.parametrize("name", ["nine", "sixty"])
def test_names_stay_in_sight_while_a_table_scrolls_on_a_phone(tab, files, name):
    page = opened(tab, files, name, PHONE)
    moved = page.evaluate(
        """(() => {
          const box = [...document.querySelectorAll("table.sortable")].map((table) => table.parentElement)
            .find((box) => box.scrollWidth > box.clientWidth);
          const places = () => [...box.querySelectorAll("tbody tr")].map((row) =>
            [row.cells[0], row.cells[1]].map((cell) => Math.round(cell.getBoundingClientRect().left)));
          const before = places();
          box.scrollLeft = 100;
          return [before, places()];
        })()"""
    )
    before, after = moved
    assert len(before) >= 9
    assert [name for name, _ in after] == [name for name, _ in before]
    assert [value for _, value in after] == [value - 100 for _, value in before]
