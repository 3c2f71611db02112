"""The one exception whose message is meant for the user."""

PIPELINE_PACKAGES = "run `make setup` in a clone, or `pip install -c requirements.lock '.[pipeline]'`"
"""How to install what the pipeline needs beyond `bss.balance`."""


class BssError(Exception):
    """Something the user can mend.

    The message names the file, row or key, what was found, and what would be right. The command
    line prints it without a traceback and exits with status 1.
    """
