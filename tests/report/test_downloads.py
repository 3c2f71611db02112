"""Tables as files inside the page, and sounds that it plays."""

import base64
import csv
import html
import io
import re

import numpy as np
import pytest
import soundfile

from bss.report.latex import escape, latex_table
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
    ],
)
def test_special_characters(text, expected):
    assert escape(text) == expected


def test_each_table_of_the_page_is_there_as_csv_and_latex(pipeline):
    report = pipeline[0] / "report"
    page = (report / "report.html").read_text(encoding="utf-8")
    links = dict(re.findall(r'<a download="(.*?)" href="(.*?)">', page))
    assert set(links) == {"comparison.csv", "comparison.tex", "differences.csv", "differences.tex"}
    for name in ("comparison.csv", "differences.csv"):
        assert content(links[name], "text/csv") == (report / name).read_bytes()
    latex = content(links["differences.tex"], "application/x-tex").decode()
    rows = list(csv.DictReader(io.StringIO((report / "differences.csv").read_text(encoding="utf-8"))))
    assert latex.count(r"\\") == 1 + len(rows)
    start = page.index("<h2>Differences</h2>")
    titles = re.findall("<th>(.*?)</th>", page[start : page.index("</thead>", start)])
    assert " & ".join(html.unescape(title) for title in titles) in latex


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
