"""How far a benchmark is: a board on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from relatum.bench.experiment import Cell
from relatum.bench.progress import Progress as Cells
from relatum.bench.schedule import Board
from relatum.cli.display import line_of
from relatum.cli.reading import PLAIN_EVERY, among
from relatum.how_far import heard_by
from relatum.record import Record
from relatum.report.words import duration

DRAWN_EVERY = 1.0
"""Seconds between two drawings of what runs."""
SHOWN = 16
"""Running cells that have a bar of their own."""


@contextmanager
def shown() -> Iterator[Board]:
    """A board for as long as a benchmark runs."""
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"))
        with (
            Drawn(*columns, console=console, transient=True) as progress,
            heard_by(among(progress)),
        ):
            yield Bars(progress)
    else:
        yield Lines()


class Drawn(Progress):
    """Bars below a line of text."""

    line = ""

    def get_renderables(self) -> Iterator[RenderableType]:
        """The line, then the bars."""
        if self.line:
            yield Text(self.line)
        yield self.make_tasks_table(self.tasks)


class Bars:
    """The counts, one bar for all cells, and one for each that runs."""

    def __init__(self, progress: Drawn) -> None:
        self._progress = progress
        self._whole: TaskID | None = None
        self._running: dict[str, TaskID] = {}
        self._drawn = 0.0
        self._built: TaskID | None = progress.add_task("building methods", total=None, said="")

    def build(self, done: int, of: int) -> None:
        """A bar of its own, at first."""
        if self._built is not None:
            said = f"{done} of {of} pairs"
            self._progress.update(self._built, total=of, completed=done, said=said)

    def show(self, progress: Cells) -> None:
        """Draw it, if the last time is not just past."""
        if monotonic() - self._drawn < DRAWN_EVERY:
            return
        self._drawn = monotonic()
        if self._built is not None:
            self._progress.remove_task(self._built)
            self._built = None
        if self._whole is None:
            self._whole = self._progress.add_task("cells", total=progress.total, said="")
        ended = progress.done + progress.failed + progress.refused
        said = f"{ended / max(progress.total, 1):.0%}"
        self._progress.update(self._whole, total=progress.total, completed=ended, said=said)
        self._progress.line = counts(progress)
        for folder in [each for each in self._running if each not in progress.running]:
            self._progress.remove_task(self._running.pop(folder))
        for folder, each in list(progress.running.items())[:SHOWN]:
            if folder not in self._running:
                self._running[folder] = self._progress.add_task(f"  {folder}", total=1.0, said="")
            said = f"{each.share:.0%}" if each.of else "begins"
            self._progress.update(self._running[folder], completed=each.share, said=said)

    def note(self, text: str) -> None:
        """A line above the bars."""
        self._progress.console.print(text, highlight=False, markup=False)

    def end(self, cell: Cell, record: Record, progress: Cells) -> None:
        """The cell's line."""
        self.note(_ended(cell, record, progress))


class Lines:
    """A line for every cell that ends, and now and then one about all of them."""

    def __init__(self) -> None:
        self._said = monotonic()

    def build(self, done: int, of: int) -> None:
        """Now and then a line."""
        if self._due():
            self.note(f"tried on one batch: {done} of {of} networks and pairs, with their methods")

    def show(self, progress: Cells) -> None:
        """Now and then a line."""
        if self._due():
            self.note(counts(progress))

    def _due(self) -> bool:
        due = monotonic() - self._said > PLAIN_EVERY
        self._said = monotonic() if due else self._said
        return due

    def note(self, text: str) -> None:
        """A line."""
        print(text, file=sys.stderr, flush=True)

    def end(self, cell: Cell, record: Record, progress: Cells) -> None:
        """The cell's line."""
        self.note(_ended(cell, record, progress))


def counts(progress: Cells) -> str:
    """Everything in a line: ``12 of 60 done, 2 running, 1 failed, 45 left, about 1 h 20 min``."""
    said = [f"{progress.done} of {progress.total} done"]
    numbers = {
        "running": len(progress.running),
        "failed": progress.failed,
        "refused": progress.refused,
        "at another process": progress.elsewhere,
        "left": progress.left,
    }
    said += [f"{number} {what}" for what, number in numbers.items() if number]
    seconds = progress.time_left()
    if seconds and (progress.running or progress.left):
        said.append(f"about {duration(seconds)}")
    return ", ".join(said)


def _ended(cell: Cell, record: Record, progress: Cells) -> str:
    """The cell's folder for its label, for many have that."""
    seed = f" (seed {record.recipe.seed})"
    said = line_of(record).removeprefix(f"{record.label}{seed}")
    return f"[{progress.done}/{progress.total}] {cell.folder}{said}"
