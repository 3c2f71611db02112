"""The comparison of an earlier run, before decisions about samples, by its URL on the object store."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bss.errors import BssError
from bss.redact import redact
from bss.remote.s3_files import SCHEME, download_objects, list_objects

COMPARISON = "comparison.json"


@contextmanager
def earlier_comparison(url: str) -> Iterator[Path | None]:
    """Yield a temporary copy of the comparison.json in the folder `url` on S3, such as an artifact `report`.

    Kubeflow's minio:// counts as s3://, and the file's own URL as that of its folder. None if `url` is empty. Messages
    of a `BssError` in the block name the URL; one is raised if there is no such file.
    """
    if not url:
        yield None
        return
    folder = re.sub(r"^minio://", SCHEME, url).rstrip("/").removesuffix(f"/{COMPARISON}")
    if not folder.startswith(SCHEME):
        raise BssError(
            f"before: {redact(url)}: must be the folder of an earlier report on the object store, such as "
            "s3://bucket/v2/artifacts/.../report: the address of the artifact report of the step compare."
        )
    objects = list_objects(folder)
    if COMPARISON not in objects:
        raise BssError(f"before: {folder}: has no {COMPARISON}. Give the artifact report of the step compare.")
    with tempfile.TemporaryDirectory(prefix="bss-") as temporary:
        download_objects(folder, objects, [COMPARISON], Path(temporary))
        try:
            yield Path(temporary) / COMPARISON
        except BssError as error:
            raise BssError(str(error).replace(temporary, folder)) from error
