"""Out-of-fold predictions: each sample by networks that trained on none of its fold, kept on disk per network."""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax

from bss.audit.folds import Ints
from bss.config import Config, config_to_tree
from bss.data.store import Store
from bss.deciding import DECIDING, code_digest, pick
from bss.errors import BssError
from bss.files import digest_json, read_json, whole_folder, write_json
from bss.launch.workers import emit
from bss.models.pretrained import digest_weights
from bss.training.initial_network import initial_network
from bss.training.keep_freed_memory import keep_freed_memory
from bss.training.nondeterminism import nondeterminism_named
from bss.training.predicting import predict
from bss.training.reproducible import device_type, make_reproducible, resolve_device
from bss.training.samples.split_data import SplitData
from bss.training.uniform import train_uniformly

KEY = "key.json"
"""File of a network's predictions that says what decided them."""
PREDICTION = "network-prediction"
"""Name of what the whole network predicts, kept beside its heads' logits for comparisons; no modality can have it."""
Logits = dict[str, npt.NDArray[np.float32]]
"""Logits by modality, [n, classes]."""


@dataclass(frozen=True)
class Part:
    """One network of the audit: what it trains on, what it predicts, and where that goes."""

    seed: int
    fold: int
    trains: Ints
    """Rows of the store, in its order."""
    predicts: Ints
    """The same."""
    folder: Path
    key: str

    @property
    def finished(self) -> bool:
        """Whether its predictions are on disk, made by the same code, parameters and data."""
        try:
            return bool(read_json(self.folder / KEY, "audit", {"key": str})["key"] == self.key)
        except BssError:
            return False


def make_part(config: Config, store: Store, seed: int, fold: int, trains: Ints, predicts: Ints, folder: Path) -> Part:
    """Return one network of the audit, whose predictions go below `folder`; its key is computed here."""
    tree = pick(config_to_tree(config), DECIDING["audit"].parameters)
    decides = {
        "parameters": {**tree, "audit": {"epochs": config.audit.epochs}},
        "seed": seed,
        "trains": trains.tolist(),
        "predicts": predicts.tolist(),
        "store": store.digest,
        "code": code_digest("audit", used=()),
        "device": device_type(config),
        "weights": digest_weights(config.network),
    }
    return Part(seed, fold, trains, predicts, folder / f"seed={seed}" / f"fold={fold}", digest_json(decides))


def predict_part(config: Config, store: Path, part: Part) -> float:
    """Train one network in a worker process and write its predictions; return the heads' mean accuracy on them."""
    make_reproducible(config.resources.deterministic)
    keep_freed_memory()
    data, device = Store.open(store), resolve_device(config.resources.device)
    with nondeterminism_named(config, data):
        network = initial_network(config, data, part.seed, device)
        train = SplitData(data, "train", network, device, rows=part.trains)
        count = config.audit.epochs
        train_uniformly(config, network, train, part.seed, count, lambda epoch: emit(part.seed, part.fold, epoch))
        whole, heads = predict(network, SplitData(data, "val", network, device, rows=part.predicts))
    if not all(np.isfinite(logits).all() for logits in heads.values()):
        raise BssError(
            f"audit: seed {part.seed}, fold {part.fold}: the predictions are not finite. "
            "Lower train.optimiser.learning_rate."
        )
    part.folder.parent.mkdir(parents=True, exist_ok=True)
    with whole_folder(part.folder) as folder:
        for name, logits in {**heads, PREDICTION: whole}.items():
            np.save(folder / f"{name}.npy", logits)
        write_json(folder / KEY, {"key": part.key})
    labels = data.labels[part.predicts]
    return float(np.mean([(logits.argmax(axis=1) == labels).mean() for logits in heads.values()]))


def remove_others(folder: Path, parts: Iterable[Part]) -> None:
    """Remove the predictions below `folder` of networks that are not among `parts`."""
    keep = {part.folder for part in parts}
    for path in folder.glob("*/*"):
        if path not in keep:
            shutil.rmtree(path)
    for path in folder.glob("*"):
        if not any(path.iterdir()):
            path.rmdir()


def average(parts: Sequence[Part], modalities: Sequence[str], rows: Ints, classes: int) -> Logits:
    """Return the mean log-probabilities of `rows` over the networks that predicted them; NaN if none did."""
    position = {row: i for i, row in enumerate(rows.tolist())}
    wheres = [np.array([position[row] for row in part.predicts.tolist()], dtype=np.int64) for part in parts]
    count = np.zeros(len(rows))
    for where in wheres:
        count[where] += 1
    found: Logits = {}
    for name in modalities:
        total = np.zeros((len(rows), classes))
        for part, where in zip(parts, wheres, strict=True):
            total[where] += log_softmax(
                np.load(part.folder / f"{name}.npy", allow_pickle=False).astype(np.float64), axis=1
            )
        with np.errstate(invalid="ignore"):
            found[name] = (total / count[:, None]).astype(np.float32)
    return found
