"""Files inside the page: tables as CSV and LaTeX."""

import base64
import csv
import io
from typing import Any

from bss.report.latex import latex_table


def csv_text(rows: list[dict[str, Any]]) -> str:
    """Return rows as CSV; the columns are those of all rows, in order of appearance."""
    buffer = io.StringIO()
    columns = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def data_url(content: bytes, media: str) -> str:
    """Return `content` as an address that holds it."""
    return f"data:{media};base64,{base64.b64encode(content).decode()}"


def downloads(name: str, rows: list[dict[str, Any]], head: list[str], cells: list[list[str]]) -> dict[str, str]:
    """Return file name to address of one table: `rows` in full precision as CSV, `cells` under `head` as LaTeX."""
    return {
        f"{name}.csv": data_url(csv_text(rows).encode(), "text/csv"),
        f"{name}.tex": data_url(latex_table(head, cells).encode(), "application/x-tex"),
    }
