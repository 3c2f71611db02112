"""params.yaml for a published dataset, with every value written out."""

from pathlib import Path
from typing import Any

from bss.config import config_from_tree, config_to_tree
from bss.config.schema import Links
from bss.datasets.dataset import Dataset
from bss.datasets.find import dataset_parameters, find_dataset
from bss.errors import BssError
from bss.init.yaml_style import block_style

ORDER = (
    *("seeds", "protocol", "generate", "prepare", "network", "measure", "audit", "schedule", "train"),
    *("strategies", "combinations", "evaluation", "compare", "tracking", "resources"),
)
"""Order of the sections: as the pipeline runs."""


def dataset_text(
    name: str,
    protocol: str,
    root: str,
    files: Path | None = None,
    method: str | None = None,
    links: Links = "inside",
) -> str:
    """Return params.yaml for the dataset `name` in the folder `root`; raise `BssError` for an unknown name.

    `files` is the path of that folder from the working directory, if it exists; `method` as in `dataset_parameters`.
    """
    dataset = find_dataset(name, "--dataset")
    tree = full_parameters(name, protocol, root, files, method, links)
    return "\n".join([_header(dataset, protocol, method), *(block_style({key: value}) for key, value in tree.items())])


def full_parameters(
    name: str,
    protocol: str,
    root: str,
    files: Path | None = None,
    method: str | None = None,
    links: Links = "inside",
) -> dict[str, Any]:
    """Return all parameters of the dataset, including defaults, as plain values in schema order."""
    tree = dataset_parameters(name, protocol, method, "--dataset")
    suggest = find_dataset(name, "--dataset").suggest
    if suggest is not None:
        if files is None:
            raise BssError(
                f"{name}: its modalities depend on its files. Run `bss init --dataset {name} --root DIR` to write them."
            )
        modalities, encoders = suggest(files)
        tree["prepare"] = tree["prepare"] | {"modalities": modalities}
        tree["network"] = tree["network"] | {"encoders": encoders}
    tree["prepare"] = {"root": root, **tree["prepare"], "links": links}
    full: dict[str, Any] = config_to_tree(config_from_tree(tree, f"the preset {name}"))
    full["generate"] = {}  # params.yaml's form of "generate nothing"
    return {key: full[key] for key in ORDER}


def _header(dataset: Dataset, protocol: str, method: str | None) -> str:
    settings = protocol if method is None else f"{protocol}, settings of {method}"
    lines = [
        f"{dataset.title} in protocol {settings}: `bss presets {dataset.name}` prints these values, and",
        "docs/datasets.md gives their sources. `dvc repro` reruns only the stages affected by a change.",
        *dataset.notes,
    ]
    if protocol == "published" and dataset.differs:
        lines += ["What the authors' scripts do differently:", *dataset.differs]
    return "".join(f"# {line}\n" for line in lines)
