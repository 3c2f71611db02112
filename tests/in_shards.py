"""A store from several steps: each prepares one shard, and a last one joins them."""

from pathlib import Path
from typing import Any

from bss.data.shards import Shard
from bss.stages.join_shards import join_shards
from bss.stages.prepare import prepare

DATA = "d" * 32
"""Digest of the data, as the start step would give it."""


def in_shards(config: Any, root: Path, folder: Path, of: int, data: str = DATA) -> list[Path]:
    """Prepare each of `of` shards into a folder of its own below `folder`; return the folders."""
    parts = [folder / f"{number}-of-{of}" for number in range(of)]
    for number, part in enumerate(parts):
        prepare(config, root, part, Shard(number, of, data))
    return parts


def joined(config: Any, root: Path, folder: Path, of: int) -> Path:
    """Prepare `of` shards below `folder` and join them; return the joined store's folder."""
    join_shards(config, DATA, in_shards(config, root, folder, of), folder / "joined")
    return folder / "joined"
