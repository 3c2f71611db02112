"""Tables as files inside the page, and sounds that it plays."""

import base64
import csv
import html
import io
import re

import numpy as np
import pytest
import soundfile
from hypothesis import assume, given
from hypothesis import strategies as st

from bss.report.latex import MOST_ROWS, escape, latex_table
from bss.report.sounds import RATE, SECONDS, sound_url


def content(address, media):
    head, _, body = address.partition(",")
    assert head == f"data:{media};base64"
    return base64.b64decode(body)


def test_a_table_in_latex():
    assert latex_table(["a_b", "p"], [["x & y", "-1.50 ± 0.2"]]).splitlines() == [
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"a\_b & p \\",
        r"\midrule",
        r"x \& y & $-$1.50 $\pm$ 0.2 \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("100 %", r"100 \%"),
        ("a\\b{c}", r"a\textbackslash{}b\{c\}"),
        ("x^2~#$", r"x\textasciicircum{}2\textasciitilde{}\#\$"),
        ("bss-h-2", "bss-h-2"),
        ("+1.2 [-0.3, +2.0]*", r"+1.2 [$-$0.3, +2.0]$^{*}$"),
        ("-", "-"),
        ("a--b---c", "a-{}-b-{}-{}-c"),
        ('<i> | "x`', r"\textless{}i\textgreater{} \textbar{} ''x\textasciigrave{}"),
        ("two\nlines\tand a tab", "two lines and a tab"),
    ],
)
def test_special_characters(text, expected):
    assert escape(text) == expected


def test_each_table_of_the_page_is_there_as_csv_and_latex(pipeline):
    report = pipeline[0] / "report"
    page = (report / "report.html").read_text(encoding="utf-8")
    links = dict(re.findall(r'<a download="(.*?)" href="(.*?)">', page))
    names = ("comparison", "differences", "least-balanced", "provenance", "parameters")
    assert set(links) == {f"{name}.{ending}" for name in names for ending in ("csv", "tex")}
    assert page.count("<table") == len(names)
    for name in ("comparison.csv", "differences.csv"):
        assert content(links[name], "text/csv") == (report / name).read_bytes()
    latex = content(links["differences.tex"], "application/x-tex").decode()
    rows = list(csv.DictReader(io.StringIO((report / "differences.csv").read_text(encoding="utf-8"))))
    assert latex.count(r"\\") == 1 + len(rows)
    start = page.index("<h2>Differences</h2>")
    titles = re.findall("<th>(.*?)</th>", page[start : page.index("</thead>", start)])
    assert " & ".join(html.unescape(title) for title in titles) in latex


SIGNS = {
    **{rf"\{c}": c for c in "&%$#_{}"},
    **{r"\textbackslash": "\\", r"\textasciitilde": "~", r"\textasciicircum": "^", r"\textasciigrave": "`"},
    **{r"\textless": "<", r"\textgreater": ">", r"\textbar": "|", "''": '"'},
    **{r"$\pm$": "±", r"$\downarrow$": "↓", r"$\rightarrow$": "→", "$^{*}$": "*", "$-$": "-"},
}
TOKEN = re.compile("|".join(re.escape(sign) for sign in sorted(SIGNS, key=len, reverse=True)) + r"|\{\}|[^\\{}$&%#_^~]")


def cells_of(latex):
    """Read a table as LaTeX does: rows end with two backslashes, cells with &; anything unknown is an error."""
    head, *lines, foot, last = latex.splitlines()
    environment, columns = re.fullmatch(r"\\begin\{(tabular|longtable)\}\{([lr]+)\}", head).groups()
    assert (foot, last, lines.pop(0), lines.pop(1)) == (
        *(r"\bottomrule", rf"\end{{{environment}}}", r"\toprule", r"\midrule"),
    )
    if environment == "longtable":
        assert lines.pop(1) == r"\endhead"
    assert (environment == "longtable") == (len(lines) > 1 + MOST_ROWS)
    rows = []
    for line in lines:
        assert line.endswith(r" \\")
        assert line[0] not in "[*"
        cells = re.split(r"(?<!\\) & ", line.removesuffix(r" \\"))
        assert len(cells) == len(columns)
        for cell in cells:
            assert "--" not in cell
            assert TOKEN.sub("", cell) == ""  # no character is left that means something else to LaTeX
        rows.append(["".join(SIGNS.get(t, t.replace("{}", "")) for t in TOKEN.findall(cell)) for cell in cells])
    return columns, rows


plain_texts = st.text(st.sampled_from("ab[]*-+.09 &%$#_{}\\~^`<>|\"'±↓→éж")).map(lambda text: " ".join(text.split()))


@given(st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(plain_texts, min_size=n, max_size=n), min_size=2)))
def test_latex_gives_back_every_cell(table):
    # Apostrophes side by side print as a quotation mark, which is how they look.
    assume(not any(re.search("""'['"]|"'""", cell) for row in table for cell in row))
    columns, rows = cells_of(latex_table(table[0], table[1:]))
    assert len(columns) == len(table[0])
    assert rows == table


def test_every_table_of_the_page_is_latex_with_the_texts_of_the_csv(pipeline):
    page = (pipeline[0] / "report" / "report.html").read_text(encoding="utf-8")
    links = dict(re.findall(r'<a download="(.*?)" href="(.*?)">', page))
    for name in ("least-balanced", "provenance", "parameters"):
        _, rows = cells_of(content(links[f"{name}.tex"], "application/x-tex").decode())
        table = content(links[f"{name}.csv"], "text/csv").decode()
        assert rows == list(csv.reader(io.StringIO(table)))
    assert rows[0] == ["parameter", "value"]
    assert ["compare.margin", "1.0"] in rows
    _, rows = cells_of(content(links["least-balanced.tex"], "application/x-tex").decode())
    assert len(rows) == 21
    assert rows[0][:3] == ["id", "label", "score"]
    assert not any("stored" in title or "sound" in title for title in rows[0])


@pytest.mark.parametrize("rate", [4000, 16_000, 44_100])
def test_a_sound_is_bounded_and_keeps_its_pitch(rate):
    time = np.arange(10 * rate) / rate
    sound = (0.5 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
    data = content(sound_url(sound, rate), "audio/wav")
    assert len(data) <= 2 * SECONDS * RATE + 100
    values, found = soundfile.read(io.BytesIO(data))
    assert found == min(rate, RATE)
    assert len(values) == SECONDS * found
    assert np.abs(np.fft.rfft(values)).argmax() * found / len(values) == pytest.approx(440, abs=0.5)
    assert np.abs(values).max() == pytest.approx(0.5, abs=0.02)


def test_the_page_plays_the_sounds_of_the_least_balanced_samples(pipeline):
    page = (pipeline[0] / "report" / "report.html").read_text(encoding="utf-8")
    start = page.index("Least balanced training samples")
    listed = page[start : page.index("</tbody>", start)]
    addresses = re.findall(r'<audio controls preload="none" src="(.*?)"', listed)
    assert len(addresses) == listed.count("<img") / 3 == 20
    values, rate = soundfile.read(io.BytesIO(content(addresses[0], "audio/wav")))
    assert (rate, len(values)) == (4000, 800)
