"""The folder of `dvc exp run --temp`, `--queue` and `--run-all`, and the checkout of such an experiment.

DVC runs them in a clone below .dvc/tmp/exps of the project, and deletes the clone afterwards. To the stages it hands
the project's own root in DVC_ROOT and the commit that the experiment starts from in DVC_EXP_BASELINE_REV.
"""

import os
from pathlib import Path

EXPERIMENTS = Path(".dvc", "tmp", "exps")
"""Below the root of a DVC project."""


def checkout_folder(folder: Path) -> Path:
    """Return the folder that `folder` stands for in the user's checkout: itself outside a temporary experiment.

    If the checkout of an experiment cannot be found, also returns `folder`; `is_lost` detects that.
    """
    folder = folder.resolve()
    clone = _dvc_root(folder)
    if clone is None:
        return folder
    # Not everything below DVC_ROOT is a clone of it, and the variable may be left over from another project.
    for project in (*_named_projects(), *(p for p in clone.parents if clone.is_relative_to(p / EXPERIMENTS))):
        if clone.is_relative_to((project / EXPERIMENTS).resolve()):
            return project / folder.relative_to(clone)
    return folder


def is_lost(folder: Path) -> bool:
    """Return whether `folder` belongs to a DVC experiment whose checkout was not found."""
    folder = folder.resolve()
    clone = _dvc_root(folder)
    elsewhere = "DVC_EXP_BASELINE_REV" in os.environ and clone is not None and clone not in _named_projects()
    return elsewhere and checkout_folder(folder) == folder


def _named_projects() -> list[Path]:
    root = os.environ.get("DVC_ROOT")
    return [Path(root).resolve()] if root else []


def _dvc_root(folder: Path) -> Path | None:
    return next((place for place in (folder, *folder.parents) if (place / ".dvc").is_dir()), None)
