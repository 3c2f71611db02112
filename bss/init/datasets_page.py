"""Generate docs/datasets.md from the dataset definitions; `make compiled` writes it."""

from typing import Any

from bss.config.encoders import ResNetConfig
from bss.data.store import SPLITS
from bss.datasets.dataset import Dataset, Honest
from bss.datasets.find import all_datasets
from bss.datasets.preset import SCHEDULERS
from bss.init.templates import render

METHODS = ("BSS-H", "BSS-L", "Concat")
HONEST: dict[Honest, str] = {
    "published splits": "published, without shared groups",
    "new splits": "new splits, about 80 / 10 / 10 %",
}
OPTIMISERS = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW"}
NETWORKS = {"resnet": "ResNet-{depth}", "bert": "BERT", "i3d": "I3D", "mlp": "MLP"}


def page_text() -> str:
    """Return the text of docs/datasets.md."""
    entries = [_entry(dataset) for dataset in all_datasets().values()]
    return render("datasets.md.j2", entries=entries, methods=METHODS)


def _entry(dataset: Dataset) -> dict[str, Any]:
    """Return the fields of a dataset for the template, as text."""
    sections = dataset.preset
    train = sections["train"]
    optimiser = f"{OPTIMISERS[train['optimiser']['kind']]} {train['optimiser']['learning_rate']:g}"
    return {
        "dataset": dataset,
        "modalities": ", ".join(sections["prepare"]["modalities"]) or "any",
        "classes": "any" if dataset.classes is None else dataset.classes,
        "counts": " / ".join(f"{dataset.counts[s]:,}" if s in dataset.counts else "-" for s in SPLITS),
        "honest": HONEST[dataset.honest],
        "networks": ", ".join(dict.fromkeys(map(_network, sections["network"]["encoders"].values()))) or "MLP",
        "training": f"{optimiser}, batch {_both(dataset, 'batch_size')}, {_both(dataset, 'epochs')} epochs",
        "accuracy": [_percent(dataset.accuracy.get(name.lower())) for name in METHODS],
    }


def _percent(accuracy: float | None) -> str:
    return "-" if accuracy is None else f"{accuracy:.2f}"


def _both(dataset: Dataset, key: str) -> str:
    """Return train.`key` for BSS-H and, if different, for BSS-L."""
    default = dataset.preset["train"][key]
    values = [dataset.methods.get(method, {}).get("train", {}).get(key, default) for method in SCHEDULERS]
    return " / ".join(str(value) for value in dict.fromkeys(values))


def _network(encoder: dict[str, Any]) -> str:
    """Return an encoder's name with its depth, and whether it is pretrained."""
    name = NETWORKS.get(encoder["kind"], encoder["kind"]).format(**({"depth": ResNetConfig.depth} | encoder))
    return f"{name} pretrained" if encoder.get("weights") else name
