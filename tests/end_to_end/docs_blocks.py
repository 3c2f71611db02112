"""The fenced blocks of README.md and docs/*.md, and the commands that they show."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[2]
PAGES = ("README.md", *sorted(f"docs/{path.name}" for path in (PROJECT / "docs").glob("*.md")))
SHELL = ("", "sh", "bash", "shell", "console")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.M | re.S)
COMMENT = re.compile(r"(?:^|\s+)#\s")


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, its language ("" if it names none), its text, and its line in the page."""

    page: str
    language: str
    text: str
    line: int

    @property
    def first_line(self) -> str:
        return self.text.strip().partition("\n")[0].strip()


def page_text(page: str) -> str:
    return (PROJECT / page).read_text(encoding="utf-8")


def blocks(page: str) -> list[Block]:
    text = page_text(page)
    return [Block(page, m[1], m[2], text.count("\n", 0, m.start()) + 1) for m in FENCE.finditer(text)]


def commands(text: str) -> list[str]:
    """Return the commands of a shell block: one a line, unless a backslash or an open quote continues it.

    Comments are left out, and each run of spaces outside of quotes is one space.
    """
    found, unfinished = [], ""
    for line in text.splitlines():
        command = _without_comment(line.removeprefix("$ "))
        unfinished += f"\n{command}" if unfinished else command
        if unfinished.endswith("\\"):
            unfinished = unfinished[:-1].rstrip() + " "
            continue
        if _quotes_are_closed(unfinished):
            found.append(unfinished)
            unfinished = ""
    assert not unfinished, f"a quote or a backslash is left open: {unfinished}"
    return [_one_space(command) for command in found if command.strip()]


def _without_comment(line: str) -> str:
    starts = [m.start() for m in COMMENT.finditer(line)]
    return line[: next((start for start in starts if _quotes_are_closed(line[:start])), len(line))]


def _quotes_are_closed(text: str) -> bool:
    try:
        shlex.split(text)
    except ValueError:
        return False
    return True


def _one_space(command: str) -> str:
    parts = re.split(r"""('[^']*'|"[^"]*")""", command.strip())
    return "".join(part if i % 2 else re.sub(r"\s+", " ", part) for i, part in enumerate(parts))


def inline_code(page: str) -> list[str]:
    """Return what stands in backticks in the running text of a page, a line break in it as a space."""
    text = FENCE.sub("", page_text(page))
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", text)]
