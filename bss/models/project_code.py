"""Your own code: the folder it is imported from, importing a function of it, and the digest of its source."""

import ast
import difflib
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bss.errors import BssError


def load_factory(factory: str, key: str) -> Any:
    """Import ``package.module:function`` from the current folder or an installed package.

    Raises `BssError`, which names `key`, if it cannot be imported or called.
    """
    module_name, _, name = factory.partition(":")
    _importable_from(Path.cwd())
    try:
        function = getattr(importlib.import_module(module_name), name)
    except ModuleNotFoundError as error:
        if f"{module_name}.".startswith(f"{error.name}."):
            raise _absent(factory, key, str(error.name)) from error
        raise BssError(f"{key}: {factory}: {module_name} imports {error.name}, which is not installed.") from error
    except AttributeError as error:
        if hasattr(sys.modules.get(module_name), name) or module_name not in sys.modules:
            raise BssError(f"{key}: {factory}: cannot be imported ({_why(error)}).") from error
        close = difflib.get_close_matches(name, vars(sys.modules[module_name]), n=1)
        hint = f" Is it `{close[0]}`?" if close else ""
        raise BssError(f"{key}: {factory}: the module {module_name} has no `{name}`.{hint}") from error
    except (Exception, SystemExit) as error:  # the module's own code; a script may parse arguments and exit
        raise BssError(f"{key}: {factory}: cannot be imported ({_why(error)}).") from error
    if not callable(function):
        raise BssError(f"{key}: {factory}: is of type {type(function).__name__}, not a function that returns a module.")
    return function


def digest_source(factory: str, key: str) -> str:
    """Return the sha256 of the factory's module and what it imports, recursively, of the project and its own package.

    Found from import statements, without running them; names and contents count. Raises `BssError`, which names
    `key`, if the module does not exist or is not Python source.
    """
    module_name = factory.partition(":")[0]
    _importable_from(Path.cwd())
    root = _root_of(module_name, factory, key)
    own = "" if root == Path.cwd() else module_name.partition(".")[0]  # of an installed package: its files alone
    digest, seen, left = hashlib.sha256(), set[str](), [module_name]
    found: dict[str, bytes] = {}
    while left:
        name = left.pop()
        file = _file(root, name)
        if name in seen or file is None or own not in ("", name.partition(".")[0]):
            continue
        seen.add(name)
        content = found[name] = file.read_bytes()
        try:
            tree = ast.parse(content)
        except (SyntaxError, ValueError) as error:
            raise BssError(f"{key}: {factory}: {file}: not valid Python ({_why(error)}).") from error
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        left += _imported(tree, package)
        if "." in name:
            left.append(name.rpartition(".")[0])  # Python runs a package before its modules
    for name, content in sorted(found.items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _importable_from(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
        importlib.invalidate_caches()


def _root_of(module: str, factory: str, key: str) -> Path:
    """Return the folder from which `module` is imported; nothing is imported for that."""
    if _file(Path.cwd(), module) is not None:
        return Path.cwd()
    top = module.partition(".")[0]
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    places = [] if spec is None else [*(spec.submodule_search_locations or [])]
    if spec is not None and not places and spec.origin is not None:
        places = [str(Path(spec.origin).with_suffix(""))]
    for place in places:
        if _file(Path(place).parent, module) is not None:
            return Path(place).parent
    raise _absent(factory, key, module)


def _absent(factory: str, key: str, module: str) -> BssError:
    return BssError(
        f"{key}: {factory}: there is no module {module} in {Path.cwd()} and none is installed. Put it next to "
        "params.yaml or install it; for Kubeflow and other nodes, build it into the image."
    )


def _file(root: Path, module: str) -> Path | None:
    path = root.joinpath(*module.split("."))
    for file in (path / "__init__.py", path.with_suffix(".py")):
        if file.is_file():
            return file
    return None


def _imported(tree: ast.Module, package: str) -> Iterator[str]:
    """Yield the names of modules that `tree`, in `package`, may import, except those of bss itself."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        yield from (name for name in names if name and name.partition(".")[0] != "bss")


def _why(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
