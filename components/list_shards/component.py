"""The shards of stage 1 as a Kubeflow component."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def list_shards(parameters: str, data_digest: str, shards: int) -> list:
    """List the shards in which the data are prepared, where cluster.yaml's prepare_shards asks for several.

    Args:
        parameters: What decides preparing, from the step start.
        data_digest: Digest of the data, from the step start.
        shards: How many shards there are.

    Returns:
        A shard each: its number, how many there are, the parameters and the digest of the data.
    """
    from bss.kubeflow.messages import plain_errors
    from bss.kubeflow.shards import shards_of

    with plain_errors():
        return shards_of(parameters, data_digest, shards)
