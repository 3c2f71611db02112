"""The project's own params.yaml, changed for a benchmark, and its data."""

from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from benchmarks.record import PROJECT
from bss.config import Config, config_from_tree
from bss.config.load import apply_override, read_yaml
from bss.stages.generate import generate
from bss.stages.measure import measure
from bss.stages.prepare import prepare
from bss.stages.schedule import schedule


def digits_config(folder: Path, device: str, *overrides: str) -> Config:
    """Return the parameters of the built-in comparison on `device`, untracked, with `overrides` such as `a.b=1`."""
    tree: dict[str, Any] = read_yaml(PROJECT / "params.yaml")
    own = (f"prepare.root={folder / 'data'}", f"resources.device={device}", "tracking.enabled=false")
    plain = ("combinations=null", "strategies={none: {kind: none}}")
    for text in (*own, *plain, *overrides):
        apply_override(tree, text)
    return config_from_tree(tree, "params.yaml")


def prepare_digits(config: Config, folder: Path) -> Path:
    """Generate and prepare the data in `folder`, unless that is done; return the store."""
    with redirect_stdout(StringIO()):
        if not (folder / "data").is_dir():
            generate(config, "digits", folder / "data")
        if not (folder / "store").is_dir():
            prepare(config, folder / "data", folder / "store")
    return folder / "store"


def plan_digits(config: Config, store: Path, folder: Path) -> tuple[Path, Path]:
    """Measure and plan; return scores and plans, in `folder`."""
    with redirect_stdout(StringIO()):
        measure(config, store, folder / "scores")
        schedule(config, store, folder / "scores", folder / "plans")
    return folder / "scores", folder / "plans"
