"""Reading params.yaml: strictly, once, with messages that name the key."""

import difflib
import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from bss.config.presets import PRESETS
from bss.config.schema import Config
from bss.errors import LIMIT, BssError, shown

Tree = dict[str, Any]
Section = TypeVar("Section")

MAX_BYTES = 1 << 18
"""Largest params.yaml."""
MAX_VALUES = 100_000
"""Maximum number of values in it, counted once per alias that repeats them."""
MAX_DEPTH = 50
"""Deepest nesting of tables and lists."""


def load_config(path: Path, overrides: Iterable[str] = ()) -> Config:
    """Read and check the parameters in `path`.

    `overrides` are texts ``section.key=value`` (the value is YAML); each must name a known key. Raises
    `BssError` for a missing or unreadable file and for every key that is wrong, all at once.
    """
    tree = read_yaml(path)
    for text in overrides:
        apply_override(tree, text)
    return config_from_tree(tree, path.name)


def read_yaml(path: Path) -> Tree:
    """Read a YAML 1.2 mapping, the way DVC reads params.yaml: 1e-3 is a number, a repeated key an error."""
    try:
        if path.is_file() and path.stat().st_size > MAX_BYTES:
            raise BssError(f"{path}: has {path.stat().st_size} bytes; parameters have at most {MAX_BYTES}.")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise BssError(
            f"{path}: cannot be read ({error.strerror}). Run bss in a folder with a params.yaml, "
            "or name one with --params."
        ) from error
    except UnicodeDecodeError as error:
        raise BssError(f"{path}: not a text file in UTF-8 (byte {error.start}).") from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, source: str) -> Tree:
    """Parse `text` like `read_yaml`; messages name `source`."""
    tree = _parse(text, source)
    if not isinstance(tree, dict):
        found = "nothing" if tree is None else type(tree).__name__
        raise BssError(f"{source}: expected sections such as `train:`, found {found}.")
    return tree


def apply_override(tree: Tree, text: str) -> None:
    """Set one value in `tree` from ``a.b.c=value``, creating missing tables on the way."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise BssError(f"--set {text}: expected key=value, such as train.epochs=5.")
    *parents, last = key.strip().split(".")
    for depth, name in enumerate(parents):
        child = tree.setdefault(name, {})
        if child is None:
            child = tree[name] = {}
        if not isinstance(child, dict):
            raise BssError(f"--set {text}: {'.'.join(parents[: depth + 1])} is a value, not a section.")
        tree = child
    tree[last] = _parse(value, f"--set {text[:200]}")


def _parse(text: str, source: str) -> Any:
    """Return the plain values of YAML `text`, within the limits on their number and depth."""
    from ruamel.yaml import YAML

    try:
        value = YAML(typ="safe", pure=True).load(text)
    except Exception as error:  # YAML's own, and those of its values: invalid dates, numbers of thousands of digits
        raise BssError(f"{source}: not valid YAML:\n{str(error)[:2000] or type(error).__name__}") from error
    _require_small(value, source)
    return value


def _require_small(value: Any, source: str) -> None:
    """Raise `BssError` if `value` is too large: YAML aliases multiply what they refer to."""
    found, level, depth = 0, [value], 0
    while level:
        found += len(level)
        if found > MAX_VALUES or depth > MAX_DEPTH:
            raise BssError(f"{source}: more than {MAX_VALUES} values, or tables nested more than {MAX_DEPTH} deep.")
        level = list(islice((item for part in level for item in _items(part)), MAX_VALUES + 1))
        depth += 1


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def config_from_tree(tree: Mapping[str, Any], source: str) -> Config:
    """Check a mapping of plain values against the schema; messages name `source`."""
    return check_tree(_expand_presets(_expand_dataset(tree, source), source), Config, source)


def check_tree(tree: Mapping[str, Any], schema: type[Section], source: str) -> Section:
    """Return `tree` as the dataclass `schema`; messages name `source`.

    Raises `BssError` for every key that is wrong, all at once.
    """
    from pydantic import ValidationError

    try:
        text = json.dumps(tree, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BssError(f"{source}: only plain numbers, texts, lists and tables are allowed: {error}") from error
    try:
        # Strict JSON mode: 1.0 is not an integer, "5" is not a number, yet a list may become a tuple.
        checked: Section = validator(schema).validate_json(text, strict=True)  # type: ignore[arg-type]
    except ValidationError as error:
        problems = error.errors()
        lines = [f"{source}: {_describe(dict(problem), schema)}" for problem in problems[:LIMIT]]
        if len(problems) > LIMIT:
            lines.append(f"{source}: ... and {len(problems) - LIMIT} more")
        raise BssError("\n".join(lines)) from error
    return checked


def config_to_tree(config: Any) -> Any:
    """Return `config` (or any part of it) as plain dicts, lists and values; the inverse of loading."""
    if is_dataclass(config):
        return {f.name: config_to_tree(getattr(config, f.name)) for f in fields(config)}
    if isinstance(config, dict):
        return {name: config_to_tree(value) for name, value in config.items()}
    if isinstance(config, tuple):
        return [config_to_tree(value) for value in config]
    return config


def flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Return ``{"train.epochs": 30, ...}`` for nested dicts; lists stay whole."""
    if not isinstance(tree, dict):
        return {prefix: tree}
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= flatten(value, f"{prefix}.{name}" if prefix else str(name))
    return flat


def _expand_dataset(tree: Mapping[str, Any], source: str) -> Mapping[str, Any]:
    """Expand `dataset: name`, with or without `method`, to its preset; all other keys override it."""
    name = tree.get("dataset")
    if name is None:
        return {key: value for key, value in tree.items() if key != "dataset"}
    from bss.datasets.find import dataset_parameters

    protocol, method = tree.get("protocol", "honest"), tree.get("method")
    preset = dataset_parameters(name, protocol, method, f"{source}: dataset")
    for section, part in (("prepare", "modalities"), ("network", "encoders")):
        given = tree.get(section)
        names = given.get(part) if isinstance(given, dict) else None
        known = preset[section][part]  # none: the dataset's files decide
        strange = [n for n in names if n not in known] if known and isinstance(names, dict) else []
        if strange:
            raise BssError(
                f"{source}: {section}.{part}: {', '.join(strange)} is not a modality of the dataset {name}; known: "
                f"{', '.join(known)}. `bss init --dataset {name} --root DIR` writes a params.yaml for it."
            )
    own = {key: value for key, value in tree.items() if key not in ("dataset", "method")}
    merged: Mapping[str, Any] = merge(preset, own)
    return merged


def _expand_presets(tree: Mapping[str, Any], source: str) -> Mapping[str, Any]:
    """Expand `preset: name` in each scheduler; further keys override it."""
    schedule = tree.get("schedule")
    schedulers = schedule.get("schedulers") if isinstance(schedule, dict) else None
    if not isinstance(schedulers, dict):
        return tree
    expanded = {}
    for name, entry in schedulers.items():
        expanded[name] = entry
        if isinstance(entry, dict) and "preset" in entry:
            preset = entry["preset"]
            if not isinstance(preset, str) or preset not in PRESETS:
                raise BssError(
                    f"{source}: schedule.schedulers.{name}.preset must be one of {sorted(PRESETS)}, "
                    f"but got: {shown(preset)}"
                )
            expanded[name] = merge(PRESETS[preset], {key: value for key, value in entry.items() if key != "preset"})
    return {**tree, "schedule": {**schedule, "schedulers": expanded}}  # type: ignore[dict-item]


def merge(base: Any, over: Any) -> Any:
    """Merge `over` into `base`, table by table; other values are replaced as a whole."""
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    if "kind" in over and base and "kind" not in base:  # of the kind that needs no name, whose keys another lacks
        return over
    return base | {key: merge(base[key], value) if key in base else value for key, value in over.items()}


@functools.cache
def validator(schema: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(schema)


def _describe(problem: dict[str, Any], schema: Any) -> str:
    """Describe in one line which key is wrong, what was found, and what would be right."""
    kind, context = problem["type"], problem.get("ctx", {})
    path, known, hint = _walk(problem["loc"], schema)
    key = ".".join(path)
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        section, _, name = key.rpartition(".")
        close = difflib.get_close_matches(name, known, n=1)
        hint = (
            f"did you mean `{close[0]}`?" if close else f"known keys of `{section or 'the file'}`: {', '.join(known)}"
        )
        return f"{key}: unknown key; {hint}"
    if kind in ("missing", "missing_argument"):
        return f"{key}: missing, and there is no default"
    if kind == "value_error":
        return f"{key}: {context['error']}" if key else str(context["error"])
    if kind.startswith("union_tag") and isinstance(problem["input"], dict):
        kinds = context.get("expected_tags") or ", ".join(map(repr, _kinds(hint)))
        found = repr(context["tag"]) if "tag" in context else "no `kind`"
        return f"{key}: `kind` must be one of {kinds}, but got: {found}"
    if kind.startswith("union_tag"):
        return f"{key}: should be a table of keys, but got: {shown(problem['input'])}"
    message = problem["msg"].removeprefix("Input should be ").replace("an object", "a table of keys")
    return f"{key}: should be {message}, but got: {shown(problem['input'])}"


def _walk(location: tuple[Any, ...], schema: Any) -> tuple[list[str], list[str], Any]:
    """Follow an error's location through the schema.

    Returns the key's path without the union tags that pydantic inserts, the known keys of the last section on the way,
    and the type at its end as from `_child`.
    """
    path: list[str] = []
    known = [f.name for f in fields(schema)]
    hint = schema
    for part in location:
        if isinstance(hint, tuple):  # a union: this part is the tag of the member that was chosen
            hint = next(member for member in hint if part in _kinds((member,)))
        else:
            path.append(str(part))
            hint = _child(hint, part)
        if is_dataclass(hint):
            known = [f.name for f in fields(hint)]
    return path, known, hint


def _kinds(members: tuple[Any, ...]) -> list[str]:
    """Return the kinds of the members of a tagged union."""
    return [kind for member in members for kind in get_args(get_type_hints(member)["kind"])]


def _child(hint: Any, part: Any) -> Any:
    """Return the type below `hint` at key `part`: a class, a tuple of classes for a tagged union, or None."""
    if is_dataclass(hint):
        hint = get_type_hints(hint).get(part)
    elif get_origin(hint) is dict:
        hint = get_args(hint)[1]
    else:
        return None
    members = tuple(member for member in get_args(hint) if is_dataclass(member))
    if get_origin(hint) is not dict and members:
        return members if len(members) > 1 else members[0]
    return hint
