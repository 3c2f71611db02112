"""Upload to MLflow what could not be sent during training."""

from pathlib import Path

from bss.console import make_console
from bss.errors import BssError
from bss.files import held
from bss.tracking.destination import recorded_uri, unreachable
from bss.tracking.journal import Journal, end_abandoned, spool_folder, unsent
from bss.tracking.replay import Replay
from bss.tracking.sender import remove_empty, send_all


def sync(runs: Path) -> None:
    """Upload the journals of the trials in `runs`; existing records are not changed.

    If killed at any moment and called again, nothing is missing or duplicated. Raises `BssError` if the
    tracking store does not answer or rejects a record, or if a trial is running in `runs`.
    """
    console = make_console()
    spool = spool_folder(runs)
    if not runs.is_dir() and not spool.is_dir():
        raise BssError(f"--runs {runs}: does not exist. Give the folder of the trials, such as outputs/runs.")
    if not unsent(spool):
        console.print(f"sync: nothing to send, {spool} has no unsent runs", highlight=False, soft_wrap=True)
        return
    with held(runs), held(spool):
        end_abandoned(spool, (journal.folder.name for journal in unsent(spool)))
        left = unsent(spool)
        for uri in dict.fromkeys(_recorded_uri(journal) for journal in left):
            _send(spool, uri)
        missing = len(unsent(spool))
        remove_empty(spool)
    console.print(f"sync: {len(left) - missing} runs sent", highlight=False, soft_wrap=True)


def _recorded_uri(journal: Journal) -> str:
    return recorded_uri(journal.uri() or "")


def _send(spool: Path, uri: str) -> None:
    try:
        send_all(spool, Replay(uri), lambda journal: _recorded_uri(journal) == uri)
    except BssError:
        raise
    except Exception as error:
        raise BssError(f"{unreachable(uri, error)}\n{len(unsent(spool))} runs are still in {spool}.") from error
