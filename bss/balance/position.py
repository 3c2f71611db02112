"""How far the ranks are in an epoch, and what that is for another number of ranks."""

from bss.balance.checks import require


def steps_of(shown: int, ranks: int) -> int:
    """Return how many samples each of `ranks` takes of an epoch that shows `shown`."""
    return -(-shown // ranks)


def position_for(ranks: int, position: int, saved_ranks: int, shown: int) -> int:
    """Return the position of each of `ranks` where each of `saved_ranks` had taken `position` of `shown` samples.

    Raises ``ValueError`` where those do not share out evenly.
    """
    end = steps_of(shown, saved_ranks)
    require(0 <= position <= end, "position", position, f"within 0 .. {end}")
    if position == end:
        return steps_of(shown, ranks)
    taken = position * saved_ranks
    if taken % ranks:
        raise ValueError(
            f"{saved_ranks} ranks had shown {taken} samples of the epoch, which {ranks} ranks cannot share evenly: go "
            f"on with {saved_ranks}, or from a state between two epochs"
        )
    return taken // ranks
