"""Write audit.html, as one file or with a folder of media."""

import base64
import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bss.audit.page.content import Address, Addresses, content_of, earlier_decisions, rows_of
from bss.audit.page.media import TYPES, media_of
from bss.audit.shares import Shares, ranked, stands_out
from bss.audit.terminal import MEANING, percentages
from bss.config import Config
from bss.data.decisions import DIGITS, dataset_of
from bss.data.store import Store
from bss.files import digest_file, whole_file, whole_folder
from bss.report.downloads import data_url

PAGE = "audit.html"
MEDIA = "media"
"""Folder of pictures and sounds, below that of the audit."""
FILE_BYTES = 24 << 20
"""Maximum number of bytes of media that `page: auto` puts into the file."""
MOST_ROWS = 200
"""Longest table by group or class, in rows."""
SCRIPTS = ("decisions.js", "filters.js", "cards.js", "relabel.js", "page.js")
"""One script, in this order."""


def write_page(
    config: Config, store: Store, summary: Mapping[str, Any], columns: Mapping[str, Sequence[Any]], folder: Path
) -> dict[str, Any] | None:
    """Write the page about the first rows of the table `columns`; return its form, samples and sha256.

    None with `page: none`, which removes an earlier page. The folder of media is named by the table, so no page
    shows the media of another audit.
    """
    if config.audit.page == "none":
        (folder / PAGE).unlink(missing_ok=True)
        _remove_media(folder / MEDIA, None)
        return None
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    shown = rows[: config.audit.page_samples]
    media = folder / MEDIA / summary["table"][:12]
    with whole_folder(media) as unfinished:
        files = _write_media(store, rows_of(store, shown), unfinished)
        total = sum(path.stat().st_size for path in unfinished.iterdir())
        inside = config.audit.page == "file" or (config.audit.page == "auto" and total <= FILE_BYTES)
        addresses = {
            row: {name: _addresses(unfinished, of, media.name, inside) for name, of in by_modality.items()}
            for row, by_modality in files.items()
        }
    page = render_page(store, summary, rows, len(shown), addresses)
    with whole_file(folder / PAGE) as file:
        file.write_text(page, encoding="utf-8")
    _remove_media(folder / MEDIA, None if inside else media)
    form = "file" if inside else "folder"
    return {"form": form, "samples": len(shown), "sha256": digest_file(folder / PAGE)}


def render_page(
    store: Store,
    summary: Mapping[str, Any],
    rows: list[dict[str, Any]],
    shown: int,
    addresses: Addresses,
) -> str:
    """Return the page about the first `shown` of the audit's `rows`; `addresses` are those of the media."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader

    loader = ChoiceLoader([PackageLoader("bss.audit.page", "."), PackageLoader("bss.report", ".")])
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True)
    script = "\n".join((Path(__file__).parent / name).read_text(encoding="utf-8") for name in SCRIPTS)
    dataset = dataset_of(store.path)[:DIGITS]
    content = content_of(store, dataset, earlier_decisions(store), rows, shown, addresses)
    by = {"group": _shares_table(summary["groups"]), "class": _shares_table(summary["classes"])}
    return environment.get_template("page.html").render(
        name=store.name,
        summary=summary,
        meaning=MEANING,
        by=by,
        most=MOST_ROWS,
        shown=shown,
        audited=len(rows),
        modalities=list(store.modalities),
        # "<" would let a text end the element that holds it.
        content=json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"),
        script=script,
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _shares_table(shares: Mapping[str, Shares]) -> list[dict[str, Any]]:
    """Return value, kind, texts and whether it stands out, for each share with a likely sample."""
    return [
        {
            **{"value": value, "kind": kind, "out": stands_out(own)},
            "cells": [f"{own['likely']} of {own['n']}", *percentages(own)],
        }
        for value, kind, own in ranked(shares)
    ]


def _write_media(store: Store, rows: Sequence[int], folder: Path) -> dict[int, dict[str, dict[str, str]]]:
    """Write what shows the samples at `rows`; return the file names by row, modality and suffix."""
    found: dict[int, dict[str, dict[str, str]]] = {row: {} for row in rows}
    for name, modality in store.modalities.items():
        for row in rows:
            files = found[row][name] = {}
            for suffix, content in media_of(modality, store.sample(name, row)).items():
                files[suffix] = f"{row}-{name}{suffix}"
                (folder / files[suffix]).write_bytes(content)
    return found


def _addresses(folder: Path, files: Mapping[str, str], name: str, inside: bool) -> Address:
    """Return the addresses of `files` in `folder`, which will be called `name`, by suffix."""
    if inside:
        return {suffix: data_url((folder / file).read_bytes(), TYPES[suffix]) for suffix, file in files.items()}
    return {suffix: f"{MEDIA}/{name}/{file}" for suffix, file in files.items()}


def _remove_media(folder: Path, keep: Path | None) -> None:
    """Remove the folders of media but `keep`, and `folder` itself if it is empty then."""
    for path in folder.glob("*"):
        if path != keep and path.is_dir() and not path.is_symlink():  # a file browser leaves files of its own here
            shutil.rmtree(path)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
