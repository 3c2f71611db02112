"""What decides the result of each stage, in one table: its code, found from imports, and its parameters.

`dvc.yaml`, the Kubeflow cache keys and the key of a trial are derived from this table or checked against it.
"""

import ast
import functools
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

Tree = dict[str, Any]
PACKAGE = Path(__file__).parent


@dataclass(frozen=True)
class Deciding:
    """What decides the result of a stage."""

    entry: str
    """The module that computes it; its imports, recursively, decide too, except `INDIFFERENT`."""
    parameters: tuple[str, ...]
    """Keys of params.yaml such as ``train.epochs``."""


STEP = tuple(
    f"train.{key}" for key in ("accumulate", "batch_size", "clip", "compile", "drop_last", "optimiser", "precision")
)
"""What decides a step of training: of a trial, and of the warm-up before measuring."""
TRIAL = (
    *("evaluation", "network", "protocol"),
    *(f"measure.{key}" for key in ("batch_size", "order", "precision", "score")),
    *STEP,
    *(f"train.{key}" for key in ("class_weights", "decay", "early_stopping", "ema", "epochs", "label_smoothing")),
)
"""What decides a trial, besides its scheduler, its strategy, its seed and `tracking.sequences_mib`."""

DECIDING = {
    "prepare": Deciding("bss.stages.prepare", ("generate", "prepare", "protocol")),
    "audit": Deciding("bss.audit.predictions", ("audit", "network", *STEP)),
    "features": Deciding("bss.training.samples.frozen_features", ("network",)),
    "measure": Deciding("bss.stages.measure", ("measure", "network", "seeds", *STEP)),
    "schedule": Deciding(
        "bss.stages.schedule", ("schedule", "seeds", "train.batch_size", "train.drop_last", "train.epochs")
    ),
    "train": Deciding(
        "bss.training.trial",
        (*(k for k in TRIAL if not k.startswith("tracking.")), "seeds", "tracking", "strategies", "combinations"),
    ),
}
"""By stage. `prepare` includes generating the built-in data; the code of `train` is that of one trial, the code of
`audit` that of its networks, and `features` are the kept features of frozen encoders."""

INDIFFERENT = (
    *("bss.datasets", "bss.launch", "bss.remote", "bss.report", "bss.tracking"),
    *(
        "bss.console",
        "bss.deciding",
        "bss.end_with_dvc",
        "bss.extras",
        "bss.full_disk",
        "bss.provenance",
        "bss.redact",
        "bss.signals",
    ),
)
"""Packages and modules that change no result: their output is digested itself, or only displayed."""

BY_FILE = ("bss.balance.schedulers", "bss.metrics", "bss.strategies")
"""Packages whose modules are discovered by file name."""

DECIDING_CODE = "deciding_code"
"""Key of provenance.json whose value is the `code_digest` of its stage."""

ONE_EACH = ("bss.balance.schedulers", "bss.strategies")
"""Those of `BY_FILE` of which a trial uses one module."""

SHOWN = ("better", "digits", "dvc", "label", "plotted", "reading", "table", "unit")
"""Arguments of a `METRIC` that decide how the report shows it, and no result."""


def pick(tree: Tree, keys: Iterable[str]) -> Tree:
    """Return the part of `tree` below `keys` such as ``train.epochs``."""
    part: Tree = {}
    for key in keys:
        *parents, last = key.split(".")
        source, target = tree, part
        for name in parents:
            source, target = source[name], target.setdefault(name, {})
        target[last] = source[last]
    return part


@functools.cache
def code_digest(stage: str, package: Path = PACKAGE, used: tuple[str, ...] | None = None) -> str:
    """Return the sha256 of the code that decides `stage`, without its comments, docstrings and layout.

    `used` is that of `deciding_modules`. It digests syntax trees, whose dump differs between minor versions of Python.
    """
    digest = hashlib.sha256()
    for name in deciding_modules(stage, package, used):
        digest.update(json.dumps([name, _read(_file(name, package)).digest]).encode())
    return digest.hexdigest()


@functools.cache
def deciding_modules(stage: str, package: Path = PACKAGE, used: tuple[str, ...] | None = None) -> tuple[str, ...]:
    """Return the sorted names of the modules of `package` that decide `stage`.

    `used` are the modules of `ONE_EACH` that one trial uses: the others there decide only if one of its modules imports
    them. None: all of them decide.
    """
    found: set[str] = set()
    left = [DECIDING[stage].entry]
    while left:
        name = left.pop()
        file = _file(name, package)
        if name in found or file is None:
            continue
        found.add(name)
        if name in ONE_EACH and used is not None:
            left += (module for module in used if module.startswith(f"{name}."))
        elif name in BY_FILE:
            left += (f"{name}.{module.stem}" for module in file.parent.glob("*.py"))
        left += _read(file).imports
        if "." in name:
            left.append(name.rpartition(".")[0])  # Python runs a package before its modules
    return tuple(sorted(found))


@functools.cache
def _file(module: str, package: Path) -> Path | None:
    """Return the file of `module`; None if `package` has no such module, or it is `INDIFFERENT`."""
    if any(f"{module}.".startswith(f"{part}.") for part in INDIFFERENT):
        return None
    path = package.parent / Path(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return path if path.is_file() else None


class _Source(NamedTuple):
    imports: tuple[str, ...]
    digest: str
    """The sha256 of the dump of the syntax tree, without what does not count."""


@functools.cache
def _read(file: Path) -> _Source:
    """Read a module once, however many schedulers and strategies there are."""
    return _source(file.read_text(encoding="utf-8"))


@functools.cache
def _source(text: str) -> _Source:
    """Parse a module once for all stages, and for all packages that have the same."""
    tree = ast.parse(text)
    imports = tuple(_imported(tree))
    return _Source(imports, hashlib.sha256(ast.dump(_WithoutTexts().visit(tree)).encode()).hexdigest())


def _imported(tree: ast.Module) -> Iterator[str]:
    """Yield possible names of imported modules of this project, including imports inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("bss."))
        elif isinstance(node, ast.ImportFrom) and node.module and f"{node.module}.".startswith("bss."):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


class _WithoutTexts(ast.NodeTransformer):
    """Removes docstrings and what only displays a metric."""

    def visit_Assign(self, node: ast.Assign) -> ast.Assign:
        if isinstance(node.value, ast.Call) and ast.unparse(node.targets[0]) == "METRIC":
            node.value.keywords = [keyword for keyword in node.value.keywords if keyword.arg not in SHOWN]
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        return None if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str) else node
