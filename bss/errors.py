"""The one exception whose message is meant for the user."""


class BssError(Exception):
    """Something the user can mend.

    The message names the file, row or key, what was found, and what would be right. The command
    line prints it without a traceback and exits with status 1.
    """
