"""The one exception whose message is meant for the user."""

LIMIT = 20
"""Problems that are listed one by one."""


class BssError(Exception):
    """Something the user can mend.

    The message names the file, row or key, what was found, and what would be right. The command
    line prints it without a traceback and exits with status 1.
    """


def raise_problems(source: str, problems: list[str], cure: str) -> None:
    """Raise one `BssError` that lists up to 20 of `problems` and how many more there are; none: return."""
    if not problems:
        return
    lines = [f"{source}: {len(problems)} problem{'s' if len(problems) > 1 else ''}"]
    lines += [f"  {problem}" for problem in problems[:LIMIT]]
    if len(problems) > LIMIT:
        lines.append(f"  ... and {len(problems) - LIMIT} more")
    raise BssError("\n".join([*lines, cure]))


def shown(value: object) -> str:
    """Return `value` as messages repeat it: not more than its first 100 letters."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]} ..."
