"""Map weight names of the PyTorch port of I3D to those of our encoder."""

import re
from collections.abc import Mapping

from torch import Tensor

PLACES = (
    *("Conv3d_1a_7x7", None, "Conv3d_2b_1x1", "Conv3d_2c_3x3", None, "Mixed_3b", "Mixed_3c", None),
    *("Mixed_4b", "Mixed_4c", "Mixed_4d", "Mixed_4e", "Mixed_4f", None, "Mixed_5b", "Mixed_5c"),
)
"""Modules of the port in the order of `I3d.layers`; None is a pooling without weights."""
BRANCHES = {"b0": "0", "b1a": "1.0", "b1b": "1.1", "b2a": "2.0", "b2b": "2.1", "b3b": "3.1"}
LAYERS = {"conv3d": "convolution", "bn": "normalisation"}
NAME = re.compile(r"(?P<part>\w+)\.(?:(?P<branch>b\w+)\.)?(?P<layer>conv3d|bn)\.(?P<tensor>\w+)")
CLASSIFIER = "logits."


def rename_from_port(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename `weights` to `I3d.layers`, without the classifier; unknown names are kept."""
    return {_renamed(name): value for name, value in weights.items() if not name.startswith(CLASSIFIER)}


def _renamed(name: str) -> str:
    found = NAME.fullmatch(name)
    if found is None or found["part"] not in PLACES or found["branch"] not in (None, *BRANCHES):
        return name
    branch = "" if found["branch"] is None else f"branches.{BRANCHES[found['branch']]}."
    return f"{PLACES.index(found['part'])}.{branch}{LAYERS[found['layer']]}.{found['tensor']}"
