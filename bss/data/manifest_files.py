"""The files of a manifest: one file, a pattern of several, or a folder of a Hugging Face dataset or of shards."""

import glob
import json
import os
import re
from collections.abc import Iterator
from itertools import islice, product
from pathlib import Path

from bss.config.schema import Links
from bss.data.dataset_card import CARD, require_one_configuration
from bss.data.decode.bad_sample import BadSampleError
from bss.data.decode.frame_source import natural_order
from bss.data.decode.paths import LinkOutsideError, boundary, inside
from bss.data.rows import SYNONYMS
from bss.data.store import SPLITS
from bss.data.table_contents import PARTS_FIX
from bss.errors import BssError, raise_problems

MAX_FILES = 100_000
"""Maximum number of files of one manifest: a pattern of a few characters may stand for any number."""
PLAIN_SHARD = ".tar"
SHARDS = (PLAIN_SHARD, ".tar.gz", ".tgz", ".tar.zst")
"""Ends of the names of WebDataset shards."""
OTHER_SHARDS = (".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.lz4", ".tzst")
"""Ends of the names of archives that are not read."""
IN_FOLDER = (".parquet", ".arrow", *SHARDS, *OTHER_SHARDS)
"""Files of a folder that is a manifest, by the end of their name: all of one kind."""
LISTS = ("dataset_dict.json", "state.json")
"""Files in which Hugging Face datasets list the splits and files that `save_to_disk` wrote."""
ABOUT_FILES = (*LISTS, CARD)
"""Files of a folder that say which others are its dataset."""
_BRACES = re.compile(r"\{([^{}]*)\}")


def manifest_files(root: Path, name: str, links: Links = "inside", fix: str = "") -> list[Path]:
    """Return the files that the manifest ``root / name`` stands for, those of train before val and test.

    A name with braces or ``*?[`` that is not a file is a pattern: ``{000..099}.tar`` and ``{a,b}.csv`` list files that
    must all exist, ``*.parquet`` matches some. A folder is what ``save_to_disk`` of Hugging Face datasets wrote, or
    holds Parquet files or tar shards at any depth. Raises `BssError` if there is no such file, if it is
    outside `root` and `links` may not leave it, or if the files are of several kinds.
    """
    try:
        if not root.is_dir():
            raise BssError(f"{root}: no such folder. Set prepare.root to the folder of your data.")
        real = root.resolve()
        limit = boundary(real, links)
        path = inside(real, name, limit)
        if path.is_file():
            names = [name]
        elif path.is_dir():
            found = _files_of_folder(path)
            if not found:
                raise BssError(f"{root / name}: {PARTS_FIX}")
            names = [file.relative_to(real).as_posix() for file in found]
        elif is_pattern(name):
            names = _matching(root, real, name)
        else:
            raise BssError(f"{root / name}: not found. {fix}")
        for found_name in names:
            inside(real, found_name, limit)
    except LinkOutsideError as error:
        raise BssError(f"{root / name}: {error}.") from error
    except (BadSampleError, OSError) as error:  # leads out of the root, or is too long a name
        raise BssError(f"{root / name}: {getattr(error, 'strerror', None) or error}. {fix}") from error
    if others := [found for found in names if found.endswith(OTHER_SHARDS)]:
        raise BssError(f"{root / others[0]}: shards are {', '.join(SHARDS)}. Unpack it, and pack it as one of these.")
    suffixes = sorted({PLAIN_SHARD if is_shard(Path(found)) else Path(found).suffix for found in names})
    if len(suffixes) > 1:
        raise BssError(f"{root / name}: files of several kinds ({', '.join(suffixes)}). Name those of one kind.")
    order = {split: rank for rank, split in enumerate(SPLITS)}
    ranked = sorted(names, key=lambda found: order.get(split_in(found), len(order)))
    return [root / found for found in ranked]


def name_in(root: Path, file: Path) -> str:
    """Return the name of a manifest's file relative to the data root, with single slashes."""
    return Path(os.path.relpath(file, root)).as_posix()


def is_shard(file: Path) -> bool:
    """Return whether a file of a manifest is a WebDataset shard, by its name."""
    return file.name.endswith(SHARDS)


def is_pattern(name: str) -> bool:
    """Return whether a manifest's name has braces or wildcards."""
    return bool(_BRACES.search(name)) or glob.has_magic(name)


def split_in(name: str) -> str:
    """Return the split that the name of a file and its folders stand for, such as data/validation-0.parquet for val.

    Like Hugging Face datasets: one of the split's names between the letters ``-._ 0-9/``. Empty if there is none,
    or several.
    """
    words = re.split(r"[-._ 0-9/]+", name.casefold())
    found = {SYNONYMS[word] for word in words if word in SYNONYMS}
    return found.pop() if len(found) == 1 else ""


def expand_braces(pattern: str) -> Iterator[str]:
    """Yield the names that ``{000..099}`` and ``{a,b}`` in `pattern` stand for, as in a shell; in order."""
    parts = _BRACES.split(pattern)  # text, inside of braces, text, ...
    choices = [_choices(part) if number % 2 else (part,) for number, part in enumerate(parts)]
    return map("".join, product(*choices))


def _choices(inner: str) -> tuple[str, ...]:
    found = re.fullmatch(r"([0-9]{1,12})\.\.([0-9]{1,12})", inner)
    if found is None:
        return tuple(inner.split(",")) if "," in inner else (f"{{{inner}}}",)
    first, last = int(found[1]), int(found[2])
    padded = any(len(text) > 1 and text[0] == "0" for text in found.groups())
    width = max(map(len, found.groups())) if padded else 0
    step = 1 if last >= first else -1
    return tuple(f"{number:0{width}}" for number in islice(range(first, last + step, step), MAX_FILES + 1))


def _matching(root: Path, real: Path, name: str) -> list[str]:
    """Return the files that a pattern stands for; raise `BssError` if it names files that do not exist, or none."""
    if Path(name).is_absolute():
        raise BssError(f"{name}: a pattern must be relative to prepare.root.")
    expanded = list(islice(expand_braces(name), MAX_FILES + 1))
    if len(expanded) > MAX_FILES:
        raise BssError(f"{root / name}: stands for more than {MAX_FILES} files.")
    names, missing = [], []
    for one in expanded:
        if glob.has_magic(one):
            files = (found for found in real.glob(one) if found.is_file() and not found.name.startswith("."))
            matched = [found.relative_to(real).as_posix() for found in files]
            names += sorted(matched, key=natural_order)
            missing += [] if matched else [f"no file matches {one}"]
        elif (real / one).is_file():
            names.append(one)
        else:
            missing.append(f"{one} not found")
    raise_problems(str(root / name), missing, "Correct the pattern in prepare.manifest, or fetch the files.")
    return list(dict.fromkeys(names))


def _files_of_folder(folder: Path) -> list[Path]:
    """Return the files of a dataset in `folder`: those that its state.json lists, or all Parquet files or shards."""
    splits, files = LISTS
    if (folder / splits).is_file():
        return [file for split in _listed(folder / splits) for file in _saved(folder / split)]
    if (folder / files).is_file():
        return _saved(folder)
    require_one_configuration(folder)
    found = [
        file
        for file in folder.rglob("*")
        if file.name.endswith(IN_FOLDER) and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    ]
    return sorted((file for file in found if file.is_file()), key=lambda file: natural_order(file.as_posix()))


def _saved(folder: Path) -> list[Path]:
    """Return the Arrow files of a split that `save_to_disk` wrote, without cached results beside them."""
    files = [folder / name for name in _listed(folder / LISTS[1])]
    missing = [f"{file.name} not found" for file in files if not file.is_file()]
    raise_problems(str(folder), missing, "Its state.json names these files: copy the whole folder again.")
    return files


def _listed(path: Path) -> list[str]:
    """Return the splits in dataset_dict.json, or the files in state.json: names without a folder."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        listed = tree["splits"] if "splits" in tree else [entry["filename"] for entry in tree["_data_files"]]
        if not listed or not all(isinstance(name, str) and Path(name).name == name for name in listed):
            raise ValueError(f"lists {str(listed)[:100]}")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BssError(
            f"{path}: not as `save_to_disk` of Hugging Face datasets writes it ({error}). Save the dataset again."
        ) from error
    return listed
