"""Where a run tells how far it is. The command draws it; a library user hears nothing."""

from collections.abc import Iterator
from typing import Protocol

from relatum.data.batches import Drawn
from relatum.fit import Source
from relatum.record import Record, Row
from relatum.replay import Drawing
from relatum.types import Batch


class Display(Protocol):
    """What is told, in this order, of every run."""

    def begin(self, label: str, steps: int, done: int) -> None:
        """A training of so many steps begins, or goes on after ``done`` of them."""

    def advance(self) -> None:
        """One step is taken."""

    def epoch(self, row: Row, epochs: int) -> None:
        """An epoch ended, and was measured."""

    def note(self, text: str) -> None:
        """Something worth a line."""

    def end(self, record: Record) -> None:
        """The run is finished and saved."""


class Silent:
    """Tells nothing."""

    def begin(self, label: str, steps: int, done: int) -> None:
        """Nothing."""

    def advance(self) -> None:
        """Nothing."""

    def epoch(self, row: Row, epochs: int) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def end(self, record: Record) -> None:
        """Nothing."""


class Watched:
    """Batches that tell a display when they are asked for."""

    def __init__(self, batches: Source, display: Display) -> None:
        self._batches, self._display = batches, display

    def __len__(self) -> int:
        return len(self._batches)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """As the batches themselves give it."""
        for batch in self._batches.epoch(number, start):
            yield batch
            self._display.advance()


class WatchedDrawing(Watched):
    """As ``Watched``, of batches that are drawn first and cut later (``relatum.replay``)."""

    def drawn(self, number: int, start: int = 0) -> Iterator[Drawn]:
        """As the batches themselves draw it."""
        assert isinstance(self._batches, Drawing)
        for drawn in self._batches.drawn(number, start):
            yield drawn
            self._display.advance()


def watched(batches: Source, display: Display) -> Source:
    """The same batches, which tell a display when they are asked for."""
    if isinstance(batches, Drawing) and getattr(batches, "resident", True):
        return WatchedDrawing(batches, display)
    return Watched(batches, display)
