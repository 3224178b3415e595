"""An image set that is decoded while it is used, because decoded it would not fit in memory."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from relatum.data.buffers import Buffers
from relatum.types import Fault, Images

CPU = torch.device("cpu")
AHEAD = 2
"""Batches that are decoded while one is used."""
BUSY = 4
"""Images that wait for each thread at least, however small the batches are."""
AT_ONCE = 8
"""Images that a thread takes at most before it looks for the next ones."""

Decode = Callable[[int], UInt8[Tensor, "channel height width"]]
"""An image by its row in the source; it is called by many threads, in any order."""


def processors() -> int:
    """How many processors this process may use, where several train on a machine its share."""
    usable = getattr(os, "sched_getaffinity", None)  # Linux knows what a process may use
    count = len(usable(0)) if usable else os.cpu_count() or 1
    return max(1, count // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


@dataclass(frozen=True, eq=False)
class Stored:
    """Images that lie encoded somewhere, and are decoded when they are asked for, by threads.

    It is used as ``Resident`` is: batches that are cut of it have the same bits. Threads and no
    processes, because Pillow and numpy let go of Python's lock while they decode, resize and copy
    (``benchmarks/streaming.py``): nothing is pickled, and nothing is left behind by a killed run.

    Attributes:
        decode: gives an image by its row in the source.
        rows: int64, on the CPU: which rows of the source these samples are, in this order.
        shape: channels, height and width of every image that ``decode`` gives.
        labels: an int64 class for each, on the device, or ``None``.
        names: of the files that they come from, or ``None``.
        places: where each lies in the set that this is a part of; as they lie here, where ``None``.
        key: a text that changes with the source or with how it is decoded; ``""`` if nobody knows.
        device: where images are wanted.
        threads: that decode; one for each processor when ``None``.

    Raises:
        Fault: rows that are no whole numbers, or not one label, name or place for each.

    Example:
        >>> data = Stored(lambda row: torch.full((1, 2, 2), row), torch.arange(5), (1, 2, 2))
        >>> data.take(torch.tensor([4, 2])).pixels(slice(0, 2))[:, 0, 0, 0].tolist()
        [4, 2]
    """

    decode: Decode
    rows: Int64[Tensor, " samples"]
    shape: tuple[int, int, int]
    labels: Int64[Tensor, " samples"] | None = None
    names: tuple[str, ...] | None = None
    places: Int64[Tensor, " samples"] | None = None
    key: str = ""
    device: torch.device = CPU
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.rows.dtype != torch.int64 or self.rows.ndim != 1 or self.rows.device != CPU:
            raise Fault(f"rows are int64 on the CPU, one a sample; got {self.rows.dtype}")
        for what in ("labels", "names", "places"):
            each = getattr(self, what)
            if each is not None and len(each) != len(self):
                raise Fault(f"{len(self):,} images have {len(each):,} {what}; give each one")

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def images(self) -> UInt8[Tensor, "samples channel height width"]:
        """Nothing: whoever could hold them all would have them in a ``Resident``."""
        raise Fault(
            "a streamed set is never in memory as a whole: ask pixels(…) or float(…) for some of"
            " its images, or hold it (--set memory=resident)"
        )

    def to(self, device: torch.device | str) -> "Stored":
        """The same set, whose images come out on another device."""
        labels = None if self.labels is None else self.labels.to(device)
        return replace(self, labels=labels, device=torch.device(device))

    def take(self, indices: Int64[Tensor, " some"]) -> "Stored":
        """These samples, in this order."""
        there = indices.cpu()
        names = self.names
        return replace(
            self,
            rows=self.rows[there],
            labels=None if self.labels is None else self.labels[indices.to(self.labels.device)],
            names=None if names is None else tuple(names[each] for each in there.tolist()),
            places=there if self.places is None else self.places[there],
        )

    def unlabelled(self) -> "Stored":
        """The same images without labels."""
        return replace(self, labels=None)

    def pixels(
        self, which: Int64[Tensor, " some"] | slice
    ) -> UInt8[Tensor, "some channel height width"]:
        """These images as bytes, decoded now; waits for the device where indices lie there."""
        (found,) = self.ahead([which if isinstance(which, slice) else which.cpu()])
        return found

    def float(self, which: Int64[Tensor, " some"] | slice) -> Images:
        """These images as float32 in [0, 1]: bytes divided by 255."""
        return Buffers().scaled(self.pixels(which))

    def ahead(
        self,
        wanted: Iterable[Int64[Tensor, " some"] | slice],
        buffers: Buffers | None = None,
    ) -> Generator[UInt8[Tensor, "some channel height width"], None, None]:
        """The bytes of one batch after the other, decoded while those before are being used.

        Args:
            wanted: the samples of every batch, by slices or by indices on the CPU.
            buffers: where they are put; those of another epoch spare asking for memory again.

        Raises:
            Fault: as ``decode``, when it is the turn of that batch.
        """
        threads, buffers = self.threads or processors(), buffers or Buffers()
        waiting: deque[_Begun] = deque()
        with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
            try:
                for which in wanted:
                    waiting.append(self._begin(pool, which, threads, buffers))
                    coming = sum(len(each.pixels) for each in waiting) - len(waiting[0].pixels)
                    if coming >= max(AHEAD * len(waiting[0].pixels), BUSY * threads):
                        yield self._end(waiting.popleft())
                while waiting:
                    yield self._end(waiting.popleft())
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _begin(
        self, pool: ThreadPoolExecutor, which: Tensor | slice, threads: int, buffers: Buffers
    ) -> "_Begun":
        rows: list[int] = self.rows[which].tolist()
        shape = (len(rows), *self.shape)
        if self.device.type == "cpu":
            pixels = buffers.lend(shape, np.uint8)
        else:  # a copy may still be under way when the tensor is gone, which torch knows of
            pinned = self.device.type == "cuda"
            pixels = torch.empty(shape, dtype=torch.uint8, pin_memory=pinned)
        into = pixels.numpy()  # torch would copy a large image by threads of its own

        def some(first: int, last: int) -> None:
            for place in range(first, last):
                into[place] = self.decode(rows[place]).numpy()

        step = max(1, min(AT_ONCE, len(rows) // (BUSY * threads)))
        starts = range(0, len(rows), step)
        return _Begun(
            pixels, [pool.submit(some, each, min(each + step, len(rows))) for each in starts]
        )

    def _end(self, begun: "_Begun") -> Tensor:
        for each in begun.parts:
            each.result()
        return begun.pixels.to(self.device, non_blocking=True)


class _Begun(NamedTuple):
    """A batch that is being decoded."""

    pixels: Tensor
    parts: list[Future[None]]
