"""Readers for the annotation files of datasets."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bss.data.decode.bad_sample import BadSampleError
from bss.data.decode.paths import LinkOutsideError, inside
from bss.errors import BssError, raise_problems


def first_there(root: Path, *choices: str) -> str:
    """Return the first existing path of `choices`, below `root`; raise `BssError` if none exists."""
    for choice in choices:
        if (root / choice).exists():
            return choice
    if not root.is_dir():
        raise BssError(f"{root}: no such folder. Set prepare.root to the folder of your data.")
    raise BssError(f"{root}: has none of {', '.join(choices)}. See docs/datasets.md for the expected layout.")


def sound_and_frames_of(root: Path, videos: str, suffix: str) -> Callable[[str], dict[str, str]]:
    """Return a function from a clip to the paths of its sound and frames, below `root`.

    They are the extracted ones in AudioWAV and Image-01-FPS, or else the video in the folder `videos`. Raises
    `BssError` if neither exists.
    """
    sounds, frames = (first_there(root, extracted, videos) for extracted in ("AudioWAV", "Image-01-FPS"))
    of_sound, of_frames = (suffix if sounds == videos else ".wav"), (suffix if frames == videos else "")
    return lambda clip: {"audio": f"{sounds}/{clip}{of_sound}", "video": f"{frames}/{clip}{of_frames}"}


def read_lines(root: Path, name: str) -> list[tuple[int, str]]:
    """Return number (from 1) and text of each non-empty line of ``root / name``; raise `BssError` if there are none."""
    lines = [(number, line) for number, line in enumerate(_text(root, name).splitlines(), 1) if line.strip()]
    if not lines:
        raise BssError(f"{root / name}: empty.")
    return lines


def read_table(
    root: Path, name: str, columns: Sequence[str], delimiter: str = ",", quoted: bool = True, more: bool = False
) -> list[dict[str, str]]:
    """Return the rows of a table without a header, with columns `columns`; with `more`, extra columns may follow.

    Raises `BssError` if the file is missing, empty or not a table, and for all rows with a wrong number of values.
    """
    # Not splitlines(), which also breaks rows at rare separators in web texts.
    lines = io.StringIO(_text(root, name))
    reader = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)
    rows, problems = [], []
    try:
        for values in reader:
            if not values:
                continue
            if len(values) < len(columns) or (len(values) > len(columns) and not more):
                problems.append(f"row {reader.line_num}: {len(values)} values for the columns {', '.join(columns)}")
            rows.append({column: value.strip() for column, value in zip(columns, values, strict=False)})
    except csv.Error as error:
        raise BssError(f"{root / name}: not a valid table (line {reader.line_num}: {error}).") from error
    raise_problems(str(root / name), problems, "Is it the file of the distribution?")
    if not rows:
        raise BssError(f"{root / name}: empty.")
    return rows


def read_table_with_header(
    root: Path,
    name: str,
    columns: Sequence[str],
    delimiter: str = ",",
    quoted: bool = True,
    keys: Sequence[str] | None = None,
) -> list[dict[str, str]]:
    """Return the rows of a table whose header is `columns`, under `keys` if a column name is duplicate."""
    header, *rows = read_table(root, name, keys or columns, delimiter, quoted)
    found = list(header.values())
    if [text.lower() for text in found] != [column.lower() for column in columns]:
        raise BssError(f"{root / name}: the header is {found}, expected {list(columns)}.")
    if not rows:
        raise BssError(f"{root / name}: has a header but no rows.")
    return rows


def name_labels(source: Path, found: Sequence[str], names: Mapping[str, str]) -> list[str]:
    """Return the class name of each label in `found`; raise `BssError` for labels not in `names`, with rows from 1."""
    problems = [
        f"row {row}: label {label!r} is not one of {', '.join(names)}"
        for row, label in enumerate(found, 1)
        if label not in names
    ]
    raise_problems(str(source), problems, "Is it the file of the distribution?")
    return [names[label] for label in found]


def read_json_list(root: Path, name: str, keys: Sequence[str]) -> list[dict[str, str]]:
    """Return a list of JSON objects that all have `keys`; texts and numbers become text."""
    try:
        entries = json.loads(_text(root, name))
    except (ValueError, RecursionError) as error:
        raise BssError(f"{root / name}: not valid JSON ({error}).") from error
    if not isinstance(entries, list) or not entries:
        raise BssError(f"{root / name}: expected a list of {', '.join(keys)}, found {type(entries).__name__}.")
    problems = []
    for number, entry in enumerate(entries, 1):
        table = entry if isinstance(entry, dict) else {}
        if missing := [key for key in keys if key not in table]:
            problems.append(f"entry {number}: missing {', '.join(missing)}")
        bad = [key for key in keys if key in table and not isinstance(table[key], str | int | float)]
        problems += [f"entry {number}: {key} is neither text nor number: {table[key]!r}" for key in bad]
    raise_problems(str(root / name), problems, "Is it the file of the distribution?")
    return [{key: str(entry[key]) for key in keys} for entry in entries]


def youtube_video(clip: str) -> str:
    """Return the YouTube video of a clip: the first eleven characters of its name."""
    return clip[:11]


def _text(root: Path, name: str) -> str:
    path = root / name
    try:
        return inside(root.resolve(), name).read_text(encoding="utf-8-sig")
    except LinkOutsideError as error:
        raise BssError(f"{path}: a link that leaves the data root. Replace it with a copy of the file.") from error
    except BadSampleError as error:
        raise BssError(f"{path}: {error}. See docs/datasets.md for the expected layout.") from error
    except OSError as error:
        if not root.is_dir():
            raise BssError(f"{root}: no such folder. Set prepare.root to the folder of your data.") from error
        raise BssError(
            f"{path}: cannot be read ({error.strerror}). See docs/datasets.md for the expected layout."
        ) from error
    except UnicodeDecodeError as error:
        raise BssError(f"{path}: not a text file in UTF-8 (byte {error.start}).") from error
