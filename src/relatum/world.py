"""The processes that train together. The only file that imports torch.distributed for maths.

Every function is called by all processes, in the same order; alone, each does nothing.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

if dist.is_available() and not dist.is_initialized():
    # DDP imports this module. When the processes have met before, its functions' defaults hold
    # their group for good: gloo's threads outlive the interpreter, and may abort a process that
    # has done all its work. So it is imported first.
    import torch.distributed.nn.functional


def size() -> int:
    """How many processes train together; 1 when this one is alone."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def shares(length: int) -> tuple[int, ...]:
    """How a batch is shared out: as evenly as can be, the first processes have one row more.

    Example:
        >>> shares(10)
        (10,)
    """
    each, more = divmod(length, size())
    return tuple(each + (place < more) for place in range(size()))


def own(length: int) -> slice:
    """This process's part of a batch that is shared out so."""
    lengths = shares(length)
    first = sum(lengths[: rank()])
    return slice(first, first + lengths[rank()])


def counts(length: int, device: torch.device) -> tuple[int, ...]:
    """How many rows every process holds, in the order of ranks.

    Waits for the device, so it is asked only where ``Batch.shares`` does not say it.
    """
    if size() == 1:
        return (length,)
    mine = torch.tensor([length], device=device)
    every = [torch.empty_like(mine) for _ in range(size())]
    dist.all_gather(every, mine)
    return tuple(int(each) for each in torch.cat(every).tolist())


def gather(rows: Tensor, lengths: Sequence[int]) -> Tensor:
    """The rows of all processes, in the order of ranks, with gradient.

    The gradient of a row is the sum of what all processes send it, so that after DDP's mean a
    loss which every process computes on the gathered rows trains exactly as one process would
    on the whole batch.

    Args:
        rows: this process's part; further axes must agree everywhere, lengths need not.
        lengths: how many rows each holds.
    """
    if len(lengths) == 1:
        return rows
    gathered: Tensor = _Gather.apply(rows, tuple(lengths))
    return gathered


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, lengths: tuple[int, ...]) -> Tensor:
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


@torch.no_grad()
def average(tensors: Iterable[Tensor]) -> None:
    """Put the mean over all processes in place of every tensor.

    They travel as one, in the order given, so a sum has the same bits whenever it is taken.
    """
    if size() == 1:
        return
    some = list(tensors)
    for kind in dict.fromkeys((each.dtype, each.device) for each in some):
        alike = [each for each in some if (each.dtype, each.device) == kind]
        flat = torch.cat([each.reshape(-1) for each in alike])
        dist.all_reduce(flat)
        parts = (flat / size()).split([each.numel() for each in alike])  # type: ignore[no-untyped-call]
        for each, part in zip(alike, parts, strict=True):
            each.copy_(part.view_as(each))


@torch.no_grad()
def mean(rows: Tensor) -> Tensor:
    """The mean over all processes, summed in the order of ranks: its bits never vary."""
    if size() == 1:
        return rows
    every = [torch.empty_like(rows) for _ in range(size())]
    dist.all_gather(every, rows.contiguous())
    return torch.stack(every).mean(0)


@torch.no_grad()
def alike(tensors: Iterable[Tensor]) -> None:
    """Put what the first process holds in place of every tensor."""
    if size() > 1:
        for each in tensors:
            dist.broadcast(each, 0)
