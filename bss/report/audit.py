"""The score as a data audit: the least balanced training samples."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bss.artifacts.scores import measurement_titles, read_scores, scores_path
from bss.config import Config
from bss.data.store import Store
from bss.data.tables import open_table
from bss.errors import BssError
from bss.inspect.pictures import picture
from bss.report.results import Result
from bss.report.sounds import sound_url

WORST = 20
"""Number of samples to list."""
PICTURE = " stored"
"""Suffix of a key whose value is a picture."""
SOUND = " sound"
"""Suffix of a key whose value is a sound."""
CONTRIBUTES = " contributes"
"""Suffix of a key whose value is a modality's contribution."""


def worst_samples(
    config: Config, store: Store, scores: Path, contributions: dict[str, npt.NDArray[np.float64]]
) -> list[dict[str, str]]:
    """Return the samples with the lowest score after the warm-up (if any), averaged over seeds, lowest first.

    Each has id, label, each modality head's class (by majority over the seeds), its value in `contributions` [n] (by
    modality, empty: none), pictures and sounds of the stored sample (``data:`` URLs), and files or texts.
    Raises `BssError` if a seed's scores are missing or do not match the store's samples.
    """
    paths = [scores_path(scores, seed, "warm-up") for seed in config.seeds]
    mean = np.mean([read_scores(path, store) for path in paths], axis=0)
    predictions = tuple(f"predicted_{name}" for name in store.modalities)
    tables = [open_table(path, "measure", predictions) for path in paths]
    seen = {name: [table.whole_numbers(f"predicted_{name}") for table in tables] for name in store.modalities}
    for table, column in ((t, c) for name in store.modalities for t, c in zip(tables, seen[name], strict=True)):
        if column.min() < 0 or column.max() >= len(store.classes):
            raise table.damaged(f"a prediction is not one of the {len(store.classes)} classes")
    sources = open_table(store.path / "samples.parquet", "prepare", tuple(store.modalities))
    files = {name: sources.texts(name) for name in store.modalities}
    rows = store.rows("train")
    listed = []
    for position in np.argsort(mean, kind="stable")[:WORST]:
        row = int(rows[position])
        sample = {
            "id": store.ids[row],
            "label": store.classes[store.labels[row]],
            "score": f"{mean[position]:.3f}",
        }
        for name in store.modalities:
            votes = Counter(int(column[position]) for column in seen[name])
            sample[f"{name} says"] = store.classes[votes.most_common(1)[0][0]]
        sample |= {f"{name}{CONTRIBUTES}": f"{of[position]:.2f}" for name, of in contributions.items()}
        pictures = {name: picture(modality, store.sample(name, row)) for name, modality in store.modalities.items()}
        sample |= {f"{name}{PICTURE}": address for name, address in pictures.items() if address is not None}
        for name, modality in store.modalities.items():
            if modality.sample_rate is not None:
                sample[f"{name}{SOUND}"] = sound_url(store.sample(name, row), modality.sample_rate)
        sample |= {f"{name} file": files[name][row] for name in store.modalities}
        listed.append(sample)
    return listed


def measured_by(config: Config) -> str:
    """Return the network whose scores `worst_samples` uses."""
    return list(_titles(config))[-1]


def _titles(config: Config) -> dict[str, str]:
    return measurement_titles(config.measure.warmup_epochs, config.measure.initial_mode)


def measurements(
    config: Config, store: Store, scores: Path, results: dict[str, list[Result]]
) -> list[tuple[str, npt.NDArray[np.float64]]]:
    """Return (title, scores of the training samples) of the first seed's measurements.

    These are the ones in `measurement_titles`, and for each BSS-L the middle and the last one in training.
    """
    seed = config.seeds[0]
    found = [
        (title, read_scores(scores_path(scores, seed, timing), store)) for title, timing in _titles(config).items()
    ]
    for name, trials in results.items():
        path = trials[0].folder / "measurements.parquet"
        if path.exists():
            epochs, columns = _read_measurements(path, store.rows("train"))
            # A learned scheduler starts from the scores after the warm-up: its first measurement is those.
            for k in sorted({len(epochs) // 2, len(epochs) - 1} - {0}):
                found.append((f"{name}, epoch {epochs[k] + 1}", columns[k]))
    return found


def _read_measurements(path: Path, rows: npt.NDArray[np.int64]) -> tuple[list[int], npt.NDArray[np.float64]]:
    """Return the measured epochs [k] and their scores [k, n] of the training samples `rows` [n]."""
    table = open_table(path, "train", ("epoch", "index", "score"))
    n = len(rows)
    indices = table.whole_numbers("index")
    whole = len(table) % n == 0 and np.array_equal(indices, np.tile(rows, len(table) // n))
    if not whole:
        raise BssError(
            f"{path}: its {len(table)} rows do not have each of the store's {n} training samples once per measurement. "
            f"`bss train` keeps finished trials, so remove {path.parent}, then rerun it."
        )
    return table.whole_numbers("epoch")[::n].tolist(), table.numbers("score").reshape(-1, n)


def kinds_of(store: Store) -> npt.NDArray[Any] | None:
    """Return the ground truth of each training pair, [n] texts, or None without ground truth."""
    truth = store.truth()
    if truth is None:
        return None
    return np.array([truth[name] for name in store.ids[store.rows("train")].tolist()])
