"""Detect what a user's table really is if it is neither UTF-8 CSV nor Parquet, and how to fix it."""

import codecs
from collections.abc import Collection, Sequence
from pathlib import Path

from bss.data.decode.contents import content_of
from bss.data.raw_files import open_raw

SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
MARKS = ("{", "[", "<", "version https://git-lfs", "/annex/objects/")
"""Beginnings of texts that are not a header."""
PARTS_FIX = (
    "a folder, not a file. If it holds the parts of one table, join them: "
    "python -c \"import pandas; pandas.read_parquet('FOLDER').to_parquet('manifest.parquet')\""
)

_AS_CSV = "save its table as CSV UTF-8"
_FIXES = {
    "a gzip archive": "unpack it: gunzip FILE",
    "a Parquet file": "name it .parquet",
    "JSON": "convert it: python -c \"import pandas; pandas.read_json('FILE', lines=True).to_csv('manifest.csv', "
    'index=False)"; without lines=True if the file is a single list',
}


def held_instead(path: Path) -> str:
    """Return the content of the file at `path`, by its first bytes, and the fix; nothing if unknown."""
    try:
        with open_raw(path) as file:
            head = file.read(4096)
        found = content_of(path)
    except OSError:
        return ""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "it holds text in UTF-16; save it as CSV UTF-8"
    if head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") or (head.startswith(b"PK") and b"xl/" in path.read_bytes()):
        return f"it holds an Excel workbook; {_AS_CSV}"
    if found is None or not head:
        return ""
    return f"it holds {found.name}; {_FIXES.get(found.name, found.fix)}"


def header_note(columns: Sequence[str], missing: Collection[str]) -> str:
    """Return a sentence that may explain why a CSV header has no columns `missing`; nothing if unknown."""
    first = columns[0]
    if first.lstrip().startswith("#"):
        return " The first line is a comment, but the header must come first: remove the lines that begin with #."
    used = next((mark for mark in SEPARATORS if len(columns) == 1 and mark in first), None)
    if used is not None:
        or_tsv = " or name it .tsv" if used == "\t" else ""
        return f" Its values are separated by {SEPARATORS[used]}: save it with commas{or_tsv}."
    near = [(column, column.strip().casefold()) for column in columns]
    pairs = [f"{right!r} for {column!r}" for column, right in near if right in missing and right != column]
    return f" Case and spaces matter in names: write {', '.join(pairs)}." if pairs else ""
