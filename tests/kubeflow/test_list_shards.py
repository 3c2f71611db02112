"""The list of shards, each with all that decides it."""

import pytest

from bss.errors import BssError
from bss.kubeflow.shards import shards_of


def test_every_shard_has_its_number_the_parameters_and_the_digest_of_the_data():
    assert shards_of('{"protocol": "honest"}', "abc", 2) == [
        {"parameters": '{"protocol": "honest"}', "digest": "abc", "shard": 0, "shards": 2},
        {"parameters": '{"protocol": "honest"}', "digest": "abc", "shard": 1, "shards": 2},
    ]


def test_more_shards_than_a_value_of_kubeflow_can_hold_are_refused():
    assert len(shards_of("x" * 1000, "abc", 50)) == 50
    with pytest.raises(BssError, match=r"prepare_shards: with the parameters of 60 shards .*Kubeflow allows 60000"):
        shards_of("x" * 1000, "abc", 60)
