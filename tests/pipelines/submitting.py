"""`bss submit` as it is typed, for tests."""

from bss.cli import main
from bss.config import BUILTIN

IMAGE = "registry.example.org/team/bss:1a2b3c4d5e6f"


def submit(address, *more):
    """Return the exit status of `bss submit` to `address` with the options `more`."""
    params = () if "--params" in more else ("--params", str(BUILTIN))
    return main(["submit", "--endpoint", address, "--image", IMAGE, *params, *map(str, more)])
