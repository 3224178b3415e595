"""A run's teacher that is a table: its rows are those of the run's images."""

from typing import Self

import torch
from torch import Tensor

from relatum.cache.values import room_on
from relatum.data import ImageSet
from relatum.evaluate import Collected
from relatum.run.run_teacher import VARIES, Known, Member, Speaks
from relatum.run.sets import Sets
from relatum.tables import (
    EmbeddingTable,
    Matched,
    Rows,
    Table,
    match,
    of_part,
    read,
    refuse_missing,
)
from relatum.taps import Tapped
from relatum.teacher_names import TABLE, TableName
from relatum.types import Fault


class TableTeacher:
    """Speaks of a run's images by their rows: to train by, and to compare the student with.

    Args:
        name: the table, and which of its columns are what.
        sets: the images of the run.
        dry: how many samples a dry batch has.

    Raises:
        Fault: the table cannot be read, lacks an image to train or to validate on, holds a
            number that is not finite, or nothing but zeros.

    Attributes:
        rows: who teaches, image by image of the training part.
        known: what is known of it.
        doubts: a sentence about rows of zeros, where there are some to train by.
    """

    members: tuple[Member, ...] = ()
    networks: tuple[Tapped, ...] = ()

    def __init__(self, name: TableName, sets: Sets, dry: int) -> None:
        self._table = read(name)
        matched = match(self._table, sets.source)
        self._rows = self._of_parts(matched, sets)
        self.rows = EmbeddingTable(
            **{_ROLES[tap]: rows for tap, rows in self._rows[sets.train].items()}, checked=True
        )
        self.doubts = self._zeros()
        self._notes = (*matched.notes, *self.doubts, *self._not_compared(matched, sets))
        widths = dict(self._table.width)
        widths.setdefault("output", widths.get("embedding", 0))
        self.known = Known(
            name=f"{TABLE}{name.path.name}",
            sha256=self._table.sha256,
            shapes={tap: torch.Size((dry, width)) for tap, width in widths.items()},
            says="logits" if "output" in self._table.values else "embedding",
        )

    @property
    def tapped(self) -> Self:
        """Who is heard: it knows what it says of every set of the run."""
        return self

    @property
    def taps(self) -> frozenset[str]:
        """What it says, by the names of taps."""
        return self.rows.taps

    def notes(self, augmented: bool) -> tuple[str, ...]:
        """What was decided by itself, and what is doubtful."""
        return (*self._notes, *((VARIES,) if augmented else ()))

    def to(self, device: torch.device) -> Self:
        """Bring the rows of the training part to a device, where they fit."""
        if sum(each.bytes for each in self.rows.rows.values()) <= room_on(device):
            self.rows.to(device)
        return self

    def shard(self, device: torch.device) -> None:
        """Each process reads rows of its own: bring them to the device."""
        self.to(device)

    def teaching(self, speaks: Speaks, reads: frozenset[str]) -> EmbeddingTable:
        """Who teaches: no network speaks."""
        return self.rows

    def about(self, data: ImageSet, on: tuple[str, ...], which: Tensor | None = None) -> Collected:
        """What it says of one of the run's sets; nothing where it lacks rows.

        Args:
            data: the set itself: of images that were taken from it nothing is known.
            on: names of taps.
            which: the images that are asked about, by their indices on the CPU; all of them.
        """
        which = torch.arange(len(data)) if which is None else which
        indices = which.to(data.device)
        rows = self._rows.get(data, {})
        values = {
            name: rows[own].rows(which, data.device)
            for name in on
            if (own := name if name in rows else "embedding") in rows
            and (name in rows or name == "output")  # without logits it returns its embedding
        }
        return Collected(values, None if data.labels is None else data.labels[indices], indices)

    def _of_parts(self, matched: Matched, sets: Sets) -> dict[ImageSet, dict[str, Rows]]:
        parts = {sets.train: (of_part(matched, sets.source, sets.train), "training")}
        if sets.validation is not None:
            order = of_part(matched, sets.source, sets.validation)
            parts[sets.validation] = order, "validation"
        for data, (order, what) in parts.items():
            refuse_missing(self._table, order, data, what)
        if (matched.test >= 0).all():
            parts[sets.test] = matched.test, "test"
        return {data: self._finite(order, data) for data, (order, _) in parts.items()}

    def _finite(self, order: Tensor, data: ImageSet) -> dict[str, Rows]:
        found = {tap: Rows(value, order) for tap, value in self._table.values.items()}
        for tap, rows in found.items():
            if (bad := rows.first_bad()) is not None:
                of = data.names[bad] if data.names is not None else f"image {bad}"
                raise Fault(
                    f"{self._table.path}: {_ROLES[tap]} in row {int(order[bad])} ({of}) is not"
                    f" finite{_beyond(self._table, tap, int(order[bad]))}; mend the table"
                )
        return found

    def _zeros(self) -> tuple[str, ...]:
        """What is to be known of rows of zeros; a table of nothing else is refused."""
        path, samples = self._table.path, self.rows.samples
        counts = {tap: rows.zeros() for tap, rows in self.rows.rows.items()}
        for tap, count in counts.items():
            if count == samples:
                raise Fault(
                    f"{path}: {_ROLES[tap]} of all {count:,} training images is zeros, of which"
                    " nothing can be learnt; make the table again"
                )
        if not (count := counts.get("embedding", 0)):
            return ()
        said = f"the embedding of {count:,} of {samples:,} training images in {path.name} is zeros"
        return (f"{said}, which have no direction to learn",)

    def _not_compared(self, matched: Matched, sets: Sets) -> list[str]:
        missing = int((matched.test < 0).sum())
        if not missing:
            return []
        return [
            f"{self._table.path.name} has no row for {missing:,} of {len(sets.test):,} test images,"
            " so the student is not compared with it on those"
        ]


_ROLES = {"embedding": "embedding", "output": "logits"}


def _beyond(table: Table, tap: str, row: int) -> str:
    """What is wrong with numbers that were finite in the file."""
    return " in float32" if table.values[tap][row].isfinite().all() else ""
