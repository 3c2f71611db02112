"""The one exception whose message is meant for the user."""

LIMIT = 20
"""Maximum number of problems listed in one message."""


class BssError(Exception):
    """An error that the user can fix.

    The message names the file, row or key, what was found, and what would be right. The command
    line prints it without a traceback and exits with status 1.
    """


def raise_problems(source: str, problems: list[str], fix: str) -> None:
    """Raise one `BssError` that lists up to 20 of `problems` and counts the rest; return if there are none."""
    if not problems:
        return
    lines = [f"{source}: {len(problems)} problem{'s' if len(problems) > 1 else ''}"]
    lines += [f"  {problem}" for problem in problems[:LIMIT]]
    if len(problems) > LIMIT:
        lines.append(f"  ... and {len(problems) - LIMIT} more")
    raise BssError("\n".join([*lines, fix]))


def first_line(error: BaseException, longest: int = 200) -> str:
    """Return the first line of `error`'s text, at most `longest` characters; its type if it has no text."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:longest]


def shown(value: object) -> str:
    """Return the first 100 characters of `repr(value)`, for messages."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]} ..."
