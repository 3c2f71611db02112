"""Finding datasets by name."""

import difflib
import functools

import bss.datasets
from bss.datasets.dataset import Dataset, Tree
from bss.datasets.preset import SCHEDULERS, with_protocol
from bss.discover import discover
from bss.errors import BssError


@functools.cache
def all_datasets() -> dict[str, Dataset]:
    """Return all datasets by name, in alphabetical order: the files in this folder that define a `DATASET`."""
    found = discover(bss.datasets, "DATASET").values()
    return {dataset.name: dataset for dataset in sorted(found, key=lambda dataset: dataset.name)}


def find_dataset(name: str, key: str) -> Dataset:
    """Return the dataset `name`; messages name the parameter or argument `key`."""
    known = all_datasets()
    if not isinstance(name, str) or name not in known:
        close = difflib.get_close_matches(str(name), known, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise BssError(f"{key} must be one of {', '.join(known)}, but got: {name!r}{hint}")
    return known[name]


def dataset_parameters(name: str, protocol: str, method: str | None = None, key: str = "dataset") -> Tree:
    """Return the parameters that ``dataset: name`` expands to, except prepare.root.

    `method` (bss-h or bss-l, in protocol published) uses the settings of its script, with its schedulers and the
    baseline; None uses all schedulers, and batch size and epochs of the script for BSS-H. Messages name
    `key`. Raises `BssError` for an unknown name or method.
    """
    dataset = find_dataset(name, key)
    if method is None:
        tree = with_protocol(dataset.preset, protocol, dataset.published, None)
    elif not isinstance(method, str) or method not in SCHEDULERS:
        raise BssError(f"{key}: the method must be one of {', '.join(SCHEDULERS)}, but got: {method!r}")
    elif protocol != "published":
        raise BssError(f"{key}: method {method} needs protocol published; honest trains all with the same settings.")
    else:
        tree = with_protocol(dataset.preset, protocol, dataset.published, dataset.methods.get(method, {}))
        kept = {scheduler: tree["schedule"]["schedulers"][scheduler] for scheduler in SCHEDULERS[method]}
        tree = tree | {"schedule": {"schedulers": kept}}
    return tree | {"protocol": protocol, "prepare": {"source": name, "manifest": "manifest.csv", **tree["prepare"]}}
