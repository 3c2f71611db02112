"""Generate the README of each component from its signature; `make compiled` writes them."""

import importlib
from typing import Any

import docstring_parser

STEPS = ("start", "prepare", "measure", "schedule", "train", "compare", "finish")
"""The components in execution order."""
OF_SHARDS = ("list_shards", "join_shards")
"""Components before and after prepare if cluster.yaml sets several shards."""


OF_AUDIT = ("audit",)
"""Components after prepare if audit.enabled is true."""


def component(step: str) -> Any:
    """Return the component of `step`."""
    return getattr(importlib.import_module(f"components.{step}.component"), step)


def readme(step: str) -> str:
    """Return the README of `step`: purpose, inputs and outputs."""
    spec = component(step).component_spec
    docs = docstring_parser.parse(component(step).python_func.__doc__)
    texts = {parameter.arg_name: " ".join((parameter.description or "").split()) for parameter in docs.params}
    returned = " ".join((docs.returns.description or "").split()) if docs.returns else ""
    cached = step not in ("start", "compare", "finish")
    reuse = (
        "Kubeflow reuses an earlier result if all of these values and the image are the same."
        if cached
        else "It runs in every pipeline run and is never reused."
    )
    inputs = _rows(spec.inputs or {}, texts, "")
    outputs = _rows(spec.outputs or {}, texts, returned)
    return (
        f"# {step}\n\n{spec.description}\n\n{reuse}\n\n"
        f"## In\n\n{inputs}\n## Out\n\n{outputs}\n"
        f"Written from the signature in `component.py` by `make compiled`.\n"
    )


def _rows(values: dict[str, Any], texts: dict[str, str], returned: str) -> str:
    if not values:
        return "Nothing.\n"
    lines = ["| name | type | what |", "| --- | --- | --- |"]
    for name, value in values.items():
        kind = value.type.removeprefix("system.").partition("@")[0]
        kind = f"list of {kind}" if getattr(value, "is_artifact_list", False) else kind
        lines.append(f"| {name} | {kind} | {texts.get(name, returned)} |")
    return "\n".join(lines) + "\n"
