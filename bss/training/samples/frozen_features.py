"""Features of frozen encoders: computed once for a whole store, and kept in a folder beside it."""

import os
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from bss.config import Config, config_to_tree
from bss.config.own_encoders import HuggingfaceConfig
from bss.console import make_console
from bss.data.store import Store
from bss.deciding import code_digest
from bss.errors import BssError
from bss.files import digest_json
from bss.models.huggingface.agreement import check_agreement
from bss.models.huggingface.files import digest_model
from bss.training.initial_network import initial_network
from bss.training.reproducible import describe_device, make_reproducible, resolve_device
from bss.training.samples.read_raw import read_raw

CHUNK = 64
"""Samples encoded in one call."""

DECIDES = ("pooling", "normalisation", "crop")
"""Keys of an encoder that decide the features of its frozen model, besides the model's files."""

Features = dict[str, npt.NDArray[np.float32]]
"""Features by modality, [samples of the store, width], in the store's order."""


def cacheable(config: Config) -> list[str]:
    """Return the modalities whose encoder is frozen and sees the same inputs in every epoch."""
    return [
        name
        for name, encoder in config.network.encoders.items()
        if isinstance(encoder, HuggingfaceConfig)
        and encoder.frozen
        and not (encoder.crop is not None and encoder.crop.augments)
    ]


def why_not_kept(config: Config) -> list[str]:
    """Return a sentence about each encoder whose features `write_features` does not keep, or one about all of them."""
    kept, reasons = cacheable(config), list[str]()
    for name, encoder in config.network.encoders.items():
        if isinstance(encoder, HuggingfaceConfig) and name not in kept:
            changes = "its crop augments" if encoder.frozen else f"trainable is {encoder.trainable}"
            reasons.append(f"those of {name} are not kept, because {changes}: they change while it trains")
    return reasons if kept or reasons else ["no encoder is of kind huggingface with trainable: none, so none are kept"]


def features_file(config: Config, store: Store, name: str) -> Path:
    """Return where the features of modality `name` are kept: its name is a digest of all that decides their bits."""
    encoder = config.network.encoders[name]
    assert isinstance(encoder, HuggingfaceConfig)
    tree = config_to_tree(encoder)
    decides = {
        "store": store.digest,
        "files": digest_model(encoder, name)[f"weights_{name}"],
        "encoder": {key: tree[key] for key in DECIDES},
        "code": code_digest("features", used=()),
        "device": describe_device(resolve_device(config.resources.device)),
        "versions": {package: version(package) for package in ("numpy", "torch", "transformers")},
    }
    return store.path.with_name(f"{store.path.name}-features") / f"{name}-{digest_json(decides)[:32]}.npy"


def open_features(config: Config, store: Store) -> Features:
    """Return the kept features, memory-mapped; modalities without a readable file are left out."""
    found: Features = {}
    for name in cacheable(config):
        try:
            array = np.load(features_file(config, store, name), mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError):
            continue
        if array.ndim == 2 and len(array) == len(store) and array.dtype == np.float32:
            found[name] = array
    return found


def write_features(config: Config, path: Path) -> None:
    """Check the pretrained models of `config` against prepare, and keep the features that are not yet kept.

    Trials read them; without the files they compute the same numbers themselves. A folder that cannot be written
    is no error for that reason. Raises `BssError` for a model that cannot be used, and for features that are not
    finite.
    """
    check_agreement(config)
    if not cacheable(config):
        return
    store = Store.open(path)
    missing = [name for name in cacheable(config) if name not in open_features(config, store)]
    if not missing:
        return
    console = make_console()
    make_reproducible(config.resources.deterministic)
    device = resolve_device(config.resources.device)
    network = initial_network(config, store, config.seeds[0], device)
    for name in missing:
        file = features_file(config, store, name)
        console.print(f"features: {len(store)} samples of {name}, kept in {file.parent}", highlight=False)
        chunks = []
        for first in range(0, len(store), CHUNK):
            rows = np.arange(first, min(first + CHUNK, len(store)))
            with torch.no_grad():
                chunk = network.transform_one(name, read_raw(store, name, rows, device)).cpu().numpy()
            if not np.isfinite(chunk).all():
                bad = store.ids[rows[~np.isfinite(chunk).all(axis=1)][0]]
                raise BssError(f"params.yaml: network.encoders.{name}: the features of {bad!r} are not finite numbers.")
            chunks.append(chunk)
        try:
            _save(file, np.concatenate(chunks))
        except PermissionError as error:
            console.print(f"features: {file.parent}: not kept ({error.strerror}); trials compute them themselves.")


def _save(file: Path, features: npt.NDArray[np.float32]) -> None:
    """Write the file atomically; several processes may do so at once."""
    file.parent.mkdir(exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, suffix=".unfinished")
    try:
        with os.fdopen(handle, "wb") as opened:
            np.save(opened, features)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
