"""Definition of a published dataset: reader of its layout, splits, settings."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Tree = dict[str, Any]
Row = dict[str, str]
"""A row of the manifest: id, label, split as published, group, and a path or text per modality."""

Honest = Literal["published splits", "new splits"]
"""How the honest split is made.

published splits: kept, but samples of train and val that share a group or file with test are left out, and samples of
train that share one with val. new splits: all samples are split again, about 80/10/10 %, with whole groups and all
samples of a file together.
"""


@dataclass(frozen=True)
class Dataset:
    """One dataset."""

    name: str
    """Name in params.yaml: prepare.source, and the short form `dataset`."""
    title: str
    citation: str
    """Authors, title, venue and year; empty for the user's own data."""
    read: Callable[[Path], list[Row]]
    """Maps the root to the manifest's rows, in the published order; sample files need not exist.

    Raises `BssError` if a folder or an annotation is missing or not as published.
    """
    group: str
    """Kind of group: actor, video, subject, image, ..."""
    preset: Tree
    """The parameters in both protocols, as in params.yaml; without root, source and seeds."""
    layout: str
    """The files below the root, one per line, for the documentation."""
    classes: int | None
    """None if the files decide."""
    honest: Honest = "published splits"
    address: str = ""
    """The authors' page or repository; empty if unknown."""
    counts: dict[str, int] = field(default_factory=dict)
    """Published samples per split; empty if unknown."""
    accuracy: dict[str, float] = field(default_factory=dict)
    """Maps bss-h, bss-l and the strategies of `bss.datasets.paper_table` to their published test accuracies in percent
    (Guan et al., IJCAI 2025, protocol published); empty if the paper does not have the dataset."""
    options: dict[str, Tree] = field(default_factory=dict)
    """Maps such a strategy to what its authors, or public code, set for this dataset."""
    published: Tree = field(default_factory=dict)
    """Settings of the published protocol specific to this dataset, as in params.yaml."""
    methods: dict[str, Tree] = field(default_factory=dict)
    """Maps bss-h or bss-l to the settings specific to its script in the published protocol, as in params.yaml."""
    read_published: Callable[[Path], list[Row]] | None = None
    """Like `read`, if the published protocol uses other texts; None: `read` itself."""
    differs: tuple[str, ...] = ()
    """What the authors' scripts do differently from the preset in the published protocol."""
    suggest: Callable[[Path], tuple[Tree, Tree]] | None = None
    """If the files decide on the modalities: maps the root to modalities and encoders."""
    conversion: str = ""
    """A Python script for the user to run first, if bss does not read the distributed files."""
    notes: tuple[str, ...] = ()
    """Notes for the user on files and settings."""
