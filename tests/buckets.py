"""Buckets of an object store that last as long as a test."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest


@contextmanager
def temporary_bucket(name: str) -> Iterator[Any]:
    """Give a boto3 client of the environment's store, which has the empty bucket `name` until the block ends."""
    client = boto3.Session().client("s3", region_name="us-east-1")
    client.create_bucket(Bucket=name)
    yield client
    for key in keys(client, name):
        client.delete_object(Bucket=name, Key=key)
    client.delete_bucket(Bucket=name)


def bucket_fixture(name: str) -> Any:
    """Return a fixture: a boto3 client of the store of `aws`, with the empty bucket `name`."""

    @pytest.fixture
    def client(aws):
        with temporary_bucket(name) as client:
            yield client

    return client


def administrator(endpoint: str) -> Any:
    """Return a boto3 client of the store at `endpoint`, whatever the environment says of AWS."""
    user = {"aws_access_key_id": "x", "aws_secret_access_key": "y"}
    return boto3.Session().client("s3", endpoint_url=endpoint, region_name="us-east-1", **user)


def keys(client: Any, bucket: str) -> list[str]:
    """Return the keys in `bucket`."""
    return [found["Key"] for found in client.list_objects_v2(Bucket=bucket).get("Contents", [])]
