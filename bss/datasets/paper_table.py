"""The table of the paper as parameters: the methods that it compares, in one params.yaml per dataset.

Guan et al., IJCAI 2025, compare with other fusions, which are other networks (network.fusion), and with the strategies
here. Their own settings are from the methods' papers and public code.
"""

import json
from dataclasses import dataclass
from typing import Any

from bss.config.load import merge
from bss.datasets.dataset import Dataset, Tree
from bss.datasets.find import all_datasets, dataset_parameters, find_dataset
from bss.errors import BssError

CONCAT = "concat"
"""The name of the strategy that is the paper's Concat."""


@dataclass(frozen=True)
class Listed:
    """A strategy of the table."""

    strategy: Tree
    """As in params.yaml, where all datasets share it."""
    settings: str
    """The training setup that its authors or a public reimplementation describe, as far as it is known."""
    reads_val: bool = False
    hides: bool = False
    """Whether samples lack a modality in it, so that it has the parameter `absent`."""


SIGNED = ("bert", "vit")
"""Encoders whose features may be negative if they are not those of a linear layer, which a rectifier follows."""


TABLE: dict[str, Listed] = {
    CONCAT: Listed({"kind": "weights", "fused": 1.0, "unimodal": 0.0}, "the fused loss alone, the paper's Concat"),
    "etmc": Listed({"kind": "etmc"}, "annealing over 10 to 50 epochs, by copy of the code; training unknown"),
    "mses": Listed(
        {"kind": "mses", "loss": "published"},
        "a reimplementation waits for 80 of 100 epochs, for the loss on test; 5 epochs and val here; optimiser unknown",
        reads_val=True,
    ),
    "g-blending": Listed(
        {"kind": "g-blending", "loss": "published"},
        "the paper weighs by unimodal probe runs; by the heads of the network here; optimiser and epochs unknown",
        reads_val=True,
    ),
    "domfn": Listed({"kind": "domfn"}, "eta and agreement are not published for these datasets, nor is the setup"),
    "ogm": Listed(
        {"kind": "ogm", "loss": "published"},
        "SGD 0.001, 100 epochs, decay at 70; alpha 0.8 on CREMA-D, 0.1 to 0.3 elsewhere",
    ),
    "mslr": Listed(
        {"kind": "mslr", "loss": "published"},
        "public reimplementations follow the accuracy on test; val here; optimiser and epochs unknown",
        reads_val=True,
    ),
    "agm": Listed(
        {"kind": "agm", "loss": "published"},
        "alpha is 1.0 by the public code's default and 2.5 in its example; optimiser and epochs unknown",
    ),
    "pmr": Listed({"kind": "pmr", "loss": "published"}, "150 epochs, acting in the first 100; optimiser unknown"),
    "reconboost": Listed(
        {"kind": "reconboost"},
        "rate / 10 every 30 stages; the public command for CREMA-D starts from pretrained unimodal encoders, here not",
    ),
    "mmpareto": Listed({"kind": "mmpareto", "loss": "published"}, "SGD 0.002, momentum 0.9, batch 64, 50 epochs"),
    "smv": Listed({"kind": "smv", "loss": "published"}, "Adam 0.00005, batch 64, 60 epochs, decay at 30", hides=True),
    "mla": Listed({"kind": "mla"}, "SGD 0.001, 100 epochs, decay at 70"),
    "amss": Listed(
        {"kind": "amss", "loss": "published"},
        "SGD 0.01, 80 epochs, decay at 60; NVGesture: 100 epochs, batch 4, other constants for three modalities",
    ),
}
"""The paper's table, by name of the strategy, in its order."""


def table_parameters(name: str, protocol: str) -> Tree:
    """Return the parameters of the dataset's preset with the paper's table as strategies and combinations.

    In protocol published, strategies that adapt on val are left out if the published splits have none, and the
    baseline is the paper's Concat. Raises `BssError` for a dataset that the paper does not have.
    """
    dataset = find_dataset(name, "--table")
    if not dataset.accuracy:
        known = ", ".join(other.name for other in all_datasets().values() if other.accuracy)
        raise BssError(f"--table: the paper's table does not have {name}; it has {known}.")
    tree = dataset_parameters(name, protocol, key="--table")
    trained = [method for method in TABLE if method in dataset.accuracy and not left_out(dataset, protocol, method)]
    schedulers = [s for s in ("uniform", "random-ranking", "bss-h", "bss-l") if s in tree["schedule"]["schedulers"]]
    more: Tree = {
        "strategies": {method: merge(TABLE[method].strategy, options_of(dataset, method)) for method in trained},
        "combinations": [*schedulers, *(f"uniform+{method}" for method in trained)],
    }
    if protocol == "published" and CONCAT in trained:
        more["compare"] = {"baseline": f"uniform+{CONCAT}"}
    return merge(tree, more)


def table_notes(name: str, protocol: str) -> list[str]:
    """Return a note per row: the paper's accuracy, and how its authors' settings differ."""
    dataset = find_dataset(name, "--table")
    lines = [
        "The paper's table: test accuracies in %, at the best test epoch. All rows train here with BSS's settings.",
        "bss-h and bss-l predict as network.prediction says, the others as their methods do: most by the fused head.",
        "The paper does not say which of the other methods' numbers are reruns with these. What is known of theirs:",
    ]
    for method in ("bss-h", "bss-l"):
        lines.append(f"  {method} {dataset.accuracy[method]:.2f}")
    for method, listed in TABLE.items():
        if method not in dataset.accuracy:
            lines.append(f"  {method}: no number for this dataset")
            continue
        own = ", ".join(f"{key}: {_as_yaml(value)}" for key, value in options_of(dataset, method).items())
        text = f"{listed.settings}; here with {own}" if own else listed.settings
        if left_out(dataset, protocol, method):
            text = "not trained in this protocol: it adapts on val, which the published splits do not have"
        lines.append(f"  uniform+{method} {dataset.accuracy[method]:.2f}: {text}")
    for modality in signed(dataset):
        lines += [
            f"The features of {modality} can be negative, so zero does not say that it is absent: smv puts their mean",
            "there, its authors zero. The shares of ogm, agm and amss are terms of a sum with fusion by concatenation,",
            "as in the authors' code, and put nothing in the place of the others.",
        ]
    lines += [
        "The table's fusions are networks of their own: network.fusion.kind film (Affine), channel-exchange (Channel),",
        "ml-lstm, sum and weighted-sum (Weight), each in a params.yaml of its own.",
    ]
    return lines


def options_of(dataset: Dataset, method: str) -> Tree:
    """Return what `method` has for the dataset: what its authors set, and `absent: mean` if zero is no sign of it."""
    absent: Tree = {"absent": "mean"} if TABLE[method].hides and signed(dataset) else {}
    return absent | dataset.options.get(method, {})


def _as_yaml(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def signed(dataset: Dataset) -> list[str]:
    """Return the modalities whose features may be negative."""
    encoders = dataset.preset["network"]["encoders"].items()
    return [name for name, one in encoders if one["kind"] in SIGNED and one.get("features") is None]


def left_out(dataset: Dataset, protocol: str, method: str) -> bool:
    """Return whether `method` cannot be trained in `protocol` because there is no val split."""
    return protocol == "published" and TABLE[method].reads_val and "val" not in dataset.counts
