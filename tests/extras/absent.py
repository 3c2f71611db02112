"""Run by the Python of an environment: which packages of extras that it was not asked for are installed all the same.

`python absent.py EXTRA` (or none) prints them, and exits with 1 if there are any.
"""

import re
import sys
from importlib.metadata import PackageNotFoundError, requires, version

BROUGHT = {
    "accelerate": "peft",
    "jinja2": "torch",
    "docker": "mlflow",
    "pyyaml": "transformers",
    "cryptography": "mlflow",
}
"""Packages that come with another one, which needs them too."""


def packages() -> dict[str, list[str]]:
    """Return the names that each extra of bss requires; those of other extras are written ``bss[train,s3]``."""
    found: dict[str, list[str]] = {}
    for line in requires("bss") or []:
        requirement, _, marker = line.partition(";")
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", marker)
        if extra:
            name = re.match(r"bss\[[^]]*\]|[\w.-]+", requirement)
            found.setdefault(extra[1], []).append(name[0])
    return found


def included(extra: str, by_extra: dict[str, list[str]]) -> set[str]:
    """Return `extra` and those that it includes."""
    found = {extra}
    for name in by_extra.get(extra, []):
        if name.startswith("bss["):
            for other in name[4:-1].split(","):
                found |= included(other, by_extra)
    return found


def is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def main(extra: str) -> int:
    by_extra = packages()
    own = included(extra, by_extra)
    wanted = {name for other in own for name in by_extra.get(other, [])}
    others = {name for other in by_extra.keys() - own for name in by_extra[other]}
    foreign = {name for name in others - wanted if not name.startswith("bss[")}
    foreign = {name for name in foreign if name.lower() not in BROUGHT}
    if not foreign and extra != "dev":
        raise SystemExit("the metadata of bss names no extras")
    found = sorted(name for name in foreign if is_installed(name))
    print(", ".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
