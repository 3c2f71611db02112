"""Adaptive average pooling whose gradient is deterministic on GPUs."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class AveragePool(nn.Module):
    """Maps [batch, channels, *size] to [batch, channels, *pooled], like nn.AdaptiveAvgPool2d.

    Cell i of n over a side of m pixels is the mean of pixels floor(i m / n) to ceil((i + 1) m / n), so neighbouring
    cells may share one pixel. CUDA sums the gradients of such a pixel with atomic additions, in no fixed order; here
    each pixel gathers those of its cells, in the order and, in fp32 and bf16, with the bits of torch on CPU.

    Parameters
    ----------
    size : height and width of the maps.
    pooled : height and width of the result, at most as large.
    """

    def __init__(self, size: tuple[int, int], pooled: tuple[int, int]) -> None:
        super().__init__()
        if not all(1 <= n <= m for n, m in zip(pooled, size, strict=True)):
            raise ValueError(f"maps of {size} cannot be pooled to {pooled}")
        self.size, self.pooled = size, pooled
        for name, m, n in zip(("rows", "columns"), size, pooled, strict=True):
            cells, pixels = _cells_of(m, n)
            self.register_buffer(name, cells, persistent=False)
            self.register_buffer(f"pixels_of_{name}", pixels, persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        if self.pooled == (1, 1):  # torch computes a mean, which is deterministic
            return F.adaptive_avg_pool2d(inputs, 1)
        result: Tensor = _Pool.apply(inputs, self.rows, self.columns, self.pixels_of_rows, self.pixels_of_columns)
        return result


class _Pool(torch.autograd.Function):
    """torch's deterministic pooling, with a deterministic gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(maps: Tensor, rows: Tensor, columns: Tensor, row_pixels: Tensor, column_pixels: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(maps, (len(row_pixels), len(column_pixels)))

    @staticmethod
    def setup_context(context: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        maps, *buffers = inputs
        context.save_for_backward(*buffers)
        context.channels_last = maps.dim() == 4 and maps.shape[1] > 1 and maps.stride(1) == 1

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        rows, columns, row_pixels, column_pixels = context.saved_tensors
        (gradient,) = gradients
        # Divided twice, like torch on CPU, to match the last bit.
        each = gradient / row_pixels.to(gradient.dtype)[:, None] / column_pixels.to(gradient.dtype)
        if not context.channels_last:
            return _gathered(each, rows, columns, -2, -1), None, None, None, None
        # In memory order: it is faster, and the next layer gets the same layout as from torch.
        total = _gathered(each.permute(0, 2, 3, 1), rows, columns, -3, -2)
        return total.permute(0, 3, 1, 2), None, None, None, None


def _gathered(each: Tensor, rows: Tensor, columns: Tensor, down: int, across: int) -> Tensor:
    """Return for each pixel the ordered sum of `each` over its cells; `down` and `across` are their dimensions."""
    parts = [each.index_select(across, columns[0])]
    parts += [_with_zeros(each, across).index_select(across, second) for second in columns[1:]]
    total = sum(parts[1:], parts[0]).index_select(down, rows[0])
    for second in rows[1:]:
        for part in parts:
            total = total + _with_zeros(part, down).index_select(down, second)
    return total


def _with_zeros(x: Tensor, dim: int) -> Tensor:
    """Append zeros to `x` along `dim`, a negative dimension."""
    return F.pad(x, [0, 0] * (-1 - dim) + [0, 1])


def _cells_of(m: int, n: int) -> tuple[Tensor, Tensor]:
    """Return the cells of each of `m` pixels in a row, int64 [1 or 2, m], and the pixels per cell, float [n].

    The second entry is `n` for a pixel in one cell, and absent if no two cells share a pixel.
    """
    cell, pixel = torch.arange(n), torch.arange(m)[:, None]
    start, end = cell * m // n, ((cell + 1) * m + n - 1) // n
    inside = (pixel >= start) & (pixel < end)
    first, count = inside.int().argmax(dim=1), inside.sum(dim=1)
    cells = [first] if count.max() == 1 else [first, torch.where(count == 2, first + 1, n)]
    return torch.stack(cells), (end - start).float()
