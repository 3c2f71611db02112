"""Buckets of an object store that last as long as a test."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3


@contextmanager
def temporary_bucket(name: str) -> Iterator[Any]:
    """Give a boto3 client of the environment's store, which has the empty bucket `name` until the block ends."""
    client = boto3.Session().client("s3", region_name="us-east-1")
    client.create_bucket(Bucket=name)
    yield client
    for key in keys(client, name):
        client.delete_object(Bucket=name, Key=key)
    client.delete_bucket(Bucket=name)


def keys(client: Any, bucket: str) -> list[str]:
    """Return the keys in `bucket`."""
    return [found["Key"] for found in client.list_objects_v2(Bucket=bucket).get("Contents", [])]
