"""Where a run tells how far it is. The command draws it; a library user hears nothing."""

from typing import Protocol

from relatum.record import Record, Row


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
