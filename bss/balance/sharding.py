"""Which libraries shard the sequence of a sampler again, found when they start to iterate it."""

import sys
from types import FrameType
from typing import Any

import torch
from torch.utils.data.distributed import DistributedSampler

ACCELERATE = "accelerate.data_loader"


def processes() -> int:
    """Return the size of the default process group, 1 without one."""
    group = torch.distributed
    return group.get_world_size() if group.is_available() and group.is_initialized() else 1


def is_sharded_outside(ranks: int) -> bool:
    """Return whether a library divides among processes what the caller's generator yields.

    Call it from a generator that a loader iterates. Only the call stack knows what consumes a generator: samplers are
    handed from object to object, and each library keeps them under names of its own. The stack is walked once per
    iteration.

    Parameters
    ----------
    ranks : the number of processes among which the caller has already divided the sequence.

    Raises
    ------
    RuntimeError
        The consumer would divide a share of the sequence once more, or shuffle it. The message names the setting.
    """
    consumers = _consumers(sys._getframe(2))
    if any(isinstance(consumer, DistributedSampler) for consumer in consumers):
        raise RuntimeError(
            "a DistributedSampler is wrapped around the SequenceSampler: it shuffles and shards by itself"
            f"{', a second time' if ranks > 1 else ''}. In Lightning set Trainer(use_distributed_sampler=False), and "
            "pass rank= and ranks= to the SequenceSampler"
        )
    accelerate = any(_divides(consumer) for consumer in consumers)
    if accelerate and ranks > 1:
        raise RuntimeError(
            f"this SequenceSampler has ranks={ranks}, and the loader that Accelerate prepared shards it a second time, "
            "so most samples would never be trained on. Either leave rank= and ranks= out (the Hugging Face Trainer "
            "always prepares its loader), or keep the loader out of accelerator.prepare()"
        )
    return accelerate


def _consumers(frame: FrameType | None) -> list[Any]:
    """Collect iterators and Accelerate loaders from the call stack, starting at `frame`.

    Nothing else: reading a frame's variables keeps them alive as long as it runs, a training loop's batch too.
    """
    found = []
    while frame is not None:
        iterates = frame.f_code.co_name == "__iter__" or frame.f_globals.get("__name__") == ACCELERATE
        if iterates and frame.f_code.co_varnames[:1] == ("self",):
            found.append(frame.f_locals.get("self"))
        frame = frame.f_back
    return found


def _divides(consumer: Any) -> bool:
    """Return whether `consumer` is a part of Accelerate that divides batches among several processes."""
    if not any(cls.__module__ == ACCELERATE for cls in type(consumer).__mro__):
        return False
    # BatchSamplerShard has the number itself; DataLoaderDispatcher, which splits batches, has it in its state.
    of_state = getattr(getattr(consumer, "state", None), "num_processes", 1)
    return int(getattr(consumer, "num_processes", of_state)) > 1
