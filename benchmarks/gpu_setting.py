"""What a part of `make gpu` runs on."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Setting:
    """Device, sizes and a folder."""

    device: str
    """cpu or cuda."""
    small: bool
    """Sizes that a CPU measures in seconds, to try the parts."""
    folder: Path
    """For the part's files; removed at the end."""
    shared: Path
    """For files that several parts need, from whichever comes first."""
