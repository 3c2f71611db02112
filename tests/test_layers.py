"""Imports point downwards: what docs/architecture.md says of the packages in bss/."""

import ast
import functools

from bss.provenance import PACKAGE

LAZY = {("config", "datasets"), ("launch", "training")}
"""Pairs that import each other, one of them inside its functions."""
ABOVE = {"cli", "commands", "export", "kubeflow", "predict", "stages"}
"""They put the others together, which know nothing of them."""


@functools.cache
def imports():
    """Return each package or module of bss/ with those that it imports, inside functions too."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            parts = [name.split(".") for name in names]
            found.setdefault(room, set()).update(p[1] for p in parts if p[0] == "bss" and len(p) > 1 and p[1] != room)
    return found


def test_no_two_packages_import_each_other():
    found = imports()
    assert {(a, b) for a in found for b in found[a] if a < b and a in found.get(b, ())} == LAZY


def test_the_report_and_the_tracking_know_nothing_of_each_other():
    found = imports()
    assert {"config", "files"} <= found["report"] & found["tracking"]
    assert "tracking" not in found["report"]
    assert "report" not in found["tracking"]
    assert {"report", "tracking"} <= found["stages"]


def test_what_puts_the_others_together_is_imported_from_above_only():
    assert {room for room, others in imports().items() if others & ABOVE} <= ABOVE | {"__main__"}
