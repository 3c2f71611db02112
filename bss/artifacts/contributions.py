"""Contributions of the modalities to each training sample, by one trained network: path and reader."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from bss.data.store import Store
from bss.data.tables import open_table
from bss.errors import BssError

FILE = "contributions.parquet"


def read_contributions(trial: Path, store: Store) -> dict[str, npt.NDArray[np.float64]] | None:
    """Return each modality's contribution to the training samples of `store`, float64 [n], by modality.

    None if the folder `trial` has none. Raises `BssError` if the file is damaged or about other samples.
    """
    path = trial / FILE
    if not path.is_file():
        return None
    columns = {name: f"contribution_{name}" for name in store.modalities}
    table = open_table(path, "train", ("index", *columns.values()))
    rows = store.rows("train")
    if not np.array_equal(table.whole_numbers("index"), rows):
        raise BssError(
            f"{path}: its {len(table)} samples are not the {len(rows)} training samples of {store.path}. `bss train` "
            f"keeps finished trials, so remove {trial}, then rerun it."
        )
    return {name: table.numbers(column) for name, column in columns.items()}
