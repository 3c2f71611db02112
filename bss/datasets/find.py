"""Finding datasets by name."""

import difflib
import functools
import importlib
import pkgutil

import bss.datasets
from bss.datasets.dataset import Dataset, Tree
from bss.datasets.preset import with_protocol
from bss.errors import BssError


@functools.cache
def all_datasets() -> dict[str, Dataset]:
    """Return every dataset by its name, in alphabetical order: the files in this folder that hold a `DATASET`."""
    modules = (importlib.import_module(f"bss.datasets.{m.name}") for m in pkgutil.iter_modules(bss.datasets.__path__))
    found = [module.DATASET for module in modules if hasattr(module, "DATASET")]
    return {dataset.name: dataset for dataset in sorted(found, key=lambda dataset: dataset.name)}


def find_dataset(name: str, key: str) -> Dataset:
    """Return the dataset `name`; `key` says in a message which parameter or argument holds the name."""
    known = all_datasets()
    if not isinstance(name, str) or name not in known:
        close = difflib.get_close_matches(str(name), known, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise BssError(f"{key} must be one of {', '.join(known)}, but got: {name!r}{hint}")
    return known[name]


def dataset_parameters(name: str, protocol: str, key: str = "dataset") -> Tree:
    """Return the parameters that ``dataset: name`` stands for, but for prepare.root."""
    dataset = find_dataset(name, key)
    tree = with_protocol(dataset.preset, protocol)
    if protocol == "published":
        for scheduler, keys in dataset.scripts.items():
            tree["schedule"]["schedulers"][scheduler] |= keys
    return tree | {"protocol": protocol, "prepare": {"source": name, "manifest": "manifest.csv", **tree["prepare"]}}
