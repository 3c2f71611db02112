"""The card of a Hugging Face dataset, README.md: which configurations its files belong to."""

import re
from pathlib import Path

from bss.errors import BssError

CARD = "README.md"
MOST_BYTES = 1 << 20
"""Of a card that is read: its header comes first."""
_HEADER = re.compile(r"---\n(.*?\n)---\s", re.DOTALL)
_CONFIGS = re.compile(r"^configs:[^\n]*\n((?:[ -][^\n]*\n|\n)*)", re.MULTILINE)
_NAME = re.compile(r"^[ -]*config_name:\s*(.+?)\s*$", re.MULTILINE)


def require_one_configuration(folder: Path) -> None:
    """Raise `BssError` if the card in `folder` lists several configurations, which are datasets of their own."""
    names = configurations(folder / CARD)
    if len(names) > 1:
        shown = ", ".join(name[:100] for name in names[:20])
        raise BssError(
            f"{folder}: {CARD} lists {len(names)} configurations, datasets of their own: {shown}. Name the folder or "
            f"the files of one in prepare.manifest, such as {names[0][:100]} or '{names[0][:100]}/*.parquet'."
        )


def configurations(card: Path) -> list[str]:
    """Return the names of the configurations in a card's header; none if it lists none."""
    try:
        with card.open("rb") as file:
            text = file.read(MOST_BYTES).decode("utf-8", "replace").replace("\r\n", "\n")
    except OSError:
        return []
    header = _HEADER.match(text)
    block = header and _CONFIGS.search(header[1])
    return [name.strip("'\"") for name in _NAME.findall(block[1])] if block else []
