"""The shards of stage 1 as a Kubeflow component."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def list_shards(parameters: str, data_digest: str, shards: int) -> list:
    """List the shards for data preparation, if cluster.yaml's prepare_shards is greater than 1.

    Args:
        parameters: The parameters that decide preparation, from the step start.
        data_digest: Digest of the data, from the step start.
        shards: Number of shards.

    Returns:
        One item per shard: its number, the number of shards, the parameters and the digest of the data.
    """
    from bss.kubeflow.messages import plain_errors
    from bss.kubeflow.shards import shards_of

    with plain_errors():
        return shards_of(parameters, data_digest, shards)
