"""The card of a Hugging Face dataset, README.md: which configurations its files belong to."""

import re
from pathlib import Path

from bss.config.load import parse_yaml
from bss.errors import BssError

CARD = "README.md"
MOST_BYTES = 1 << 20
"""Of a card that is read: its header comes first."""
_HEADER = re.compile(r"---\n(.*?\n)---\s", re.DOTALL)


def require_one_configuration(folder: Path) -> None:
    """Raise `BssError` if the card in `folder` lists several configurations, which are datasets of their own."""
    names = configurations(folder / CARD)
    if len(names) > 1:
        shown = ", ".join(name[:100] for name in names[:20])
        raise BssError(
            f"{folder}: {CARD} lists {len(names)} configurations, datasets of their own: {shown}. Name the folder or "
            "the files of one of them in prepare.manifest."
        )


def configurations(card: Path) -> list[str]:
    """Return the names of the configurations in a card's header; none if it lists none or cannot be read."""
    try:
        with card.open("rb") as file:
            text = file.read(MOST_BYTES).decode("utf-8-sig", "replace").replace("\r\n", "\n")
        header = _HEADER.match(text)
        found = parse_yaml(header[1], str(card)).get("configs") if header else None
    except (OSError, BssError):
        return []
    listed = found if isinstance(found, list) else []
    return [str(one["config_name"]) for one in listed if isinstance(one, dict) and "config_name" in one]
