"""Near matches of a missing file name: other Unicode form, case, suffix, folder, slashes or spaces."""

import re
import unicodedata
from functools import lru_cache
from itertools import islice
from pathlib import Path
from urllib.parse import unquote

from bss.data.decode.bad_sample import printable

MAX_NAMES = 200_000
"""Maximum number of entries of a folder; larger ones are not searched."""
MAX_FOLDERS = 200
"""Maximum number of folders of the root to search for a file named without its folder."""
SHOWN = 3
"""Maximum number of names in a message."""
_SORTS = (
    {
        "wav",
        "mp3",
        "flac",
        "ogg",
        "opus",
        "m4a",
        "aiff",
        "aif",
        "mp4",
        "m4v",
        "mov",
        "mkv",
        "webm",
        "avi",
        "flv",
        "wmv",
    },
    {"jpg", "jpeg", "png", "gif", "webp", "bmp", "tif", "tiff"},
    {"npy", "npz"},
    {"txt", "text"},
)


def not_found(path: Path, root: Path) -> str:
    """Return the message for a missing file, with similar names relative to `root`.

    `path` is inside `root`, which is resolved.
    """
    real = path.resolve()
    if ".git" in real.parts and "annex" in real.parts:
        return "file not found (its content is missing: run git annex get)"
    if path.is_symlink():
        return f"file not found (a broken link to {printable(str(real))})"
    name = path.relative_to(root).as_posix()
    found = near_names(name, root)
    if not found:
        elsewhere = _elsewhere(name)
        return f"file not found ({elsewhere})" if elsewhere else "file not found"
    shown = " or ".join(printable(other) for other in found[:SHOWN])
    return f"file not found (there is {shown}: {_difference(name, found[0])})"


def _elsewhere(name: str) -> str:
    """Describe a name that cannot be a file below the data root; empty if it can."""
    own = "write the path relative to the data root"
    if re.match("file:", name, re.IGNORECASE):
        return f"a file: URL; {own}"
    if re.match("[a-z][a-z0-9+.-]+:/", name, re.IGNORECASE):
        return "a URL, but files are not downloaded: download it, and write its path relative to the data root"
    if re.match(r"[a-z]:[\\/]", name, re.IGNORECASE):
        return f"a Windows path; {own}"
    if re.match(r"~|\$\w|\$\{|%\w+%", name):
        return f"~ and variables are not expanded; {own}"
    return ""


def near_names(name: str, root: Path) -> list[str]:
    """Return the files and folders, relative to `root`, whose names differ from `name` in common ways."""
    parts = _parts(name)
    readings = [parts, _parts(unquote(name))] + [parts[i:] for i in range(1, len(parts))]
    for reading in readings:
        if reading and (found := _walk(root, reading)):
            return _relative(found, root)
    deeper = [folder.joinpath(*parts) for folder in _folders(root, _changed(root))]
    return _relative([path for path in deeper if path.is_file()], root) if parts else []


def _parts(name: str) -> list[str]:
    return [part for part in name.replace("\\", "/").split("/") if part.strip() not in ("", ".", "..")]


def _relative(paths: list[Path], root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in paths]


def _walk(folder: Path, parts: list[str]) -> list[Path]:
    """Resolve `parts` from `folder`, matching each by its key if it does not exist verbatim."""
    for part in parts[:-1]:
        names = [part] if (folder / part).is_dir() else _names(folder).get(_key(part), [])
        folders = [folder / name for name in names if (folder / name).is_dir()]
        if not folders:
            return []
        folder = folders[0]
    last = parts[-1]
    if (folder / last).exists():
        return [folder / last]
    same = _names(folder).get(_key(last), []) or _names(folder).get(_key(_without_suffix(last)), [])
    stems = _stems(folder)
    suffixes = [name for name in stems.get(_key(_without_suffix(last)), []) if _sort(name) == _sort(last)]
    return [folder / name for name in same or suffixes or stems.get(_key(last), [])]


def _sort(name: str) -> int:
    """Return a name's file family, by its suffix: another family belongs to another modality."""
    suffix = name.strip().rpartition(".")[2].lower()
    return next((number for number, sort in enumerate(_SORTS) if suffix in sort), -1)


def _key(name: str) -> str:
    """Return a key shared by names that look alike: ignores case, Unicode form and spaces."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _without_suffix(name: str) -> str:
    return name.strip().rpartition(".")[0] or name


def _names(folder: Path) -> dict[str, list[str]]:
    return _listing(str(folder), _changed(folder))[0]


def _stems(folder: Path) -> dict[str, list[str]]:
    return _listing(str(folder), _changed(folder))[1]


def _changed(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=16)
def _listing(folder: str, changed: int) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return the names in a folder by their keys and by those of their stems; `changed` keeps old listings apart."""
    try:
        found = sorted(path.name for path in islice(Path(folder).iterdir(), MAX_NAMES + 1))
    except OSError:
        found = []
    names: dict[str, list[str]] = {}
    stems: dict[str, list[str]] = {}
    for name in found if len(found) <= MAX_NAMES else []:
        names.setdefault(_key(name), []).append(name)
        stems.setdefault(_key(_without_suffix(name)), []).append(name)
    return names, stems


@lru_cache(maxsize=4)
def _folders(root: Path, changed: int) -> list[Path]:
    """Return the first folders of `root` by name; `changed` keeps old listings apart."""
    names = sorted(name for group in _names(root).values() for name in group)
    return list(islice((root / name for name in names if name[0] != "." and (root / name).is_dir()), MAX_FOLDERS))


def _difference(name: str, other: str) -> str:
    """Describe how the name in the manifest differs from the file's."""
    slashes = name.replace("\\", "/")
    file, other_file = slashes.rpartition("/")[2], other.rpartition("/")[2]
    forms = f"the same letters in Unicode form {_form(other)}, the manifest has {_form(name)}"
    differences = (
        ("its folders are separated by /", "\\" in name and _key(slashes) == _key(other)),
        (forms, unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", other)),
        ("upper and lower case differ", name.casefold() == other.casefold()),
        ("spaces differ", "".join(name.split()) == "".join(other.split())),
        ("the manifest has it as in a URL", unquote(name) == other),
        ("in another folder", _key(file) == _key(other_file)),
        ("another suffix", _key(other_file) == _key(_without_suffix(file)) or _same_stem(file, other_file)),
    )
    return next((text for text, applies in differences if applies), "a similar name")


def _same_stem(file: str, other: str) -> bool:
    return _key(_without_suffix(other)) in (_key(_without_suffix(file)), _key(file))


def _form(name: str) -> str:
    return next((form for form in ("NFC", "NFD") if unicodedata.is_normalized(form, name)), "mixed")
