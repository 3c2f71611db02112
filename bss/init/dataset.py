"""params.yaml for a published dataset, with every value written out."""

from pathlib import Path
from typing import Any

from bss.config import config_from_tree, config_to_tree
from bss.config.schema import Links
from bss.datasets.dataset import Dataset
from bss.datasets.find import dataset_parameters, find_dataset
from bss.datasets.paper_table import table_notes, table_parameters
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
    table: bool = False,
) -> str:
    """Return params.yaml for the dataset `name` in the folder `root`; raise `BssError` for an unknown name.

    `files` is the path of that folder from the working directory, if it exists; `method` as in `dataset_parameters`.
    `table` adds the strategies that the paper compares with, with notes on them.
    """
    dataset = find_dataset(name, "--dataset")
    if table:
        tree, notes = table_parameters(name, protocol), table_notes(name, protocol)
    else:
        tree, notes = _parameters(dataset, protocol, files, method), []
    tree["prepare"] = {"root": root, **tree["prepare"], "links": links}
    full: dict[str, Any] = config_to_tree(config_from_tree(tree, f"the preset {name}"))
    full["generate"] = {}  # params.yaml's form of "generate nothing"
    header = "".join(f"# {line}\n" for line in [*_header(dataset, protocol, method, table), *notes])
    return "\n".join([header, *(block_style({key: full[key]}) for key in ORDER)])


def _parameters(dataset: Dataset, protocol: str, files: Path | None, method: str | None) -> dict[str, Any]:
    tree = dataset_parameters(dataset.name, protocol, method, "--dataset")
    if dataset.suggest is not None:
        if files is None:
            raise BssError(
                f"{dataset.name}: its modalities depend on its files. "
                f"Run `bss init --dataset {dataset.name} --root DIR` to write them."
            )
        modalities, encoders = dataset.suggest(files)
        tree["prepare"] = tree["prepare"] | {"modalities": modalities}
        tree["network"] = tree["network"] | {"encoders": encoders}
    return tree


def _header(dataset: Dataset, protocol: str, method: str | None, table: bool) -> list[str]:
    settings = protocol if method is None else f"{protocol}, settings of {method}"
    command = f"bss presets {dataset.name} --protocol {protocol}"
    command += ("" if method is None else f" --method {method}") + (" --table" if table else "")
    lines = [
        f"{dataset.title} in protocol {settings}. `{command}` prints these values;",
        "docs/datasets.md gives their sources. `dvc repro` reruns only the stages affected by a change.",
        *dataset.notes,
    ]
    if protocol == "published" and dataset.differs:
        lines += ["What the authors' scripts do differently:", *dataset.differs]
    return lines
