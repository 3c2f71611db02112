"""Map torchvision's weight names of a ResNet to those of transformers."""

import re
from collections.abc import Callable, Mapping

from torch import Tensor

Replacement = str | Callable[[re.Match[str]], str]

NAMES: tuple[tuple[str, Replacement], ...] = (
    (r"^conv1\.", "embedder.embedder.convolution."),
    (r"^bn1\.", "embedder.embedder.normalization."),
    (r"^layer(\d)\.(\d+)\.", lambda m: f"encoder.stages.{int(m[1]) - 1}.layers.{m[2]}."),
    (r"\.conv(\d)\.", lambda m: f".layer.{int(m[1]) - 1}.convolution."),
    (r"\.bn(\d)\.", lambda m: f".layer.{int(m[1]) - 1}.normalization."),
    (r"\.downsample\.0\.", ".shortcut.convolution."),
    (r"\.downsample\.1\.", ".shortcut.normalization."),
)


def are_torchvision_names(weights: Mapping[str, Tensor]) -> bool:
    """Return whether `weights` are from a torchvision ResNet, by the name of the first layer."""
    return "conv1.weight" in weights


def rename_from_torchvision(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename `weights` to their names in transformers; the classifier (fc) keeps its own."""
    renamed = {}
    for name, value in weights.items():
        for pattern, replacement in NAMES:
            name = re.sub(pattern, replacement, name)  # noqa: PLW2901
        renamed[name] = value
    return renamed
