"""Parameters: the schema, the presets, and reading params.yaml."""

from bss.config.load import config_from_tree, config_to_tree, flatten, load_config
from bss.config.schema import Config

__all__ = ["Config", "config_from_tree", "config_to_tree", "flatten", "load_config"]
