"""What a loss remembers of earlier batches: functions on tensors that belong to the loss.

Shape legend: B = batch, D = dimension, K = rows that the memory holds.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def unit_rows(size: int, dim: int, generator: torch.Generator | None = None) -> Tensor:
    """A K×D matrix of random directions, each row of length one."""
    return F.normalize(torch.randn(size, dim, generator=generator), dim=1)


@torch.no_grad()
def enqueue(queue_KD: Tensor, pointer: Tensor, rows_BD: Tensor) -> None:
    """Overwrite the oldest rows of a circular memory, in order, and move its pointer.

    Any batch size will do: a batch that reaches the end goes on at the beginning, and of a
    batch larger than the memory the last K rows stay.

    Args:
        queue_KD: written in place.
        pointer: where the next row goes, a tensor of no dimensions on the queue's device, so
            that nothing waits for it; moved in place.
        rows_BD: what to remember, oldest first.
    """
    size, count = len(queue_KD), len(rows_BD)
    kept = min(size, count)
    places = (pointer + torch.arange(count - kept, count, device=pointer.device)) % size
    queue_KD.index_copy_(0, places, rows_BD[count - kept :].detach().to(queue_KD.dtype))
    pointer.copy_((pointer + count) % size)
