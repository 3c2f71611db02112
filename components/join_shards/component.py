"""Join the shards of stage 1, as a Kubeflow component."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import Dataset, Input, Markdown, Output

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def join_shards(
    parameters: str,
    data_digest: str,
    parts: Input[list[Dataset]],
    store: Output[Dataset],
    summary: Output[Markdown],
) -> NamedTuple("Prepared", [("digest", str)]):
    """Join the shards from the step prepare to the same store that a single step would prepare.

    Args:
        parameters: The parameters that decide preparation, from the step start.
        data_digest: Digest of the data, from the step start: changed data is never taken from the cache.
        parts: The decoded samples of each shard.
        store: Every sample, decoded once.
        summary: Samples per class and split.

    Returns:
        Digest of the store.
    """
    from pathlib import Path

    from bss.data.store import Store
    from bss.kubeflow.messages import plain_errors
    from bss.kubeflow.parameters import config_from_part
    from bss.kubeflow.summaries import store_summary
    from bss.stages.join_shards import join_shards as join_stage

    with plain_errors():
        folder = Path(store.path)
        join_stage(config_from_part(parameters), data_digest, [Path(part.path) for part in parts], folder)
        Path(summary.path).write_text(store_summary(folder), encoding="utf-8")
        digest = Store.open(folder).digest
    store.metadata.update(digest=digest, data_digest=data_digest)
    return (digest,)
