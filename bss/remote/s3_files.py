"""The objects below an S3 prefix as files: listed with their versions, downloaded in parallel and checked."""

import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from bss.console import make_console
from bss.errors import BssError
from bss.files import digest_json
from bss.full_disk import on_disk
from bss.remote.object_store import connect, error_code, explain, in_threads, retried, split_url
from bss.remote.transfer import TransferProgress

SCHEME = "s3://"
READERS = 10
"""Objects downloaded concurrently: as many as boto3 keeps connections open."""
BLOCK = 1 << 20
"""Bytes of an object in memory at once, per reader."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One version of an object."""

    size: int
    """Bytes."""
    etag: str
    """What the store calls this version: it changes whenever the object is written with other bytes."""


def list_objects(url: str) -> dict[str, StoredObject]:
    """Return the objects below `url` (s3://bucket[/prefix]) by their names relative to it, sorted.

    Keys that no file can have are left out: that end in a slash, hold `..`, or are the folder of others. Raises
    `BssError` if there are no objects, no such bucket, or no permission to list it.
    """
    bucket, prefix = split_url(url)
    start = f"{prefix}/" if prefix else ""
    found = {}
    with explain(url):
        for page in connect().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=start):
            for entry in page.get("Contents", []):
                name = entry["Key"].removeprefix(start)
                if "\0" not in name and not {"", ".", ".."} & set(name.split("/")):
                    found[name] = StoredObject(int(entry["Size"]), entry["ETag"])
    if not found:
        raise BssError(f"{url}: there is no object below this prefix. Give the prefix of your data, as a folder.")
    folders = {parent for name in found for parent in map(str, PurePosixPath(name).parents)}
    return {name: found[name] for name in sorted(found) if name not in folders}


def digest_listing(objects: Mapping[str, StoredObject]) -> str:
    """Return the digest of names, sizes and versions; no object is read for it."""
    return digest_json({name: [found.size, found.etag] for name, found in objects.items()})


def download_objects(url: str, objects: Mapping[str, StoredObject], names: Collection[str], folder: Path) -> None:
    """Download the objects `names` of `list_objects` into `folder`, each at its name; existing files stay.

    An interrupted download continues where it stopped. Raises `BssError` if the disk has too little space, if an object
    was changed or deleted since it was listed, and if the store does not answer or forbids reading one.
    """
    left = sorted(name for name in names if not (folder / name).is_file())
    if not left:
        return
    _require_space(url, sum(objects[name].size for name in left), folder)
    bucket, prefix = split_url(url)
    with (
        explain(url),
        on_disk(folder),
        TransferProgress("reading", "read", len(left), make_console()) as progress,
    ):
        client = connect()

        def download(name: str) -> None:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with explain(f"{url}/{name}"):
                _download(client, (bucket, f"{prefix}/{name}".lstrip("/")), objects[name], path, progress)
            progress.add_file()

        for _ in in_threads(download, left, READERS):
            pass


def upload_object(path: Path, url: str) -> None:
    """Write the small file at `path` to `url` (s3://bucket/key)."""
    bucket, key = split_url(url)
    with explain(url):
        connect().put_object(Bucket=bucket, Key=key, Body=path.read_bytes())


def _require_space(url: str, size: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        raise BssError(
            f"{url}: its files of {size:,} bytes are kept on disk while they are prepared, but "
            f"{tempfile.gettempdir()} has {free:,} bytes free. Set TMPDIR to a folder on a larger disk."
        )


def _download(client: Any, at: tuple[str, str], wanted: StoredObject, path: Path, progress: TransferProgress) -> None:
    """Write the object `at` bucket and key to `path`; raise `BssError` unless it is the version `wanted`."""
    bucket, key = at
    with path.open("wb") as file:

        def append_the_rest() -> None:
            done = file.tell()
            if done == wanted.size:  # also an empty object, of which no range can be read
                return
            part = {"IfMatch": wanted.etag, "Range": f"bytes={done}-"}
            for block in client.get_object(Bucket=bucket, Key=key, **part)["Body"].iter_chunks(BLOCK):
                file.write(block)
                progress.add_bytes(len(block))

        with one_version(f"{SCHEME}{bucket}/{key}"):
            retried(append_the_rest)


@contextmanager
def one_version(url: str) -> Iterator[None]:
    """Turn the answer that the object at `url` is no longer the version asked for into `BssError`."""
    try:
        yield
    except Exception as error:
        code = error_code(error)
        if code in ("412", "PreconditionFailed"):
            problem = "changed while the data were being read. Run the same command again when nobody writes them."
        elif code in ("404", "NoSuchKey"):
            problem = "was deleted while the data were being read. Run the same command again."
        else:
            raise
        raise BssError(f"{url}: {problem}") from error
