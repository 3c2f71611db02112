"""The raw data of a pipeline run: a folder of a git repository, under DVC or not, objects on S3, or built-in data."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bss.config import Config, config_to_tree
from bss.errors import BssError
from bss.files import digest_json
from bss.redact import redact
from bss.remote.fetch import DataVersion, fetch, locate
from bss.remote.s3_files import SCHEME, digest_listing, list_objects
from bss.stages.raw_root import raw_root

BUILT_IN = "digits"


def find_data(config: Config, repository: str, revision: str, path: str) -> DataVersion:
    """Return the data version of a run; without a repository, `prepare.root` on S3, else the data of `generate`.

    Raises `BssError` if it is unavailable.
    """
    if repository:
        if not path.strip("/"):
            raise BssError("data_path: missing. Set the folder of the data in data_repository, such as data/birds.")
        return locate(repository, revision, path.strip("/"))
    if revision or path:
        raise BssError("data_repository: missing, but data_revision or data_path is set. Set the git repository.")
    if config.prepare.root.startswith(SCHEME):
        url = config.prepare.root.rstrip("/")
        return DataVersion("", "", url, digest_listing(list_objects(url)))
    if config.generate.digits is None:
        raise BssError(
            "data_repository: missing, and params.yaml generates no built-in data. Set a git repository with "
            "data under DVC, its data_revision and data_path, or prepare.root=s3://bucket/prefix."
        )
    return DataVersion("", "", BUILT_IN, digest_json(config_to_tree(config.generate.digits)))


def data_tags(version: DataVersion, revision: str) -> dict[str, str]:
    """Return MLflow tags with the data version of a run; `revision` is as given by the user."""
    tags = {
        "bss.data_repository": redact(version.repository),
        "bss.data_revision": revision,
        "bss.data_commit": version.commit,
        "bss.data_path": version.path,
        "bss.data_digest": version.digest,
    }
    return {name: value for name, value in tags.items() if value}


@contextmanager
def raw_data(config: Config, repository: str, revision: str, path: str, digest: str) -> Iterator[Path]:
    """Yield a temporary folder with the raw data, named like the data.

    Raises `BssError` if it does not match `digest`: since the run started, a branch or tag has moved, or objects on S3
    have been written or deleted.
    """
    if not repository and config.prepare.root.startswith(SCHEME):
        with raw_root(config.prepare, digest) as folder:
            yield folder
        return
    version = find_data(config, repository, revision, path)
    if version.digest != digest:
        raise BssError(
            f"{redact(repository)} at {revision or 'its default branch'}, {path}: now holds other data "
            f"({version.digest[:12]}) than when this run started ({digest[:12]}). Run it again, with a commit as "
            "data_revision to avoid this."
        )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / Path(version.path).name
        if version.repository:
            fetch(version, folder)
        else:
            from bss.data.builtin.digits import write_digits

            assert config.generate.digits is not None
            write_digits(config.generate.digits, folder)
        yield folder
