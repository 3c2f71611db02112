"""What a published dataset is to this project: its layout read, its splits, its settings."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Tree = dict[str, Any]
Row = dict[str, str]
"""A row of the manifest: id, label, split as published, group, and a path or text per modality."""

Honest = Literal["published splits", "groups anew"]
"""How the honest split is made.

published splits: they are kept; a sample of train or val whose group or file test has too is left out, and one of
train whose group or file val has. groups anew: all samples are split again, about 80/10/10 %, each group whole and
all samples of a file together.
"""


@dataclass(frozen=True)
class Dataset:
    """One dataset."""

    name: str
    """In params.yaml: prepare.source, and the short form `dataset`."""
    title: str
    citation: str
    """Authors, title, venue and year; empty for data of the user's own."""
    read: Callable[[Path], list[Row]]
    """The root to the manifest's rows, in the published order, for files that need not exist.

    Raises `BssError` for a folder or an annotation that is missing or not as published.
    """
    group: str
    """What the groups are: actor, video, subject, image, ..."""
    honest: Honest
    preset: Tree
    """The parameters in both protocols, as in params.yaml; without root, source and seeds."""
    layout: str
    """The files below the root, a line each, for the documentation."""
    classes: int | None
    """None where the files decide."""
    address: str = ""
    """The authors' page or repository; empty if none is known for certain."""
    counts: dict[str, int] = field(default_factory=dict)
    """Published samples per split; empty where none are published."""
    accuracy: dict[str, float] = field(default_factory=dict)
    """Method to the published test accuracy in percent (Guan et al., IJCAI 2025, protocol published)."""
    published: Tree = field(default_factory=dict)
    """What the published protocol sets otherwise than for other datasets, as in params.yaml."""
    methods: dict[str, Tree] = field(default_factory=dict)
    """bss-h or bss-l to what its script sets otherwise in the published protocol, as in params.yaml."""
    read_published: Callable[[Path], list[Row]] | None = None
    """The same as `read` where the published protocol has other texts; None: `read` itself."""
    differs: tuple[str, ...] = ()
    """What the authors' scripts for this dataset do and its preset in the published protocol does not."""
    suggest: Callable[[Path], tuple[Tree, Tree]] | None = None
    """Where the preset has no modalities because the files decide: the root to modalities and encoders."""
    conversion: str = ""
    """A Python script that a user runs first, where the distribution has files that are not read."""
    notes: tuple[str, ...] = ()
    """What a user should know of the files and the settings."""
