"""Operations without a deterministic CUDA implementation, as listed in torch's documentation.

Source: the docstring of ``torch.use_deterministic_algorithms`` in torch 2.13.0, and the calls of
``alertNotDeterministic`` in the CUDA kernels (aten/src/ATen/native/cuda), which raise in that mode. Operations with
another kernel in that mode (convolutions, index_add, index_put, index_select, gather, scatter, scatter_add,
scatter_reduce of sum and mean, repeat_interleave, replication padding, max_pool3d) are not among them. A gradient
that is deterministic only in that mode (flash and memory-efficient attention) is not listed either.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

Arguments = Mapping[str, Any]
"""Arguments of a call, by the names in the operator's schema, with defaults filled in."""


@dataclass(frozen=True)
class Nondeterministic:
    """One entry of the list."""

    documented: tuple[str, ...]
    """Names of the operation in the documentation; empty if only the kernel source mentions it."""
    operators: tuple[str, ...]
    """The aten operators that raise, without overloads."""
    when: Callable[[Arguments], bool] = lambda arguments: True
    """Whether a call with these arguments raises."""


def _is_floating(arguments: Arguments) -> bool:
    tensor: Tensor = arguments["self"]
    return tensor.is_floating_point() or tensor.is_complex()


NONDETERMINISTIC = (
    Nondeterministic(("torch.nn.AvgPool3d",), ("avg_pool3d_backward",)),
    # Pooling to 1 x 1 is a mean, which is a different operator.
    Nondeterministic(("torch.nn.AdaptiveAvgPool2d",), ("_adaptive_avg_pool2d_backward",)),
    Nondeterministic(("torch.nn.AdaptiveAvgPool3d",), ("_adaptive_avg_pool3d_backward",)),
    Nondeterministic(("torch.nn.AdaptiveMaxPool2d",), ("adaptive_max_pool2d_backward",)),
    Nondeterministic(("torch.nn.FractionalMaxPool2d",), ("fractional_max_pool2d_backward",)),
    Nondeterministic(("torch.nn.FractionalMaxPool3d",), ("fractional_max_pool3d_backward",)),
    Nondeterministic(("torch.nn.MaxUnpool1d", "torch.nn.MaxUnpool2d"), ("max_unpool2d",)),
    Nondeterministic(("torch.nn.MaxUnpool3d",), ("max_unpool3d",)),
    Nondeterministic(
        ("torch.nn.functional.interpolate",),
        (
            *("upsample_linear1d_backward", "upsample_bilinear2d_backward", "upsample_bicubic2d_backward"),
            *("upsample_trilinear3d_backward", "_upsample_bilinear2d_aa_backward", "_upsample_bicubic2d_aa_backward"),
        ),
    ),
    Nondeterministic(("torch.nn.ReflectionPad1d",), ("reflection_pad1d_backward",)),
    Nondeterministic(("torch.nn.ReflectionPad2d",), ("reflection_pad2d_backward",)),
    Nondeterministic(("torch.nn.ReflectionPad3d",), ("reflection_pad3d_backward",)),
    # Per-sample classes use a different operator; here a mean or sum over pixels raises.
    Nondeterministic(("torch.nn.NLLLoss",), ("nll_loss2d_forward",), lambda arguments: arguments["reduction"] != 0),
    Nondeterministic(("torch.nn.CTCLoss",), ("_ctc_loss_backward",)),
    Nondeterministic(
        ("torch.nn.EmbeddingBag",),
        ("_embedding_bag_backward", "_embedding_bag_dense_backward"),
        lambda arguments: arguments["mode"] == 2,  # max
    ),
    Nondeterministic(("torch.Tensor.put_",), ("put", "put_")),
    Nondeterministic(("torch.histc",), ("histc",), _is_floating),
    Nondeterministic(("torch.bincount",), ("bincount",), lambda arguments: arguments["weights"] is not None),
    Nondeterministic(("torch.median",), ("median", "nanmedian"), lambda arguments: "dim" in arguments),
    Nondeterministic(
        ("torch.nn.functional.grid_sample",),
        ("grid_sampler_2d_backward", "grid_sampler_3d_backward", "cudnn_grid_sampler_backward"),
    ),
    Nondeterministic(("torch.cumsum",), ("cumsum", "cumsum_"), _is_floating),
    Nondeterministic(
        ("torch.Tensor.scatter_reduce",),
        ("scatter_reduce", "scatter_reduce_"),
        lambda arguments: arguments["reduce"] == "prod",
    ),
    Nondeterministic(("torch.Tensor.resize_",), ("resize_",), lambda arguments: arguments["self"].is_quantized),
    Nondeterministic((), ("kthvalue",)),
    Nondeterministic((), ("index_reduce", "index_reduce_")),
)
