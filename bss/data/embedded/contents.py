"""Which files lie inside the manifest's tables and shards, and how to read each one."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

from bss.data.decode.bad_sample import BadSampleError

PATH_ONLY = (
    "holds no bytes, only the path {path!r}: write the dataset with its files embedded (Hugging Face datasets: "
    "embed_external_files=True)"
)

EMPTY = "is empty, 0 bytes"


class Source(Protocol):
    """Files inside one file, by position. Thread-safe."""

    def read(self, position: int) -> bytes:
        """Return the bytes at `position`: a row of a table, a member of a shard."""


@dataclass(frozen=True, slots=True)
class Member:
    """One file inside another."""

    source: Source
    position: int
    name: str
    """The file's own name, such as the path in a Hugging Face struct; empty if it has none."""
    digest: bytes | None
    """sha256 of its bytes; None if there are none."""


@dataclass
class Contents:
    """All files inside the manifest's files.

    Each has an address that the manifest's rows hold in place of a path, such as ``train.parquet::12/image`` or
    ``000.tar::0012.image.png``.
    """

    members: dict[str, Member] = field(default_factory=dict)
    containers: dict[str, None] = field(default_factory=dict)
    """Names of the files they are in, relative to the data root, in order."""

    def __contains__(self, address: str) -> bool:
        return address in self.members

    def add(self, container: str, inner: str, member: Member) -> str:
        """Record a file at `inner` in `container` and return its address."""
        address = f"{container}::{inner}"
        self.members[address] = member
        self.containers[container] = None
        return address

    def read(self, address: str) -> bytes:
        """Return the bytes of a file; raise `BadSampleError` if there are none."""
        member = self.members[address]
        if member.digest is None:
            raise BadSampleError(PATH_ONLY.format(path=member.name[:100]) if member.name else EMPTY)
        return member.source.read(member.position)

    def recorded_name(self, value: str) -> str:
        """Return the name under which the store lists a file: its own if it has one, else its address.

        A value that is not an address is returned as it is.
        """
        member = self.members.get(value)
        return value if member is None or not member.name else member.name

    def same(self, values: Iterable[str]) -> dict[str, str]:
        """Map each address among `values` to the least address with the same bytes; those without bytes are alone."""
        known = sorted({value for value in values if value in self.members})
        first: dict[bytes, str] = {}
        keys = {}
        for address in known:
            digest = self.members[address].digest
            keys[address] = address if digest is None else first.setdefault(digest, address)
        return keys


def digests(read: Callable[[int], bytes], positions: Sequence[int], pool: ThreadPoolExecutor) -> list[bytes]:
    """Return the sha256 of the bytes at each of `positions`."""
    return list(pool.map(lambda position: hashlib.sha256(read(position)).digest(), positions))
