"""A teacher that is a table: a row for every sample of a set, and no network."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from relatum.teachers import TeacherFromMemory
from relatum.types import Fault

AT_ONCE = 8192
"""Rows that are looked at together for what is not finite, or nothing but zeros."""


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a table that are of a set's samples.

    Attributes:
        table: all rows, which may lie in a file that is mapped.
        order: which of them is each sample's, where they are in another order or more of them.
        spoken: the type in which they are said: float64, as NumPy has it by default, and whole
            numbers as float32; half precision stays.
    """

    table: Tensor
    order: Tensor | None = None

    @property
    def device(self) -> torch.device:
        """Where places are wanted."""
        return self.table.device

    @property
    def spoken(self) -> torch.dtype:
        """The type in which rows are said."""
        kind = self.table.dtype
        wide = kind is torch.float64 or not kind.is_floating_point
        return torch.float32 if wide else kind

    @property
    def samples(self) -> int:
        """How many samples have a row."""
        return len(self.table if self.order is None else self.order)

    @property
    def bytes(self) -> int:
        """Of the samples' rows, as they are said."""
        return self.samples * self.table.shape[1] * self.spoken.itemsize

    def rows(self, places: Tensor, device: torch.device) -> Tensor:
        """Those of some samples, on a device, which nothing waits for."""
        if self.order is not None:
            places = self.order.index_select(0, places)
        found = self.table.index_select(0, places).to(self.spoken)
        pinned = device.type == "cuda" and found.device.type == "cpu"
        return (found.pin_memory() if pinned else found).to(device, non_blocking=pinned)

    def held(self, device: torch.device) -> "Rows":
        """The same, the samples' rows alone, one after the other on a device."""
        table = self.table if self.order is None else self.table.index_select(0, self.order)
        return Rows(table.to(device, self.spoken))

    def first_bad(self) -> int | None:
        """The first sample whose row is not finite, if there is one."""
        for first, part in self._parts():
            bad = ~part.isfinite().all(1)
            if bad.any():
                return first + int(bad.nonzero()[0])
        return None

    def zeros(self) -> int:
        """How many samples have a row of zeros, which has no direction."""
        return sum(int((part == 0).all(1).sum()) for _, part in self._parts())

    def _parts(self) -> Iterator[tuple[int, Tensor]]:
        """The samples' rows, some at a time, and the first sample of those."""
        for first in range(0, self.samples, AT_ONCE):
            places = torch.arange(first, min(first + AT_ONCE, self.samples), device=self.device)
            yield first, self.rows(places, self.device)


class EmbeddingTable(TeacherFromMemory):
    """A teacher that is a table: embeddings of a set's samples, or logits, or both.

    It reads a batch's ``indices``, never its images: however those are augmented, a sample has
    one row. So it needs no weights, no labels, and costs nothing in a step; and it cannot say
    anything of images that are in no table, as fixed anchors would want.

    Args:
        embedding: N × width, a row for each of the N samples in the order of the set, or ``None``.
        logits: N × classes, likewise.
        checked: somebody has seen already that all numbers are finite.

    Raises:
        Fault: neither is given, the two are not of as many samples, one is no matrix, or a number
            is not finite.

    Example:
        >>> from relatum.types import Batch
        >>> table = EmbeddingTable(torch.eye(3))
        >>> batch = Batch(torch.rand(2, 1, 8, 8), None, torch.tensor([2, 0]))
        >>> table(batch).taps["embedding"].tolist()
        [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """

    def __init__(
        self,
        embedding: Tensor | Rows | None = None,
        logits: Tensor | Rows | None = None,
        *,
        checked: bool = False,
    ) -> None:
        given = {"embedding": embedding, "output": logits}
        rows = {
            name: each if isinstance(each, Rows) else Rows(each)
            for name, each in given.items()
            if each is not None
        }
        counts = {each.samples for each in rows.values()}
        if not rows:
            raise Fault("a table in a teacher's place has embeddings or logits, got neither")
        if len(counts) > 1:
            got = " and ".join(f"{each.samples:,} {name}" for name, each in rows.items())
            raise Fault(f"a table has as many rows of everything, got {got}")
        for name, each in rows.items():
            if each.table.ndim != 2:
                raise Fault(f"{name} has a row for each sample, got {each.table.ndim} axes")
            if not checked and (bad := each.first_bad()) is not None:
                raise Fault(f"{name} of sample {bad} is not finite; mend the table")
        super().__init__(rows, counts.pop())
        self.rows = rows

    @property
    def widths(self) -> dict[str, int]:
        """Numbers of a row, by the names of the taps."""
        return {name: each.table.shape[1] for name, each in self.rows.items()}

    def to(self, device: torch.device | str) -> Self:
        """Bring the samples' rows to a device."""
        for name, each in self.rows.items():
            self.rows[name] = self.values[name] = each.held(torch.device(device))
        return self
