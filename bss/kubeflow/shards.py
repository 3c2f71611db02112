"""The shards of data preparation in a run."""

from typing import Any

from bss.kubeflow.lists import require_short


def shards_of(parameters: str, digest: str, count: int) -> list[dict[str, Any]]:
    """Return `count` shards of the data of `digest`, to be prepared with `parameters`.

    Raises `BssError` if the list would be longer than a Kubeflow value may be.
    """
    shards = [{"parameters": parameters, "digest": digest, "shard": i, "shards": count} for i in range(count)]
    what = f"prepare_shards: with the parameters of {count} shards their list"
    require_short(shards, what, "Set fewer in cluster.yaml.")
    return shards
