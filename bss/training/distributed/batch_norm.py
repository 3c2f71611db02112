"""Batch normalisation with statistics of the global batch, for any number of ranks."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm


class GlobalBatchNorm(_BatchNorm):
    """SyncBatchNorm for CPU, which torch does not provide: inputs [batch, channels, ...], batch >= 0.

    Collective in train mode: every rank must call it, in the same order. Mean and variance are those of all ranks'
    samples, so they and the running statistics are the same on all ranks.
    """

    def _check_input_dim(self, inputs: Tensor) -> None:
        if inputs.dim() < 2:
            raise ValueError(f"expected inputs [batch, channels, ...], got {inputs.dim()} dimensions")

    def forward(self, inputs: Tensor) -> Tensor:
        self._check_input_dim(inputs)
        if not self.training:
            return F.batch_norm(inputs, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        dtype, inputs = inputs.dtype, inputs.float() if inputs.dtype == torch.bfloat16 else inputs
        others = [d for d in range(inputs.dim()) if d != 1]
        shape = [-1 if d == 1 else 1 for d in range(inputs.dim())]
        count = torch.full((), float(inputs.numel() // inputs.shape[1]), device=inputs.device)
        torch.distributed.all_reduce(count)
        mean = _sum_over_ranks(inputs.sum(dim=others)) / count
        centred = inputs - mean.view(shape)
        # Two passes: sum of squares minus squared sum would lose digits if the mean is large.
        variance = _sum_over_ranks(centred.square().sum(dim=others)) / count
        self._track(mean.detach(), variance.detach() * count / (count - 1))
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale.view(shape) + self.bias.view(shape)).to(dtype)

    def _track(self, mean: Tensor, variance: Tensor) -> None:
        assert self.momentum is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)


def share_batch_norm(network: nn.Module) -> None:
    """Change the batch normalisations in `network` to use statistics over all ranks.

    Parameters, buffers and their names stay, so the trained network loads into an unchanged one.
    """
    for name, child in network.named_children():
        if not isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            share_batch_norm(child)
        elif next(child.parameters()).is_cuda:
            setattr(network, name, nn.SyncBatchNorm.convert_sync_batchnorm(child))
        else:
            shared = GlobalBatchNorm(child.num_features, child.eps, child.momentum, dtype=child.weight.dtype)
            shared.load_state_dict(child.state_dict())
            setattr(network, name, shared)


def _sum_over_ranks(tensor: Tensor) -> Tensor:
    total: Tensor = _SumOverRanks.apply(tensor)
    return total


class _SumOverRanks(torch.autograd.Function):
    """All-reduce whose gradient is the all-reduce of the gradients: every rank's loss depends on the sum."""

    @staticmethod
    def forward(context: Any, tensor: Tensor) -> Tensor:
        return _all_reduced(tensor)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        return _all_reduced(gradients[0])


def _all_reduced(tensor: Tensor) -> Tensor:
    total = tensor.contiguous().clone()
    torch.distributed.all_reduce(total)
    return total
