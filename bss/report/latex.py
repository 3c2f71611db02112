"""Tables as LaTeX, for a paper."""

import re

ESCAPED = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"±": r"$\pm$", "↓": r"$\downarrow$", "*": r"$^{*}$"},
}


def latex_table(head: list[str], rows: list[list[str]]) -> str:
    """Return the cells as a ``tabular`` with the rules of booktabs; the first column is set left, the others right."""
    lines = [" & ".join(escape(cell) for cell in row) + r" \\" for row in (head, *rows)]
    columns = "l" + "r" * (len(head) - 1)
    parts = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule"]
    return "\n".join([*parts, r"\end{tabular}", ""])


def escape(text: str) -> str:
    """Return `text` as LaTeX that prints it, a minus before a digit as a minus sign."""
    escaped = "".join(ESCAPED.get(character, character) for character in text)
    return re.sub(r"(?<![\w-])-(?=\d)", "$-$", escaped)
