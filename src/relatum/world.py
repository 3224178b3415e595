"""The processes that train together. The only file that imports torch.distributed for maths."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable


def size() -> int:
    """How many processes train together; 1 when this one is alone."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def counts(length: int, device: torch.device) -> list[int]:
    """How many rows every process holds, in the order of ranks."""
    if size() == 1:
        return [length]
    own = torch.tensor([length], device=device)
    every = [torch.empty_like(own) for _ in range(size())]
    dist.all_gather(every, own)
    return [int(each) for each in torch.cat(every).tolist()]


def gather(rows: Tensor, lengths: list[int]) -> Tensor:
    """The rows of all processes, in the order of ranks, with gradient.

    The gradient of a row is the sum of what all processes send it, so that after DDP's mean a
    loss which every process computes on the gathered rows trains exactly as one process would
    on the whole batch.

    Args:
        rows: this process's part; further axes must agree everywhere, lengths need not.
        lengths: what ``counts`` says.
    """
    if len(lengths) == 1:
        return rows
    gathered: Tensor = _Gather.apply(rows, lengths)
    return gathered


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, lengths: list[int]) -> Tensor:
        ctx.lengths = lengths
        padded = rows.new_zeros(max(lengths), *rows.shape[1:])
        padded[: len(rows)] = rows
        every = [torch.empty_like(padded) for _ in lengths]
        dist.all_gather(every, padded)
        return torch.cat([part[:length] for part, length in zip(every, lengths, strict=True)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        grad = grad.contiguous().clone()
        dist.all_reduce(grad)
        start = sum(ctx.lengths[: rank()])
        return grad[start : start + ctx.lengths[rank()]], None
