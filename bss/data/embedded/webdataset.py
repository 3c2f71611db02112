"""Tar shards as WebDataset writes them: the members of one sample follow each other and share the stem of their names.

``0012.jpg``, ``0012.cls`` and ``0012.json`` are one sample with the key 0012. An uncompressed tar file is an index by
itself: one pass over its headers finds every member, and decoding reads each where it lies. A compressed one is
unpacked into a temporary file first.
"""

import json
import re
import tarfile
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from bss.data.decode.container import SUFFIXES as CONTAINERS
from bss.data.decode.frame_source import IMAGE_SUFFIXES
from bss.data.decode.sound_source import SOUND_SUFFIXES
from bss.data.decode.text import MAX_BYTES as MAX_TEXT
from bss.data.embedded.contents import Contents, Member, digests
from bss.data.embedded.unpacked import Tars
from bss.data.manifest_files import PLAIN_SHARD
from bss.data.raw_files import read_raw
from bss.data.table_contents import held_instead
from bss.errors import BssError

KEY = re.compile(r"((?:.*/|)[^./]+)\.([^/]*)", re.DOTALL)
"""Key and extension of a member, as in webdataset.tariterators.base_plus_ext: at the first point of the file name."""
ABSENT = "is missing: the sample has no such member"
PATHS = "paths"
"""Key of a .json member: maps modalities to the names under which the store lists their files."""
VIDEO = frozenset(CONTAINERS) - {".m4a"}
SOUND = frozenset(
    {".aif", ".aiff", ".au", ".caf", ".flac", ".m4a", ".mp2", ".mp3", ".oga", ".ogg", ".opus", ".voc", ".w64", ".wav"}
    | set(SOUND_SUFFIXES)
)
_COLUMNS = {
    **dict.fromkeys(IMAGE_SUFFIXES, "image"),
    **dict.fromkeys(SOUND, "audio"),
    **dict.fromkeys(VIDEO, "video"),
    ".npy": "features",
    ".txt": "text",
    ".cls": "label",
}
"""Column of a member by its suffix, if the extension is nothing else."""


class Shard:
    """A tar file whose members are read by number. Thread-safe."""

    def __init__(self, path: Path, tars: Tars) -> None:
        self.path, self.tars = path, tars
        self.spans: list[tuple[int, int]] = []
        """Offset and size in bytes of each member."""

    def read(self, position: int) -> bytes:
        """Return the bytes of a member."""
        return self.tars.read(self.path, *self.spans[position])


@dataclass
class Found:
    """One sample of a shard."""

    key: str
    members: dict[str, tuple[str, int]] = field(default_factory=dict)
    """The member's extension and its number in the shard, by column."""
    problems: list[str] = field(default_factory=list)


def column_of(extension: str) -> str:
    """Return the column of a member: ``image.png`` is image, ``jpg`` is image too, and ``seg.png`` is seg."""
    name, _, suffix = extension.rpartition(".")
    if name:
        return name.replace(".", "_")
    return _COLUMNS.get(f".{suffix.lower()}", suffix.lower())


def read_shard(
    path: Path, container: str, wanted: Collection[str] | None, contents: Contents, tars: Tars
) -> Iterator[tuple[str, dict[str, str], list[str]]]:
    """Yield key, values by column and problems of each sample; files are added to `contents` under `container`.

    `wanted` are the columns to read, None for all. Label, split and group come from the .json member or from members
    of these names; the label of a sample without one in .json is in .cls. The id is the key unless the .json has one.
    Raises `BssError` for a file that is no tar file, and for one that is cut off within its first sample.
    """
    shard = Shard(path, tars)
    with ThreadPoolExecutor() as pool:
        for sample in _samples(path, shard):
            yield sample.key, _values(sample, shard, container, wanted, contents, pool), sample.problems


def _samples(path: Path, shard: Shard) -> list[Found]:
    samples: list[Found] = []
    try:
        with shard.tars.index(path) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # otherwise they stay in memory
                if member.isreg() and (name := KEY.fullmatch(member.name)):
                    _add(samples, name[1], name[2], len(shard.spans))
                    shard.spans.append((member.offset_data, member.size))
            whole = _ends_at(file, tar.offset)
        damage = "" if whole else "the shard ends here without the mark of its end: it is cut off or damaged"
    except (tarfile.TarError, EOFError, OSError, ValueError, OverflowError) as error:
        damage = f"the shard is cut off or damaged in or after this sample ({str(error)[:100]})"
    if (cut := shard.tars.cut.get(path)) and len(samples) > 1:
        damage = f"the shard is cut off in or after this sample: {cut}, and the last whole key is {samples[-2].key!r}"
    if damage and not samples:
        if path.name.endswith(PLAIN_SHARD):
            why = held_instead(path) or "not an uncompressed tar file, or cut off in its first sample"
            why = why if read_raw(path, 0, 1) else "it is empty, 0 bytes: fetch it again"
        else:
            why = "unpacked it is not a tar file, or it is cut off in its first sample"
        raise BssError(f"{path}: not a readable shard ({why}).")
    if damage and len(samples) == 1:
        raise BssError(
            f"{path}: cut off or damaged in its first sample (key {samples[0].key[:100]!r}). Fetch it again."
        )
    if damage:
        samples[-1].problems.append(f"{damage}; fetch it again")
    if not samples:
        raise BssError(f"{path}: has no sample. Members are named <key>.<extension>, such as 0001.jpg and 0001.cls.")
    return samples


def _add(samples: list[Found], key: str, extension: str, number: int) -> None:
    if not samples or samples[-1].key != key:
        samples.append(Found(key))
    sample, column = samples[-1], column_of(extension)
    if column in sample.members:
        other = sample.members[column][0]
        fix = f"name each <key>.<modality>.<suffix>, such as {Path(key).name}.left.png"
        several = f"has the members .{other} and .{extension} for {column}: {fix}"
        sample.problems.append(f"has two members .{extension}" if other == extension else several)
    sample.members[column] = extension, number


def _ends_at(file: IO[bytes], offset: int) -> bool:
    """Return whether the end-of-archive block, 512 zero bytes, is at `offset`.

    `tarfile` takes the end of the file, or a damaged header, for the end of the archive too.
    """
    file.seek(offset)
    block = file.read(tarfile.BLOCKSIZE)
    return len(block) == tarfile.BLOCKSIZE and not any(block)


def _values(
    sample: Found,
    shard: Shard,
    container: str,
    wanted: Collection[str] | None,
    contents: Contents,
    pool: ThreadPoolExecutor,
) -> dict[str, str]:
    values = {"id": sample.key}
    paths: dict[str, str] = {}
    if "json" in sample.members:
        fields, paths = _json(sample, shard)
        values |= fields
    files = {}
    for column, (extension, number) in sample.members.items():
        if column == "json":
            continue
        if wanted is not None and column not in wanted:
            values.setdefault(column, "")  # the column exists
            continue
        if column in ("label", "split", "group", "id") or extension.rpartition(".")[2].lower() in ("txt", "cls"):
            if column == "label" and "label" in values:  # .cls is then its number, which loaders expect to be one
                continue
            text = _text(sample, shard, column, number)
            if values.get(column, text) != text:
                sample.problems.append(
                    f"{column} is {text[:100]!r} in .{extension}, but {values[column][:100]!r} in .json"
                )
            values[column] = text
        else:
            files[column] = extension, number
    found = digests(shard.read, [number for _, number in files.values()], pool)
    for (column, (extension, number)), digest in zip(files.items(), found, strict=True):
        member = Member(shard, number, paths.get(column, ""), digest)
        values[column] = contents.add(container, f"{sample.key}.{extension}", member)
    return values


def _text(sample: Found, shard: Shard, column: str, number: int) -> str:
    if shard.spans[number][1] > MAX_TEXT:
        sample.problems.append(f"{column} has more than {MAX_TEXT >> 20} MiB of text")
        return ""
    try:
        return shard.read(number).decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        sample.problems.append(f"{column} is not text in UTF-8 (byte {error.start})")
        return ""


def _json(sample: Found, shard: Shard) -> tuple[dict[str, str], dict[str, str]]:
    """Return the plain values of the .json member as text, and the recorded names of its files."""
    text = _text(sample, shard, "json", sample.members["json"][1])
    try:
        tree: Any = json.loads(text) if text else {}
        if not isinstance(tree, dict):
            raise ValueError(f"holds a {type(tree).__name__}, not an object")
    except (ValueError, RecursionError) as error:
        sample.problems.append(f"its .json is not readable ({str(error)[:100]})")
        return {}, {}
    paths = tree.get(PATHS)
    named = {k: v for k, v in paths.items() if isinstance(v, str)} if isinstance(paths, dict) else {}
    plain = {key: value for key, value in tree.items() if isinstance(value, str | int | float)}
    return {key: str(value) for key, value in plain.items()}, named
