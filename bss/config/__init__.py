"""Parameters: the schema, the presets, and reading params.yaml."""

from pathlib import Path

from bss.config.load import config_from_tree, config_to_tree, flatten, load_config
from bss.config.schema import Config

BUILTIN = Path(__file__).parent / "builtin" / "params.yaml"
"""The parameters of the built-in data: params.yaml as it is before it becomes your own."""

__all__ = ["BUILTIN", "Config", "config_from_tree", "config_to_tree", "flatten", "load_config"]
