"""Tables as LaTeX, for a paper."""

import re

ESCAPED = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "`": r"\textasciigrave{}"},
    # In LaTeX's default font encoding these print as other characters.
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''"},
    **{"±": r"$\pm$", "↓": r"$\downarrow$", "→": r"$\rightarrow$", "*": r"$^{*}$"},
}


MOST_ROWS = 40
"""Rows that fit on a page for certain; a ``tabular`` never breaks, so what is longer would leave the page."""


def latex_table(head: list[str], rows: list[list[str]]) -> str:
    """Return the cells as a table with the rules of booktabs; a column of texts is set left, the others right.

    It is a ``tabular``, or with more than `MOST_ROWS` rows a ``longtable``, whose pages each have the head. Texts
    beyond Latin letters need XeLaTeX or LuaLaTeX and a font that has them.
    """
    lines = [_line(row) for row in (head, *rows)]
    columns = "l" + "".join("r" if all(_numeric(row[i]) for row in rows) else "l" for i in range(1, len(head)))
    environment, end_of_head = ("longtable", [r"\endhead"]) if len(rows) > MOST_ROWS else ("tabular", [])
    parts = [rf"\begin{{{environment}}}{{{columns}}}", r"\toprule", lines[0], r"\midrule", *end_of_head, *lines[1:]]
    return "\n".join([*parts, r"\bottomrule", rf"\end{{{environment}}}", ""])


def escape(text: str) -> str:
    """Return `text` as LaTeX that prints it on one line, a minus before a digit as a minus sign."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    escaped = "".join(ESCAPED.get(character, character) for character in plain)
    escaped = re.sub(r"(?<![\w-])-(?=\d)", "$-$", escaped)
    return escaped.replace("--", "-{}-").replace("--", "-{}-")  # two hyphens in a row would become a dash


def _line(row: list[str]) -> str:
    cells = " & ".join(escape(cell) for cell in row)
    # A bracket behind the end of the row before would be the argument of that end.
    return ("{}" if cells.startswith("[") else "") + cells + r" \\"


def _numeric(cell: str) -> bool:
    """Return whether a cell is a number, perhaps with more behind it, or missing."""
    return re.match(r"[+-]?\d|-?$", cell) is not None
