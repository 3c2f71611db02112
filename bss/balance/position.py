"""Positions of ranks within an epoch, converted between numbers of ranks."""

from bss.balance.checks import require


def steps_of(shown: int, ranks: int) -> int:
    """Return the number of samples per rank in an epoch of `shown` samples."""
    return -(-shown // ranks)


def position_for(ranks: int, position: int, saved_ranks: int, shown: int) -> int:
    """Return the position of each of `ranks` if each of `saved_ranks` had taken `position` of `shown` samples.

    Raises ``ValueError`` if those cannot be divided evenly.
    """
    end = steps_of(shown, saved_ranks)
    require(0 <= position <= end, "position", position, f"within 0 .. {end}")
    if position == end:
        return steps_of(shown, ranks)
    taken = position * saved_ranks
    if taken % ranks:
        raise ValueError(
            f"{saved_ranks} ranks had taken {taken} samples of the epoch, which {ranks} ranks cannot divide evenly: "
            f"resume with {saved_ranks} ranks, or from a state saved between two epochs"
        )
    return taken // ranks
