"""Write built-in data in the layout of a user's own data."""

from pathlib import Path

from bss.config import Config, config_to_tree
from bss.console import make_console
from bss.data.builtin.digits import write_digits
from bss.errors import BssError
from bss.files import held, whole_folder
from bss.provenance import write_provenance


def generate(config: Config, name: str, folder: Path) -> None:
    """Write the built-in data `name` into `folder`: manifest.csv, truth.csv and the files they name.

    Raises `BssError` if params.yaml has no section ``generate.<name>``.
    """
    if name != "digits" or config.generate.digits is None:
        raise BssError(f"generate {name}: params.yaml has no section generate.{name}; `digits` can be generated.")
    with held(folder), whole_folder(folder) as unfinished:
        kinds = write_digits(config.generate.digits, unfinished)
        write_provenance(unfinished, "generate", {}, {"digits": config_to_tree(config.generate.digits)})
    total = sum(kinds.values())
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
    make_console().print(
        f"generate: {total} pairs of sound and image in {folder} ({counts})", highlight=False, markup=False
    )
