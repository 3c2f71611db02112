"""Samples that show one modality only: which samples each encoder is run on, and which of them scores observe."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from bss.models.inputs.to_device import to_device
from bss.models.network import MultiModalNetwork, Outputs
from bss.strategies.hooks import ALL, Arranged
from bss.training.distributed.ranks import Ranks

Indices = npt.NDArray[np.int64]


def part_of(arranged: Arranged | None, place: int, length: int) -> Indices | None:
    """Return the only modality that each of `length` samples from `place` on shows, its number; None: all show all."""
    if arranged is None:
        return None
    kept = arranged.kept[place : place + length]
    return None if (kept == ALL).all() else kept


def rows_to_encode(network: MultiModalNetwork, kept: Indices, ranks: Ranks) -> dict[str, Indices]:
    """Return this rank's rows of a part that each encoder is run on; one that no rank needs is left out.

    `kept` is that of the whole part. A sample that alone shows its modality has another one beside it, because batch
    normalisation cannot train on a single sample. Dropout over several ranks draws for whole batches, and so whole
    batches are encoded.
    """
    whole = ranks.count > 1 and any(isinstance(m, nn.Dropout) and m.p > 0 for m in network.modules())
    rows = {}
    for number, name in enumerate(network.encoders):
        shown = np.flatnonzero((kept == ALL) | (kept == number))
        if len(shown) == 0:
            continue
        if whole:
            shown = np.arange(len(kept))
        elif len(shown) == 1 < len(kept):
            shown = np.sort(np.append(shown, (shown[0] + 1) % len(kept)))
        rows[name] = shown[shown % ranks.count == ranks.rank] // ranks.count
    return rows


def observe_whole(
    observe: Callable[[Indices, Outputs, Tensor], None],
    index: Indices,
    outputs: Outputs,
    loss: Tensor,
    kept: Indices | None,
) -> None:
    """Call `observe` for the samples `index` [batch] that show all modalities; `kept` None: all do."""
    if kept is None:
        observe(index, outputs, loss)
        return
    whole = np.flatnonzero(kept == ALL)
    rows = to_device(loss.device, whole)
    logits, features = ({name: x[rows] for name, x in of.items()} for of in (outputs.logits, outputs.features))
    observe(index[whole], Outputs(logits, outputs.fused[rows], features), loss[rows])
