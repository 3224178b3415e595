"""A value whose slope is found along with it, so that nothing large waits for the backward pass."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from relatum.types import Scalar


def sloped(value: Scalar, rows: tuple[Tensor, ...], slopes: tuple[Tensor, ...]) -> Scalar:
    """A value that is known, as a function of some tensors by which its slopes are known.

    Args:
        value: built without a graph.
        rows: what it depends on.
        slopes: its derivative by each of them, of the same shape.
    """
    if not rows:
        return value
    result: Scalar = _Sloped.apply(value, *slopes, *rows)
    return result


class _Sloped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, *given: Tensor) -> Tensor:
        ctx.save_for_backward(*given[: len(given) // 2])
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        slopes = ctx.saved_tensors
        return None, *(None for _ in slopes), *(grad * slope for slope in slopes)
