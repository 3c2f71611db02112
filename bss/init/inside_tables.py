"""Facts about a manifest column whose files may lie inside tables and shards."""

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bss.config.schema import Links
from bss.data.decode.bad_sample import BadSampleError, named
from bss.data.decode.spans import spread
from bss.data.embedded.contents import Contents
from bss.data.embedded.temporary import write_member
from bss.init.column_facts import LOOKED_AT, Facts, look


def look_inside(root: Path, column: Sequence[str], links: Links, contents: Contents) -> Facts:
    """Return what `look` finds; the inspected files that are in `contents` are written to a temporary folder first."""
    filled = [value.strip() for value in column if value.strip()]
    if not any(value in contents for value in filled):
        return look(root, column, links)
    chosen = [filled[i] for i in np.unique(spread(len(filled), LOOKED_AT)).tolist()]
    with tempfile.TemporaryDirectory(prefix="bss-") as temporary:
        files, unreadable = [], []
        for value in chosen:
            try:
                stem = value.rpartition(".")[0] if "." in value.rpartition("::")[2] else value
                files.append(write_member(contents, value, Path(temporary), stem.replace("/", "_")[:100]).name)
            except BadSampleError as error:
                unreadable.append(f"{named(value)}: {error}")
        facts = look(Path(temporary), files, links) if files else Facts(0, Counter(other=len(unreadable)))
    facts.values += len(unreadable)
    facts.unreadable += unreadable
    return facts
