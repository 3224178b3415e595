"""How often others may stop a cell before it is given up."""

from pathlib import Path
from time import monotonic

from relatum.bench.experiment import Cell
from relatum.run.claim import CHECKPOINT

STOPS = 5
"""Stops in a row, without getting on in between, that are one too many."""
WHILE = 60.0
"""Seconds that a cell must have run to have got on; whoever stops it sooner stops it for ever."""


class Patience:
    """Remembers of each cell how often it was stopped since it last got on.

    A cell gets on where it ran for a while and saved something: so a long training survives any
    number of machines that are taken away, and one that is always stopped at once does not keep
    the benchmark busy for ever.

    Args:
        out: where the cells have their folders.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._began: dict[str, tuple[float, int]] = {}
        self._stops: dict[str, int] = {}

    def begin(self, cell: Cell) -> None:
        """It runs from now on."""
        self._began[cell.folder] = monotonic(), self._saved(cell)

    def ends(self, cell: Cell) -> bool:
        """Count a stop; whether it is one too many."""
        began, before = self._began.pop(cell.folder)
        if monotonic() - began >= WHILE and self._saved(cell) != before:
            self._stops[cell.folder] = 0
        self._stops[cell.folder] = self._stops.get(cell.folder, 0) + 1
        return self._stops[cell.folder] >= STOPS

    def _saved(self, cell: Cell) -> int:
        """When its checkpoint was written; 0 where there is none."""
        try:
            return (self._out / cell.folder / CHECKPOINT).stat().st_mtime_ns
        except OSError:
            return 0
