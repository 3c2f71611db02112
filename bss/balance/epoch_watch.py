"""Warnings about epochs that end early, run backwards or are repeated."""

import warnings

STACKLEVEL = 4
"""Stack level of the line that calls `set_epoch`, seen from `EpochWatch.check`."""


class EpochWatch:
    """Tracks how far the current epoch was iterated; warns once per kind, because a loop may do it on purpose."""

    def __init__(self) -> None:
        self.furthest = 0
        """The most indices of the current epoch that one iteration has yielded."""
        self._warned: set[str] = set()

    def reached(self, position: int) -> None:
        """Record that an iteration of the current epoch has yielded `position` indices."""
        self.furthest = max(self.furthest, position)

    def check(self, epoch: int, following: int, steps: int, spare: int) -> None:
        """Warn if `following` comes before `epoch`, or if `epoch`, which has `steps` indices, ended early.

        An epoch that was never iterated did not end early, nor did one with fewer than `spare` indices left (a
        dropped last batch). Afterwards `furthest` is 0.
        """
        if following < epoch:
            self._warn(
                "backwards",
                f"the epoch goes back from {epoch} to {following}, but scores and observations do not. Make a new "
                "SequenceSampler for a new run; after load_state_dict start the loop at sampler.epoch, and set "
                "a trainer to resume from the same epoch",
            )
        elif self.furthest and steps - self.furthest >= spare:
            self._warn(
                "early",
                f"epoch {epoch} ended after {self.furthest} of {steps} samples. If your loop has no `break`, it uses "
                "the len(loader) of a shorter epoch: do not call set_epoch before a trainer's fit() or train(), or "
                "pass num_samples= to keep every epoch at one length. With drop_last=True pass minimum=batch_size",
            )
        self.furthest = 0

    def _warn(self, kind: str, message: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            warnings.warn(message, stacklevel=STACKLEVEL)


def warn_of_repeat(epoch: int) -> None:
    """Warn that `epoch` is iterated a second time; called by the generator that a loader iterates."""
    warnings.warn(
        f"epoch {max(epoch, 0)} is iterated a second time, in the same order: call "
        "sampler.set_epoch(epoch) before each epoch",
        stacklevel=3,
    )
