"""What the stage writes while the audit is off: DVC warns about an empty folder on every run."""

from pathlib import Path

NOTE = "off.txt"


def write_note(folder: Path) -> None:
    """Write into an empty or missing `folder` that the audit is off; an earlier audit stays as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.iterdir()):
        text = "There is no audit: audit.enabled in params.yaml is false. `bss audit` audits all the same.\n"
        (folder / NOTE).write_text(text, encoding="utf-8")


def remove_note(folder: Path) -> None:
    """Remove what `write_note` wrote, if it did."""
    (folder / NOTE).unlink(missing_ok=True)
