"""Where people read what a stage prints."""

from rich.console import Console

PLAIN_WIDTH = 120
"""Columns of tables that go to a file or a pipe."""


def make_console() -> Console:
    """Return a console as wide as the terminal, or plain text 120 wide where there is none."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    return console


def make_plain_console() -> Console:
    """Return a console of plain lines, for what is printed while another shows a bar."""
    console = Console(force_terminal=False, highlight=False)
    console.width = PLAIN_WIDTH
    return console
