"""What a loss remembers of earlier batches: functions on tensors that belong to the loss.

Shape legend: B = batch, C = candidates of a sample, D = dimension, K = rows that a queue holds,
N = rows of a bank, one for each sample of the set.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from relatum import blocks, relations
from relatum.types import Fault

AT_ONCE = 2**25
"""Entries of a matrix of batch by bank that are held at a time: 128 MiB in float32. It is more than
``blocks.AT_ONCE``, for every block reads all of the bank, and few such matrices are held."""


def unit_rows(size: int, dim: int, generator: torch.Generator | None = None) -> Tensor:
    """A K×D matrix of random directions, each row of length one.

    Raises:
        Fault: memory cannot hold it.
    """
    try:
        return F.normalize(torch.randn(size, dim, generator=generator), dim=1)
    except RuntimeError as error:  # torch's, which says no more than that
        raise Fault(
            f"there is not enough memory for a queue of {size} rows of {dim} numbers; choose a"
            " smaller queue_size"
        ) from error


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


@torch.no_grad()
def blend(bank_ND: Tensor, places_B: Tensor, rows_BD: Tensor, momentum: float) -> None:
    r"""Move rows of a bank towards new ones: :math:`m \leftarrow \widehat{\mu m + (1-\mu) r}`.

    A place that comes twice in a batch gets the mean of its rows, whatever their order.

    Args:
        bank_ND: written in place.
        places_B: which rows.
        rows_BD: what they move towards, on the scale of one.
        momentum: how much stays of what was there, from 0 to 1.
    """
    rows_BD = rows_BD.detach().to(bank_ND.dtype)
    found = [_alike(own, places_B, rows_BD) for (own,) in blocks.split(len(places_B), places_B)]
    first_B, mean_BD = (torch.cat(parts) for parts in zip(*found, strict=True))
    moved_BD = momentum * bank_ND.index_select(0, places_B) + (1 - momentum) * mean_BD
    bank_ND.index_copy_(0, places_B, relations.unit(moved_BD).index_select(0, first_B))


def _alike(own_R: Tensor, places_B: Tensor, rows_BD: Tensor) -> tuple[Tensor, Tensor]:
    """For some places, the first row of the batch at the same place, and the mean of all such."""
    same_RB = own_R[:, None] == places_B
    first_R = same_RB.int().argmax(1)  # one of each, for twice the same place is a race
    return first_R, same_RB.to(rows_BD.dtype) @ rows_BD / same_RB.sum(1, keepdim=True)


def similarities(rows_BD: Tensor, bank_ND: Tensor, places_BC: Tensor) -> Tensor:
    """The B×C dot products of every row with its own choice of a bank's rows.

    By a product with the whole bank, of which the choice is kept: for thousands of candidates
    that is many times faster, and D times smaller, than to gather B×C×D numbers first.
    """
    parts = [
        (rows @ bank_ND.T).gather(1, places)
        for rows, places in blocks.split(len(bank_ND), rows_BD, places_BC, at_once=AT_ONCE)
    ]
    return torch.cat(parts)


def combine(weights_BC: Tensor, bank_ND: Tensor, places_BC: Tensor) -> Tensor:
    """The B×D sums of every sample's choice of a bank's rows, each at its weight."""
    size = len(bank_ND)
    parts = [
        weights.new_zeros(len(weights), size).scatter_add_(1, places, weights) @ bank_ND
        for weights, places in blocks.split(size, weights_BC, places_BC, at_once=AT_ONCE)
    ]
    return torch.cat(parts)


@torch.no_grad()
def draw(places_B: Tensor, count: int, key: Tensor, others: Tensor | int) -> Tensor:
    """For every sample that many other ones, at random, none of them twice: B×C.

    Each row is a uniform choice of its own, independent of the others', and a function of the
    key and of the row's place alone: whoever draws, in whatever batch, on whatever device,
    draws the same set, so that ranks need not exchange it and a checkpoint only saves the key.
    Every sample is given a pseudo-random number, and those with the largest ones are chosen.

    Args:
        places_B: whom the choice is for.
        count: how many each; at most as many as there are.
        key: an integer tensor of no dimensions; another key, another choice.
        others: N labels, and the choice is among other classes than the sample's own; or just
            N, and it is among all samples but itself.
    """
    labels_N = others if isinstance(others, Tensor) else None
    size = others if isinstance(others, int) else len(others)
    every_N = _mix(torch.arange(size, dtype=torch.int32, device=places_B.device))
    own_B = _mix(_mix(key.to(places_B.device, torch.int32, copy=True)) ^ places_B.int())
    chosen: list[Tensor] = []
    at_once = blocks.in_cache(places_B.device, AT_ONCE)
    for places, own in blocks.split(size, places_B, own_B, at_once=at_once):
        lots = _mix(every_N ^ own[:, None])  # no two of a row alike: ties would go by the device
        lots.clamp_min_(_LOWEST + 1)  # above those of whom may not be chosen
        if labels_N is None:
            lots.scatter_(1, places[:, None], _LOWEST)
        else:
            lots.masked_fill_(labels_N == labels_N[places][:, None], _LOWEST)
        chosen.append(_largest(lots, count))
    return torch.cat(chosen)


def _largest(numbers: Tensor, count: int) -> Tensor:
    """Where each row has that many of its largest numbers, in any order."""
    if numbers.device.type != "cpu" or torch.compiler.is_compiling():
        return numbers.topk(count, dim=1, sorted=False).indices
    # selects by vector instructions, in a quarter of topk's time
    places = torch.from_numpy(np.argpartition(numbers.numpy(), -count, axis=1))
    return places[:, -count:].clone()  # lest all of them be kept


@torch.no_grad()
def integers(count: int, columns: int, below: int, key: Tensor) -> Tensor:
    r"""Integers from 0 to ``below`` - 1, at random, with repetition: count×columns.

    All are uniform and independent, but for a share of ``below`` :math:`/ 2^{32}`, and a function
    of the key and of their place: as with ``draw``, every rank and every device has the same.

    Args:
        count: how many rows.
        columns: how many of each row.
        below: above the largest one.
        key: an integer tensor of no dimensions; another key, other integers.
    """
    key = _mix(key.to(torch.int32, copy=True))
    numbers_N = torch.arange(count, dtype=torch.int32, device=key.device)
    drawn: list[Tensor] = []
    for _ in range(columns):
        numbers_N = _mix(numbers_N ^ key)  # of the column before: none is like another
        key = _mix(key ^ _LOWEST)  # by what no row is: a row's number must not become its key
        drawn.append(numbers_N.remainder(below).long())
    return torch.stack(drawn, dim=1)


_LOWEST = -(2**31)


def _mix(number: Tensor) -> Tensor:
    """Scatter numbers over all of int32, one to one, so that no pattern is left; in place.

    Shifts and products as at the end of MurmurHash3, with the constants that Wellons's search
    for low bias found (nullprogram.com/blog/2018/07/31): exact and cheap on every device.
    """
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B - 2**32)):
        number ^= (number >> shift).bitwise_and_(2 ** (32 - shift) - 1)
        number *= factor
    number ^= (number >> 16).bitwise_and_(0xFFFF)
    return number
