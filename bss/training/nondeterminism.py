"""Turn torch's error about a nondeterministic GPU operation into a message that names what to change."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from bss.config import Config
from bss.data.store import Store
from bss.errors import BssError
from bss.gpus import DETERMINISTIC_WORKSPACES, WORKSPACE
from bss.models.deterministic_ops import part_that_raises
from bss.models.network import build_network, describe_network
from bss.training.reproducible import resolve_device

OPERATION = re.compile(r"(\S+)[^\n]* does not have a deterministic implementation")


@contextmanager
def nondeterminism_named(config: Config, store: Store) -> Iterator[None]:
    """Raise `BssError` for an operation in the block that torch rejects, naming its part of the network."""
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        if WORKSPACE in text:
            raise BssError(
                f"{WORKSPACE}={os.environ.get(WORKSPACE)} makes multiplications on a GPU "
                f"nondeterministic. Unset it, or set it to {' or '.join(DETERMINISTIC_WORKSPACES)}."
            ) from error
        found = OPERATION.search(text)
        if found is None:
            raise
        part = _part(config, store, found[0])
        kind = "fusion" if part == "network.fusion" else "encoder"
        other = "S" if part is None else f"Take another kind of {kind}, or s"
        raise BssError(
            f"params.yaml: {part or 'network'}: {found[1]} has no deterministic implementation on a GPU in torch "
            f"{torch.__version__}. {other}et resources.deterministic to warn: two runs may then differ."
        ) from error


def _part(config: Config, store: Store, text: str) -> str | None:
    """Return the key of the part that raises `text`, found with a separate network; None if not found."""
    device = resolve_device(config.resources.device)
    try:
        network = build_network(describe_network(config.network, store), device=device)
        return part_that_raises(network, store.modalities, device, text)
    except torch.OutOfMemoryError:  # the failed training still holds its memory
        return None
