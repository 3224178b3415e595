"""Memory for batches, lent again as soon as nobody holds what was made of it."""

import weakref
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from relatum.types import Images

ALIGNED = 64
"""Bytes, as torch aligns its own: sums of some libraries hang on it."""
KEPT = 4
"""Pieces of one size that wait to be lent: as many as an epoch has in hand at its end, which is
two that are decoded ahead, one that is used and one that is made of it. What was held beyond that,
as by who makes a list of an epoch, goes back to the system."""


class Buffers:
    """Batches of one size in the same few pieces of memory.

    A batch of photographs is larger than what malloc keeps, so each would be asked of the system
    anew, which clears every page of it: that took as long again as to fill it.

    Example:
        >>> import numpy as np
        >>> buffers = Buffers()
        >>> first = buffers.lend((2, 3), np.uint8)
        >>> place = first.data_ptr()
        >>> part = first[1:]
        >>> del first
        >>> buffers.lend((2, 3), np.uint8).data_ptr() == place  # a part of it is still used
        False
        >>> del part
        >>> buffers.lend((2, 3), np.uint8).data_ptr() == place
        True
    """

    def __init__(self) -> None:
        self._free: dict[int, list[NDArray[np.uint8]]] = {}

    def lend(self, shape: Sequence[int], kind: DTypeLike) -> Tensor:
        """A tensor on the CPU that holds anything at all."""
        size = prod(shape) * np.dtype(kind).itemsize
        free = self._free.setdefault(size, [])
        try:
            whole = free.pop()
        except IndexError:  # asked for, and not looked for before: another thread may be quicker
            whole = _aligned(size)
        # A new object for every loan: the tensor's storage, and so all its views, hold it.
        loan = whole.view(kind).reshape(shape)
        weakref.finalize(loan, _back, free, whole).atexit = False
        return torch.from_numpy(loan)

    def __getstate__(self) -> dict[str, Any]:
        """Without the memory: a copy asks for its own."""
        return {"_free": {}}

    def scaled(self, pixels: UInt8[Tensor, "some channel height width"]) -> Images:
        """Bytes divided by 255, as floats: on a processor in one pass, into memory that is lent."""
        if pixels.device.type != "cpu":
            return pixels / 255
        images = self.lend(pixels.shape, np.float32)
        # numpy divides while a part is in the cache; torch would first make floats of all of it
        np.divide(pixels.numpy(), np.float32(255), out=images.numpy())
        return images


def _back(free: list[NDArray[np.uint8]], whole: NDArray[np.uint8]) -> None:
    if len(free) < KEPT:  # several threads at once may leave one more, which does no harm
        free.append(whole)


def _aligned(size: int) -> NDArray[np.uint8]:
    whole = np.empty(size + ALIGNED, dtype=np.uint8)
    first = -whole.ctypes.data % ALIGNED
    return whole[first : first + size]
