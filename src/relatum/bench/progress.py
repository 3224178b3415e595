"""How far a benchmark is, and how long it may yet take."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from statistics import fmean
from time import monotonic

from relatum.bench.experiment import Cell

Likeness = Callable[[Cell], object]
LIKENESSES: tuple[Likeness, ...] = (
    lambda cell: (cell.teacher, cell.recipe.student, cell.label),
    lambda cell: (cell.teacher, cell.recipe.student),
    lambda cell: cell.recipe.student,
    lambda cell: cell.label,
    lambda cell: None,
)
"""What is expected to take equally long: from what differs by its seed to anything at all."""
ENOUGH = 0.02
"""Share of the steps after which the speed of a training can be told."""


@dataclass
class Running:
    """A cell that is being worked on.

    Attributes:
        cell: which.
        done: steps of the present training that are taken.
        of: steps that it has; 0 as long as none has begun.
    """

    cell: Cell
    done: int = 0
    of: int = 0
    _since: float = 0.0
    _before: int = 0
    _first: tuple[float, float] | None = None
    """When it first trained here, and how much of it was done by then."""

    def step(self, done: int, of: int) -> None:
        """It is so far."""
        if not self.of or of != self.of or done < self.done:  # a training begins, or another
            self._since, self._before = monotonic(), done
        self.done, self.of = done, of
        self._first = self._first or (self._since, self.share)

    @property
    def share(self) -> float:
        """How much of it is done."""
        return self.done / self.of if self.of else 0.0

    @property
    def expected(self) -> float | None:
        """Seconds that the whole of it takes at its present speed, if that can be told."""
        taken = self.done - self._before
        if not self.of or taken < ENOUGH * self.of:
            return None
        return (monotonic() - self._since) / taken * self.of

    def rest(self, whole: float) -> float:
        """Seconds that are left of so many, by its steps; measuring is left when all are taken."""
        by_steps = whole * (1 - self.share)
        if self._first is None:
            return by_steps
        began, share = self._first
        return max(by_steps, whole * (1 - share) - (monotonic() - began))


@dataclass
class Progress:
    """Counts of cells, those that run, and what finished ones took.

    Attributes:
        total: cells in all.
        done: those with a record.
        failed: those that went wrong in this attempt.
        refused: those whose method cannot serve their pair.
        elsewhere: those that another process is at.
        running: by folder.
        waiting: those that are yet to begin.
        seconds: what each of the finished ones took.
        most: how many have run at once.
    """

    total: int
    done: int = 0
    failed: int = 0
    refused: int = 0
    elsewhere: int = 0
    running: dict[str, Running] = field(default_factory=dict)
    waiting: list[Cell] = field(default_factory=list)
    seconds: list[tuple[Cell, float]] = field(default_factory=list)
    most: int = 1

    def begin(self, cell: Cell) -> None:
        """A waiting cell runs."""
        self.waiting.remove(cell)
        self.running[cell.folder] = Running(cell)
        self.most = max(self.most, len(self.running))

    def took(self, cell: Cell, seconds: float) -> None:
        """A cell is finished, after so long."""
        self.done += 1
        self.seconds.append((cell, seconds))

    @property
    def left(self) -> int:
        """Cells that are neither finished nor given up nor running."""
        return self.total - self.done - self.failed - self.refused - len(self.running)

    def time_left(self) -> float | None:
        """Seconds until all is done, if as many run at once as have; ``None`` if none can tell.

        A cell is expected to take as long as the finished ones that are most like it, or as
        running ones will at their present speed, which says nothing of how long measuring takes.
        """
        speeds = [
            (each.cell, whole)
            for each in self.running.values()
            if (whole := each.expected) is not None
        ]
        sources = [
            (alike, _means(alike, known))
            for alike in LIKENESSES
            for known in (self.seconds, speeds)
        ]

        def expected(cell: Cell) -> float | None:
            found = (means.get(alike(cell)) for alike, means in sources)
            return next((each for each in found if each is not None), None)

        rests: list[float] = []
        for each in [*self.running.values(), *map(Running, self.waiting)]:
            if (seconds := expected(each.cell)) is None:
                return None
            rests.append(each.rest(seconds))
        return max([sum(rests) / self.most, *rests])


def _means(alike: Likeness, known: Iterable[tuple[Cell, float]]) -> Mapping[object, float]:
    groups = defaultdict[object, list[float]](list)
    for cell, seconds in known:
        groups[alike(cell)].append(seconds)
    return {key: fmean(values) for key, values in groups.items()}
