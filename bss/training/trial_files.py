"""The files of a finished trial."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bss.artifacts.repairs import REPAIRS, write_repairs
from bss.config.schema import Config
from bss.data.decode.learned_tokenizer import copy_tokenizers
from bss.data.store import Store
from bss.data.tables import write_table
from bss.files import write_csv, write_json
from bss.models.network import MultiModalNetwork
from bss.training.distributed.ranks import Ranks
from bss.training.predicting import predict
from bss.training.resume.state import Records
from bss.training.samples.split_data import SplitData


def predictions_table(network: MultiModalNetwork, store: Store, test: SplitData, ranks: Ranks) -> dict[str, Any]:
    """Return predictions.parquet: the test samples, their labels, and what the network takes them for."""
    logits, heads = predict(network, test, ranks)
    columns = {"index": test.rows, "id": store.ids[test.rows].tolist(), "label": store.labels[test.rows]}
    columns["predicted"] = logits.argmax(axis=1)
    return columns | {f"predicted_{m}": z.argmax(axis=1) for m, z in heads.items()}


def write_trial(
    config: Config,
    network: MultiModalNetwork,
    store: Store,
    train_rows: npt.NDArray[np.int64],
    description: dict[str, Any],
    metrics: dict[str, Any],
    records: Records,
    tables: dict[str, dict[str, Any]],
    folder: Path,
) -> None:
    """Write the results of a trial into `folder`; `tables` by the names of their Parquet files."""
    write_csv(folder / "history.csv", records.history)
    write_json(folder / "metrics.json", metrics)
    write_json(folder / "network.json", description)
    copy_tokenizers(store.path, store.modalities, folder)
    with (folder / "model.pt").open("wb") as file:  # given a path, torch reports a full disk unintelligibly
        torch.save(network.state_dict(), file)
    left = config.tracking.sequences_mib << 20
    kept: list[npt.NDArray[np.int32] | None] = []
    for sequence in records.sequences:
        left -= 4 * len(sequence)
        kept.append(train_rows[sequence].astype(np.int32) if left >= 0 else None)
    digests = [row["schedule/digest"] for row in records.history]
    columns = {"epoch": np.arange(len(kept)), "digest": digests, "sequence": kept}
    write_table(folder / "sequences.parquet", columns)
    if records.measurements:
        epochs, scores, smoothed = zip(*records.measurements, strict=True)
        columns = {
            "epoch": np.repeat(epochs, len(train_rows)),
            "index": np.tile(train_rows, len(epochs)),
            "score": np.concatenate(scores),
            "smoothed": np.concatenate(smoothed),
        }
        write_table(folder / "measurements.parquet", columns)
    if records.hidden:
        write_repairs(folder / REPAIRS, records.hidden, train_rows, list(network.heads))
    for name, table in tables.items():
        write_table(folder / f"{name}.parquet", table)
