"""Plain values on one line of YAML."""

import json
import re
from typing import Any

PLAIN = re.compile(r"[A-Za-z_./][A-Za-z0-9_./-]*")
"""Texts that need no quotes; null, true and their like are excluded by name."""
RESERVED = {"null", "true", "false", "yes", "no", "on", "off", "y", "n", ".", ".inf", ".nan"}


def flow_style(value: Any) -> str:
    """Return `value` (dicts, lists, texts, numbers, None) such that YAML reads the same again."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{flow_style(key)}: {flow_style(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow_style, value)) + "]"
    if isinstance(value, str) and PLAIN.fullmatch(value) and value.lower() not in RESERVED:
        return value
    # Quoted as JSON, which YAML reads, but for letters beyond ASCII.
    return re.sub("[^ -~]", lambda match: f"\\U{ord(match[0]):08x}", json.dumps(value, ensure_ascii=False))
