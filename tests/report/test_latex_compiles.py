"""LaTeX sets every table of the report, whatever the names in it are."""

import re
import shutil
import subprocess

import numpy as np
import pytest
from made import compared
from test_downloads import content

from bss.report.latex import MOST_ROWS, latex_table
from bss.report.matrix_table import matrix_rows
from bss.report.tables import (
    comparison_table,
    cost_table,
    differences_table,
    effects_table,
    matrix_table,
    samples_table,
)

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed"),
]
PREAMBLE = r"\documentclass{article}\usepackage[paperwidth=150cm]{geometry}\usepackage{booktabs,longtable}"
"""Wide: what does not fit is an error, and wide tables are for the paper to scale."""
STRATEGIES = ("a_b", "c%d", "e&f", "g#$h", "i~j^k", r"l\m{n}")


def set_in_latex(tables, folder):
    """Set the tables with pdflatex; return how many pages they fill. Errors, lost letters and cut lines fail."""
    body = "\n\n".join(tables.values())
    (folder / "paper.tex").write_text(rf"{PREAMBLE}\begin{{document}}{body}\end{{document}}", encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "paper.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    log = (folder / "paper.log").read_text(encoding="utf-8", errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    assert not re.search(r"Missing character|Overfull", log), log
    return int(re.search(r"Output written on paper\.pdf \((\d+) page", log).group(1))


def latex_of(files):
    return {name: content(url, "application/x-tex").decode() for name, url in files.items() if name.endswith(".tex")}


def test_the_tables_of_a_real_report(pipeline, tmp_path):
    page = (pipeline[0] / "report" / "report.html").read_text(encoding="utf-8")
    tables = latex_of(dict(re.findall(r'<a download="(.*?)" href="(.*?)">', page)))
    assert len(tables) == 5
    assert "longtable" in tables["parameters.tex"]
    set_in_latex(tables, tmp_path)


def test_tables_with_names_of_any_signs(tmp_path):
    random = np.random.default_rng(0)
    names = [f"{s}{t}" for t in ("", *(f"+{t}" for t in STRATEGIES)) for s in ("uniform", "bss_h & 50 %", "[x]*")]
    comparison = compared({name: random.normal(80, 1, 8) for name in names}, dict.fromkeys(names, 9))
    times = dict.fromkeys(names, 1.5)
    tables = [
        comparison_table(comparison, times),
        differences_table(comparison),
        matrix_table(comparison, matrix_rows(comparison, times)),
        effects_table(comparison),
        cost_table(comparison, times),
        samples_table(
            [{"id": "clip_1%&", "label": f'class {name} <|"`> Café', "score": "-0.5"} for name in STRATEGIES]
        ),
    ]
    set_in_latex({name: text for table in tables for name, text in latex_of(table.files).items()}, tmp_path)


@pytest.mark.parametrize(("rows", "pages"), [(MOST_ROWS, {1}), (200, {4, 5})])
def test_long_tables_break_over_pages(rows, pages, tmp_path):
    table = latex_table(["parameter", "value"], [[f"key_{i}", "1"] for i in range(rows)])
    assert set_in_latex({"table": table}, tmp_path) in pages
