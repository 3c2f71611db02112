"""The audit's page as an artifact: a file, or what leads to it."""

import html
import shutil
from pathlib import Path

from bss.audit.page.write import MEDIA, PAGE
from bss.audit.results import SUMMARY
from bss.files import read_json

FRAME = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>Audit</title>
<body style="font-family: sans-serif; max-width: 50em">
{}
</body></html>
"""


def write_audit_page(folder: Path, address: str, target: Path) -> None:
    """Write the page of the audit in `folder` to `target`, or how to get it if it is no single file.

    `address` is where the folder will be stored, such as a URL of the artifact.
    """
    page = read_json(folder / SUMMARY, "audit")["page"]
    if page is not None and page["form"] == "file":
        shutil.copyfile(folder / PAGE, target)
        return
    if page is None:
        found = "<p>audit.page: none, so the audit wrote no page. Set it to auto, file or folder.</p>"
    else:
        found = (
            f"<p>The page about {page['samples']} samples has its pictures and sounds in the folder {MEDIA} next to "
            "it, so it cannot be shown here.</p>\n"
            f"<p>Download the artifact <code>found</code>, the folder <code>{html.escape(address)}</code>, and open "
            f"<code>{PAGE}</code> in it. Or have one file made from now on: <code>audit.page: file</code>, with fewer "
            "<code>audit.page_samples</code> if it becomes too large.</p>"
        )
    target.write_text(FRAME.format(found), encoding="utf-8")
