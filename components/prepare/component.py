"""Stage 1 as a Kubeflow component."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import Dataset, Markdown, Output

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def prepare(
    parameters: str,
    data_repository: str,
    data_revision: str,
    data_path: str,
    data_digest: str,
    shard: int,
    shards: int,
    store: Output[Dataset],
    summary: Output[Markdown],
) -> NamedTuple("Prepared", [("digest", str)]):
    """Fetch the data, check its manifest and decode every sample once, or only those of one shard.

    Args:
        parameters: The parameters that decide this step, from the step start.
        data_repository: URL of a git repository with data under DVC; empty for prepare.root on S3 or built-in data.
        data_revision: Branch, tag or commit; empty for the default branch.
        data_path: Folder in the repository.
        data_digest: Digest of the data, from the step start: changed data is never taken from the cache.
        shard: The shard, from 0.
        shards: Number of shards; with 1, the shard holds every sample.
        store: The samples, decoded once; with several shards, the input of the step join_shards.
        summary: Samples per class and split.

    Returns:
        Digest of the store.
    """
    from pathlib import Path

    from bss.data.shards import Shard
    from bss.data.store import Store
    from bss.kubeflow.data import raw_data
    from bss.kubeflow.environment import secret_environment
    from bss.kubeflow.messages import plain_errors
    from bss.kubeflow.parameters import config_from_part
    from bss.kubeflow.summaries import store_summary
    from bss.stages.prepare import prepare as prepare_stage

    with plain_errors(), secret_environment():
        config, folder = config_from_part(parameters), Path(store.path)
        with raw_data(config, data_repository, data_revision, data_path, data_digest) as root:
            prepare_stage(config, root, folder, Shard(shard, shards, data_digest) if shards > 1 else None)
        Path(summary.path).write_text(store_summary(folder), encoding="utf-8")
        digest = Store.open(folder).digest
    store.metadata.update(digest=digest, data_digest=data_digest)
    return (digest,)
