"""Plain values as YAML."""

import json
import re
from typing import Any

PLAIN = re.compile(r"[A-Za-z_./][A-Za-z0-9_./-]*")
"""Texts that need no quotes; null, true and the like are excluded by name."""
RESERVED = {"null", "true", "false", "yes", "no", "on", "off", "y", "n", ".", ".inf", ".nan"}


def flow_style(value: Any) -> str:
    """Format `value` (dicts, lists, texts, numbers, None) so that YAML reads the same value back."""
    if isinstance(value, dict):
        return (
            "{" + ", ".join(f"{flow_style(key)}: {flow_style(item)}" for key, item in _kind_first(value).items()) + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(flow_style, value)) + "]"
    if isinstance(value, str) and PLAIN.fullmatch(value) and value.lower() not in RESERVED:
        return value
    # Quoted as JSON, which YAML reads, except for non-ASCII characters.
    return re.sub("[^ -~]", lambda match: f"\\U{ord(match[0]):08x}", json.dumps(value, ensure_ascii=False))


def block_style(tree: dict[str, Any], indent: str = "") -> str:
    """Format nested tables as YAML, a key per line; a table without subtables on one line."""
    lines = []
    for key, value in _kind_first(tree).items():
        if isinstance(value, dict) and any(isinstance(item, dict) for item in value.values()):
            lines.append(f"{indent}{flow_style(key)}:\n{block_style(value, indent + '  ')}")
        else:
            lines.append(f"{indent}{flow_style(key)}: {flow_style(value)}\n")
    return "".join(lines)


def _kind_first(tree: dict[str, Any]) -> dict[str, Any]:
    return {"kind": tree["kind"], **tree} if "kind" in tree else tree
