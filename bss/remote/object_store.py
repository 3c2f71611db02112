"""Folders on an S3 object store: uploaded atomically, every file checked.

Endpoint and credentials come from boto3: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, a
profile, or a role.
"""

import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from rich.console import Console

from bss.console import make_console
from bss.errors import BssError, raise_problems
from bss.files import digest_file, require_new, whole_folder
from bss.redact import redact
from bss.remote.transfer import TransferProgress

T = TypeVar("T")

MANIFEST = ".bss-folder.json"
"""Lists the files of an uploaded folder. Removed first and written last: without it, the folder does not exist."""
SCHEMA_VERSION = 1
FILES_AT_A_TIME = 4
"""Files transferred concurrently; boto3 splits large ones into concurrent parts."""
CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 5, 15, 4
"""Detects an unreachable store within half a minute, and a silent one within a minute."""
BACKOFF_SECONDS = 0.5
"""Seconds before the first retry of an interrupted object; doubles with each further one."""
REFUSED = frozenset(
    (
        *("401", "403", "AccessDenied", "ExpiredToken", "Forbidden"),
        *("InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch"),
    )
)
"""Error codes for unknown or unauthorised credentials."""


@dataclass(frozen=True)
class StoredFile:
    """A file of an uploaded folder, as listed in the manifest."""

    size: int
    """Bytes."""
    sha256: str


def upload_folder(folder: Path, url: str, console: Console | None = None) -> None:
    """Upload all files below `folder` to `url` (s3://bucket/prefix), replacing any folder there.

    An unfinished upload never counts as a folder. Progress goes to `console`, or to a new one.
    Raises `BssError` if the folder has no files, or if the store does not answer, has no such bucket
    or refuses the credentials.
    """
    bucket, prefix = _place(url)
    with explain(url):
        client = connect()
        client.delete_object(Bucket=bucket, Key=prefix + MANIFEST)
        _upload(client, folder, bucket, prefix, console)


def upload_once(folder: Path, url: str, console: Console | None = None) -> None:
    """Upload like `upload_folder`, unless a complete folder exists at `url`.

    For a `url` named by the folder's content: concurrent uploads write the same.
    """
    bucket, prefix = _place(url)
    with explain(url):
        client = connect()
        try:
            client.head_object(Bucket=bucket, Key=prefix + MANIFEST)
        except Exception as error:
            if error_code(error) not in ("404", "NoSuchKey"):
                raise
            _upload(client, folder, bucket, prefix, console)


def _upload(client: Any, folder: Path, bucket: str, prefix: str, console: Console | None) -> None:
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    if not paths:
        raise BssError(f"{folder}: no files to upload.")
    with TransferProgress("uploading", "uploaded", len(paths), console or make_console()) as progress:

        def upload(name: str) -> tuple[str, dict[str, Any]]:
            with paths[name].open("rb") as file:
                client.upload_fileobj(file, bucket, prefix + name, Callback=progress.add_bytes, Config=transfers())
            progress.add_file()
            return name, asdict(StoredFile(paths[name].stat().st_size, digest_file(paths[name])))

        manifest = {"schema_version": SCHEMA_VERSION, "files": dict(in_threads(upload, list(paths)))}
        body = json.dumps(manifest, indent=1, sort_keys=True).encode()
        client.put_object(Bucket=bucket, Key=prefix + MANIFEST, Body=body)


def remove_folder(url: str) -> None:
    """Delete everything below `url` (s3://bucket/prefix): folders, complete or not; `BssError` as above."""
    bucket, prefix = _place(url)
    with explain(url):
        client = connect()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        keys = [found["Key"] for page in pages for found in page.get("Contents", [])]
        keys.sort(key=lambda key: not key.endswith("/" + MANIFEST))  # a half-removed folder no longer counts as one
        for key in keys:
            client.delete_object(Bucket=bucket, Key=key)


def download_folder(url: str, folder: Path, console: Console | None = None) -> None:
    """Download a folder uploaded to `url` by `upload_folder` into `folder`, which must be new or empty.

    Progress goes to `console`, or to a new one.
    Raises `BssError`, and removes `folder`, if there is no complete folder, an object is missing or
    was altered, or the store does not answer, has no such bucket or rejects the credentials.
    """
    bucket, prefix = _place(url)
    require_new(folder)
    with explain(url):
        client = connect()
        files = _read_manifest(client, bucket, prefix, url)
    with (
        whole_folder(folder) as unfinished,
        explain(url),
        TransferProgress("downloading", "downloaded", len(files), console or make_console()) as progress,
    ):

        def download(name: str) -> str | None:
            path = unfinished / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                try:
                    client.download_fileobj(
                        bucket, prefix + name, file, Callback=progress.add_bytes, Config=transfers()
                    )
                except Exception as error:
                    if error_code(error) in ("404", "NoSuchKey"):
                        return f"{name}: missing"
                    raise
            progress.add_file()
            return _difference(name, path, files[name])

        problems = [problem for problem in in_threads(download, list(files)) if problem]
        raise_problems(url, problems, "The uploaded folder was altered. Upload it again.")


def check_bucket(url: str) -> None:
    """Raise `BssError` if the objects below `url` (s3://bucket[/prefix]) cannot be listed."""
    bucket, prefix = split_url(url)
    with explain(url):
        connect().list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)


def check_credentials() -> str:
    """Describe the store's answer to the credentials; raise `BssError` if it does not answer or rejects them.

    Credentials that may not list buckets, such as those for a single bucket, count as accepted.
    """
    with explain("the object store"):
        try:
            return f"credentials accepted, buckets: {len(connect().list_buckets()['Buckets'])}"
        except Exception as error:
            if error_code(error) == "AccessDenied":
                return "credentials accepted, but they may not list buckets; check one with --bucket"
            raise


def split_url(url: str) -> tuple[str, str]:
    """Return bucket and prefix (without outer slashes, possibly empty) of s3://bucket/prefix."""
    found = re.fullmatch(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?", url)
    if found is None:
        raise BssError(f"{redact(url)}: not an S3 URL; expected s3://bucket/prefix.")
    return found[1], (found[2] or "").strip("/")


def connect() -> Any:
    """Return boto3's client, without contacting the store."""
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        # Not every store supports the newer checksums; the manifest has its own.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    # Signing needs some region; the environment or a profile overrides it.
    session = boto3.session.Session()
    try:
        return session.client("s3", region_name=session.region_name or "us-east-1", config=config)
    except ValueError as error:
        raise BssError(f"AWS_ENDPOINT_URL: {redact(str(error))}. It must start with http:// or https://.") from error


def read_object(client: Any, bucket: str, key: str, **part: str) -> bytes:
    """Return the content of an object, or a `part` of it; retry if the transfer breaks off or stalls."""
    return retried(lambda: bytes(client.get_object(Bucket=bucket, Key=key, **part)["Body"].read()))


def retried(transfer: Callable[[], T]) -> T:
    """Return the result of `transfer`, called again if it breaks off or stalls: boto3 retries requests, not bodies."""
    from botocore.exceptions import HTTPClientError, IncompleteReadError

    for attempt in range(1, ATTEMPTS + 1):
        try:
            return transfer()
        except (HTTPClientError, IncompleteReadError):
            if attempt == ATTEMPTS:
                raise
            time.sleep(BACKOFF_SECONDS * 2 ** (attempt - 1))
    raise AssertionError


def transfers() -> Any:
    """Return boto3's settings for large files: interrupted parts are retried."""
    from boto3.s3.transfer import TransferConfig

    return TransferConfig(num_download_attempts=ATTEMPTS)


@contextmanager
def explain(url: str) -> Iterator[None]:
    """Turn boto3's exceptions inside into `BssError` with the problem of `url`."""
    from botocore.exceptions import BotoCoreError, ClientError
    from s3transfer.exceptions import RetriesExceededError, S3DownloadFailedError

    try:
        yield
    except ClientError as error:
        code, text = error_code(error), error.response["Error"].get("Message") or ""
        if code in REFUSED:
            raise BssError(
                f"{url}: the object store rejects the credentials ({code} {redact(text)}). Check AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, or the profile, and their permissions there."
            ) from error
        if code == "NoSuchBucket":
            raise BssError(f"{url}: the object store has no such bucket. Create it, or correct the URL.") from error
        raise BssError(f"{url}: the object store returned {code} {redact(text)}") from error
    except (BotoCoreError, RetriesExceededError, S3DownloadFailedError) as error:
        raise BssError(
            f"{url}: {redact(str(error))}\nCheck AWS_ENDPOINT_URL, that the object store answers, and that you have "
            "credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile)."
        ) from error


def _place(url: str) -> tuple[str, str]:
    """Return bucket and key prefix of a folder at `url`."""
    bucket, prefix = split_url(url)
    if not prefix:
        raise BssError(f"{url}: is a whole bucket. Give a folder in it: {url.rstrip('/')}/name.")
    return bucket, prefix + "/"


def _read_manifest(client: Any, bucket: str, prefix: str, url: str) -> dict[str, StoredFile]:
    try:
        manifest = json.loads(read_object(client, bucket, prefix + MANIFEST))
        if manifest["schema_version"] != SCHEMA_VERSION:
            raise BssError(f"{url}: schema version {manifest['schema_version']}, expected {SCHEMA_VERSION}.")
        files = {name: StoredFile(**file) for name, file in manifest["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BssError(f"{url}: {MANIFEST} is damaged ({error!r}). Upload the folder again.") from error
    except Exception as error:
        if error_code(error) == "NoSuchKey":
            raise BssError(
                f"{url}: no folder there, or its upload is unfinished ({MANIFEST} is written last)."
            ) from error
        raise
    outside = [name for name in files if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts]
    raise_problems(url, outside, f"These names in {MANIFEST} lead out of the folder.")
    return files


def _difference(name: str, path: Path, expected: StoredFile) -> str | None:
    size = path.stat().st_size
    if size != expected.size:
        return f"{name}: {size} bytes, expected {expected.size}"
    found = digest_file(path)
    return None if found == expected.sha256 else f"{name}: sha256 {found}, expected {expected.sha256}"


def error_code(error: Exception) -> str:
    """Return the error code of the store's answer, or nothing for other errors."""
    response: dict[str, Any] = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def in_threads(work: Callable[[str], Any], names: list[str], threads: int = FILES_AT_A_TIME) -> Iterator[Any]:
    """Yield `work` of each name in order; after an error, pending work is cancelled."""
    executor = ThreadPoolExecutor(threads)
    try:
        yield from executor.map(work, names)
    finally:
        executor.shutdown(cancel_futures=True)
