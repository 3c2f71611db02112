"""Try whether ranks can share the batches of a module from outside: a sample's features must depend on it alone.

Torch's batch normalisation and dropout are left out, because ranks share their statistics and draws.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from bss.errors import BssError
from bss.models.encoders.probe import kept_buffers

AGAIN, IN_SHARES = 1e-4, 1e-2
"""Of the largest value: more than rounding changes in a second run, and with the size of the batch."""

Trace = list[tuple[str, Tensor, Tensor]]
"""Name, input and output of each part of a module, in the order in which they end: the module itself is the last."""


def require_independent(module: nn.Module, inputs: Tensor, key: str) -> None:
    """Raise `BssError`, which names `key` and a part of `module`, if ranks would get other features than one process.

    `inputs` are four or more samples, of which each of two ranks would have half. Buffers and random state are as
    before; `module` is in train mode.
    """
    module.train()
    for part in module.modules():
        if isinstance(part, _BatchNorm):
            part.eval()
    devices = [inputs.device] if inputs.device.type == "cuda" else []
    with torch.no_grad(), torch.random.fork_rng(devices=devices), _NoDropout():
        before = _random_states(devices)
        (together, buffers), (again, _) = _trace(module, inputs), _trace(module, inputs)
        drew = any(not torch.equal(a, b) for a, b in zip(before, _random_states(devices), strict=True))
        traces, of_shares = zip(*(_trace(module, share) for share in inputs.tensor_split(2)), strict=True)
    module.train()
    fix = "set train.processes and train.nodes to 1"
    changed = _changed(together, again, AGAIN)
    if changed or drew:
        raise BssError(
            f"{key}: {changed or 'the module'} draws random numbers of its own, which cannot be reproduced across "
            f"processes. Use torch's Dropout alone, without that of attention or recurrent layers, or {fix}."
        )
    if changed := _changed(together, _joined(together, traces), IN_SHARES):
        raise BssError(
            f"{key}: {changed} returns other numbers for a sample if others are in the batch, of which each process "
            f"has a share. For statistics of the batch use torch's BatchNorm1d, 2d or 3d, or {fix}."
        )
    if moved := [name for name, buffer in buffers.items() if not _same(buffer, of_shares[0][name], AGAIN)]:
        raise BssError(
            f"{key}: its buffer {moved[0]} follows the samples in the batch, of which each process has a share: it "
            f"would differ between processes. Make it a parameter or leave it unchanged in train mode, or {fix}."
        )


class _NoDropout(TorchFunctionMode):
    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function is F.dropout:
            return args[0] if args else kwargs["input"]
        return function(*args, **kwargs)


def _random_states(devices: list[torch.device]) -> list[Tensor]:
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in devices)]


def _trace(module: nn.Module, inputs: Tensor) -> tuple[Trace, dict[str, Tensor]]:
    """Run `module`; return its trace and its buffers after the run, which then get their values back.

    Buffers such as spectral normalisation's change in every run, whatever the samples.
    """
    trace: Trace = []

    def hook(name: str) -> Any:
        def note(_: nn.Module, given: tuple[Any, ...], returned: Any) -> None:
            if given and isinstance(given[0], Tensor) and isinstance(returned, Tensor):
                trace.append((name, given[0].clone(), returned.clone()))

        return note

    hooks = [part.register_forward_hook(hook(name)) for name, part in module.named_modules()]
    try:
        with kept_buffers(module):
            module(inputs)
            buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    finally:
        for handle in hooks:
            handle.remove()
    return trace, buffers


def _joined(whole: Trace, traces: tuple[Trace, ...]) -> Trace:
    """Return the traces of the shares of a batch as one of the batch, like that of the `whole`.

    Parts whose values are not of one row per sample, such as positions or texts cut to the longest, keep the whole's.
    """
    joined = []
    for all_at_once, *shares in zip(whole, *traces, strict=False):
        values = [_rows(all_at_once[i], [share[i] for share in shares]) for i in (1, 2)]
        joined.append((all_at_once[0], *values) if None not in values else all_at_once)
    return [*joined[:-1], (whole[-1][0], whole[-1][1], torch.cat([trace[-1][2] for trace in traces]))]


def _rows(whole: Tensor, shares: list[Tensor]) -> Tensor | None:
    """Return the rows of all `shares`, None if they are not the rows of `whole`."""
    if whole.dim() == 0 or any(share.shape[1:] != whole.shape[1:] or share.dim() == 0 for share in shares):
        return None
    rows = torch.cat(shares)
    return rows if rows.shape == whole.shape else None


def _changed(one: Trace, other: Trace, tolerance: float) -> str:
    """Return what returned other values in `other`, the first part that did for the same inputs; empty if none did."""
    if _same(one[-1][2], other[-1][2], tolerance):
        return ""
    pairs = list(zip(one, other, strict=False))
    changed = (a[0] for a, b in pairs if _same(a[1], b[1], tolerance) and not _same(a[2], b[2], tolerance))
    first = next(changed, "")
    return f"its part {first}" if first else "the module"


def _same(a: Tensor, b: Tensor, tolerance: float) -> bool:
    if a.shape != b.shape:
        return False
    a, b = a.double(), b.double()
    scale = float(a.nan_to_num(0, 0, 0).abs().amax()) if a.numel() else 0.0
    return torch.allclose(a, b, rtol=0, atol=tolerance * scale, equal_nan=True)
