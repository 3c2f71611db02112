"""The folder of the raw data: `prepare.root` itself, or a temporary copy of what the manifest names on S3."""

import posixpath
import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.filesize import decimal

from bss.config.modalities import TextKind
from bss.config.schema import PrepareConfig
from bss.console import make_console
from bss.data.embedded.rows import TABLES
from bss.data.manifest import MANIFEST_FIX
from bss.data.manifest_files import ABOUT_FILES, is_shard, manifest_files, name_in
from bss.data.raw_files import distant_files
from bss.data.read_csv import read_csv
from bss.data.read_parquet import parquet_faults, read_parquet
from bss.errors import BssError
from bss.remote.object_blocks import object_blocks
from bss.remote.s3_files import SCHEME, StoredObject, digest_listing, download_objects, list_objects, upload_object


@contextmanager
def raw_root(settings: PrepareConfig, digest: str | None = None) -> Iterator[Path]:
    """Yield the folder that holds the raw data of `settings`.

    For ``prepare.root: s3://bucket/prefix`` it is a temporary one, named like the prefix, with the manifest and all
    objects that it or the parameters name; of a published dataset with all objects. Tables and shards that are too
    large for the disk stay on S3, where `bss.data.raw_files` reads them. Messages of a `BssError` in the block name
    their URL. Raises `BssError` like `list_objects` and `download_objects`, for a manifest that cannot be read, and
    with `digest` for objects whose `digest_listing` is another.
    """
    if not settings.root.startswith(SCHEME):
        yield Path(settings.root)
        return
    url = settings.root.rstrip("/")
    objects = list_objects(url)
    if digest not in (None, digest_listing(objects)):
        raise BssError(f"{url}: its objects have changed since this run started. Run it again.")
    with tempfile.TemporaryDirectory(prefix="bss-") as temporary:
        folder = Path(temporary).resolve() / posixpath.basename(url)
        try:
            folder.mkdir()
            files = [] if settings.source is not None else _manifest(settings, url, objects, folder)
            with _too_large_left(url, objects, files, folder):
                _download(settings, url, objects, files, folder)
                yield folder
        except BssError as error:
            raise BssError(str(error).replace(str(folder), url)) from error


@contextmanager
def edited(root: str, name: str) -> Iterator[Path]:
    """Yield the file `name` of the raw data in `root` for reading and replacing; on S3 a copy, uploaded at the end."""
    if not root.startswith(SCHEME):
        yield Path(root) / name
        return
    url = root.rstrip("/")
    with tempfile.TemporaryDirectory(prefix="bss-") as folder:
        path = Path(folder) / name
        objects = list_objects(url)
        download_objects(url, objects, {name} & objects.keys(), Path(folder))
        path.parent.mkdir(parents=True, exist_ok=True)
        yield path
        upload_object(path, f"{url}/{name}")


@contextmanager
def _too_large_left(url: str, objects: Mapping[str, StoredObject], files: list[str], folder: Path) -> Iterator[None]:
    """Within the block, leave tables and shards of `files` on S3 if they would fill more than half of the free disk."""
    found = [name for name in files if Path(name).suffix in TABLES or is_shard(Path(name))]
    size, free = sum(objects[name].size for name in found), shutil.disk_usage(folder).free
    if size <= free / 2:
        yield
        return
    make_console().print(
        f"{url}: reading {len(found)} tables or shards ({decimal(size)}) directly from S3; {folder.parents[1]} has "
        f"only {decimal(free)} free.",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    for name in found:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    with object_blocks(url, objects) as blocks, distant_files({folder / name: blocks.file(name) for name in found}):
        yield


def _download(
    settings: PrepareConfig, url: str, objects: Mapping[str, StoredObject], files: list[str], folder: Path
) -> None:
    """Download the manifest's `files` that are not in `folder`, and all other objects of the data."""
    if settings.source is not None:
        download_objects(url, objects, objects, folder)
        return
    download_objects(url, objects, files, folder)
    below: dict[str, list[str]] = defaultdict(list)
    for name in objects:
        below[posixpath.dirname(name)].append(name)
    kinds = settings.modalities
    columns = [name for name, kind in kinds.items() if not isinstance(kind, TextKind) or kind.source == "file"]
    values = {value for file in files for value in _values(folder / file, columns)}
    tokenizers = [kind.tokenizer for kind in kinds.values() if isinstance(kind, TextKind)]
    values |= {value for value in (settings.truth, settings.decisions, *settings.shared_files, *tokenizers) if value}
    named = {posixpath.normpath(value) for value in values}
    found = {name for value in named for name in ([value] if value in objects else below.get(value, []))}
    download_objects(url, objects, found, folder)


def _manifest(settings: PrepareConfig, url: str, objects: Mapping[str, StoredObject], folder: Path) -> list[str]:
    """Return the names of the manifest's files, found like those on disk: by empty files of the same names."""
    start = re.split(r"[{*?\[]", posixpath.normpath(settings.manifest))[0].removeprefix(".")
    with tempfile.TemporaryDirectory(prefix="bss-") as temporary:
        names = Path(temporary).resolve() / folder.name
        names.mkdir()
        listed = [name for name in objects if name.startswith(start)]
        download_objects(url, objects, [name for name in listed if posixpath.basename(name) in ABOUT_FILES], names)
        for name in listed:
            (names / name).parent.mkdir(parents=True, exist_ok=True)
            (names / name).touch()
        try:
            files = manifest_files(names, settings.manifest, settings.links, MANIFEST_FIX.format(root=url))
        except BssError as error:
            raise BssError(str(error).replace(str(names), url)) from error
        return [name_in(names, file) for file in files]


def _values(file: Path, columns: list[str]) -> Iterator[str]:
    """Yield what the cells of `columns` hold in a table: paths, if nothing is wrong with them; nothing of a shard."""
    if file.suffix in TABLES:
        faults = parquet_faults(file)
        _, rows = read_parquet(file, [name for name in columns if name not in faults])
    elif is_shard(file):
        return
    else:
        _, rows = read_csv(file, lambda *_: None)  # rows of a wrong width are reported when the manifest is checked
    for _, row in rows:
        yield from (row[name].strip() for name in columns if name in row)
