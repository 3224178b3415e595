"""Rows of a large relation a block at a time, so that memory grows with the block, not the batch.

A loss is a mean, or a sum, over the rows of a relation of batch by batch or by memory. Above a size
the rows are taken in blocks: each is computed, reduced and forgotten, and computed once more when
the backward pass comes to it. Value and gradient are the same up to rounding; below the size
nothing is cut and nothing is computed twice.

What is cut, and where, follows from shapes alone, so it costs no wait for the device and can be
traced.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from relatum.types import Fault

AT_ONCE = 2**22
"""Entries of a relation that are held at a time: 16 MiB in float32, of which a loss and its
gradient hold about ten such matrices. More than this, and the rows are taken in blocks."""
IN_CACHE = 2**18
"""Likewise, of numbers that a processor goes over several times: 1 MiB, which stays near it."""

Tensors = tuple[Tensor, ...]


def in_cache(device: torch.device, most: int | None = None) -> int:
    """Entries of a block that is gone over several times: fewer on a processor, for its cache.

    Args:
        device: where it is computed.
        most: anywhere; ``AT_ONCE`` when ``None``.
    """
    most = AT_ONCE if most is None else most
    return min(IN_CACHE, most) if device.type == "cpu" else most


def fit(entries: int, rows: int) -> bool:
    """Whether so many rows of so many entries each are held at once."""
    return entries * rows <= AT_ONCE or rows < 2


def split(entries: int, *rows: Tensor, at_once: int | None = None) -> list[Tensors]:
    """Cut tensors of equally many rows into blocks: at least one, of at least one row each.

    Args:
        entries: of the relation that are held for each row.
        rows: what is cut, in step.
        at_once: entries that a block holds at most, but for a row that has more; ``AT_ONCE``
            when ``None``.

    Raises:
        Fault: there is something to cut, and not equally many rows.
    """
    per = max(1, (AT_ONCE if at_once is None else at_once) // max(entries, 1))
    if len(rows[0]) <= per:
        return [rows]
    if len({len(each) for each in rows}) > 1:
        lengths = ", ".join(str(len(each)) for each in rows)
        raise Fault(f"student and teacher must be of the same samples, got batches of {lengths}")
    return list(zip(*(torch.split(each, per) for each in rows), strict=True))


def each(
    function: Callable[..., Tensor], entries: int, rows: Tensors, whole: Tensors = ()
) -> list[Tensor]:
    """What a function gives for every block, none of which outlives its turn.

    Args:
        function: takes some rows of each of ``rows``, then all of ``whole``. It draws nothing at
            random and changes nothing, for it may be called again by the backward pass. What it
            reads and a gradient goes to, or may change until then, is an argument: autograd
            refuses an argument that has changed.
        entries: of the relation that it holds for each row.
        rows: tensors that are cut into blocks, in step.
        whole: tensors that every block needs all of.
    """
    parts = split(entries, *rows)
    if len(parts) == 1:
        return [function(*rows, *whole)]
    # nothing is random, and to keep the generator's state would wait for the device
    return [
        checkpoint(function, *part, *whole, use_reentrant=False, preserve_rng_state=False)
        for part in parts
    ]


def mean(
    function: Callable[..., Tensor], entries: int, rows: Tensors, whole: Tensors = ()
) -> Tensor:
    """The mean over all rows of a function that gives the mean over some (see ``each``)."""
    count = len(rows[0])
    if fit(entries, count):
        return function(*rows, *whole)

    def share(*given: Tensor) -> Tensor:
        return function(*given) * (len(given[0]) / count)

    return total(share, entries, rows, whole)


def total(
    function: Callable[..., Tensor], entries: int, rows: Tensors, whole: Tensors = ()
) -> Tensor:
    """The sum over all rows of a function that gives the sum over some (see ``each``)."""
    values = each(function, entries, rows, whole)
    return values[0] if len(values) == 1 else torch.stack(values).sum(0)
