"""The cells of a grid, handed to a pool until none is left: each once, teachers before students."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Protocol

from relatum.bench.attempt import Attempt, Outcome, leave_word, tidy
from relatum.bench.beside import Abreast, alike
from relatum.bench.experiment import Cell
from relatum.bench.grid import TEACHER
from relatum.bench.patience import STOPS, Patience
from relatum.bench.pool import About, Died, Message, Note, Pool, Result, Steps, Task
from relatum.bench.progress import Progress
from relatum.bench.rehearsal import Unable
from relatum.checkpoint import Stop
from relatum.record import Record
from relatum.run.claim import claim

LOOK = 0.25
"""Seconds between two looks at whether somebody asked to stop."""
AGAIN = 5.0
"""Seconds after which a cell that another process was at is tried again."""
ORPHANED = "its teacher failed"
SHARED = "tried again by itself, for others were in its process"
STOPPED = "its process was asked to stop by somebody else, and saved"


class Board(Protocol):
    """Where a benchmark tells how far it is."""

    def build(self, done: int, of: int) -> None:
        """The methods of so many pairs are built, before anything is trained."""

    def show(self, progress: Progress) -> None:
        """It is so far."""

    def note(self, text: str) -> None:
        """Something worth a line."""

    def end(self, cell: Cell, record: Record, progress: Progress) -> None:
        """A cell is finished."""


def finished(cells: Sequence[Cell], out: Path) -> dict[str, Record]:
    """The records of cells that need not be run, by folder.

    Raises:
        Fault: a folder holds a run of another recipe, or one that learnt from another teacher.
    """
    found = ((cell.folder, claim(cell.recipe, out / cell.folder, True, False)) for cell in cells)
    return {folder: record for folder, record in found if record is not None}


def run_grid(
    cells: Sequence[Cell],
    out: Path,
    pool: Pool,
    stop: Stop,
    board: Board,
    *,
    before: Mapping[str, Record],
    unable: Mapping[str, Unable],
    together: int = 1,
) -> Progress:
    """Run every cell that has no record and can have one.

    A cell whose process somebody else stops, or whose machine goes away, did not fail: it is
    begun again, from what it saved, as long as it gets on (see ``relatum.bench.patience``).

    Args:
        cells: all of the grid.
        out: where.
        pool: who runs them.
        stop: asked all the time.
        board: told how far it is.
        before: the records that there are, by folder.
        unable: the cells that the rehearsal found cannot be run, likewise.
        together: how many cells of a task are trained beside each other, at most, where they
            have their batches in common (``relatum.bench.beside``).

    Returns:
        Where it ended.

    Raises:
        Interrupted: it was asked to stop; what ran has saved.
    """
    job = _Job(out, pool, board, stop, Progress(len(cells)), together)
    job.begin(cells, before, unable)
    progress = job.progress
    while progress.running or (stop.signum is None and (progress.waiting or job.away)):
        if stop.signum is None:
            job.submit()
        elif not job.stopping:
            job.stop()
        for key, message in pool.wait(LOOK):
            job.heard(key, message)
        if not job.stopping:
            board.show(progress)
    stop.check()
    return progress


class _Job:
    """The state of it: what waits, what runs, what another process is at."""

    def __init__(
        self,
        out: Path,
        pool: Pool,
        board: Board,
        stop: Stop,
        progress: Progress,
        together: int,
    ) -> None:
        self.progress, self.stopping = progress, False
        self.away: list[tuple[float, Cell]] = []
        self._out, self._pool, self._board, self._stop = out, pool, board, stop
        self._patience, self._most = Patience(out), together
        self._tasks: dict[str, tuple[Cell, ...]] = {}
        """The cells of every task that is under way."""
        self._single: set[str] = set()
        """The cells that have to be alone in their process."""
        self._lost: set[str] = set()
        """Where teachers would lie that failed."""
        self._pending: set[str] = set()
        """Where those will lie that are yet to be trained."""

    def begin(
        self, cells: Sequence[Cell], before: Mapping[str, Record], unable: Mapping[str, Unable]
    ) -> None:
        """Sort the cells into what is done, what cannot be, and what waits.

        A teacher all of whose students are refused is not trained, and no cell any more.
        """
        progress = self.progress
        able = {cell.source for cell in cells if cell.folder not in unable}
        for cell in cells:
            if cell.folder in before:
                progress.took(cell, before[cell.folder].seconds)
                tidy(cell, self._out)
            elif (why := unable.get(cell.folder)) is not None and why.kind == "failed":
                self._fail(cell, why.reason, why.trace)
            elif why is not None:
                progress.refused += 1
                leave_word(cell, self._out, "refused", why.reason)
            elif cell.label == TEACHER and str(self._out / cell.folder) not in able:
                progress.total -= 1
            else:
                progress.waiting.append(cell)
                self._pending.add(str(self._out / cell.folder))

    def submit(self) -> None:
        """Begin what can begin."""
        now = monotonic()
        back = [cell for due, cell in self.away if due <= now]
        self.away = [(due, cell) for due, cell in self.away if due > now]
        self.progress.elsewhere = len(self.away)
        self.progress.waiting += back
        while (room := self._pool.room) and (some := self._next(room)):
            for cell in some:
                self.progress.begin(cell)
                self._patience.begin(cell)
            first, *others = some
            self._tasks[first.folder] = some
            task: Task = Abreast(some, self._out) if others else Attempt(first, self._out)
            self._pool.submit(first.folder, task)

    def _next(self, room: int) -> tuple[Cell, ...]:
        """The first cell whose teacher is there, and those to be trained beside it.

        Those whose teacher failed are given up. No more than its share for each of the places
        that are free: there, cells are trained at the same time.
        """
        ready: list[Cell] = []
        for cell in [*self.progress.waiting]:
            if cell.source in self._lost:
                self.progress.waiting.remove(cell)
                self._fail(cell, ORPHANED)
            elif cell.source not in self._pending:
                ready.append(cell)
        if not ready:
            return ()
        first, *others = ready
        if first.folder in self._single:
            return (first,)
        able = (each for each in others if each.folder not in self._single)
        return alike(first, able, min(self._most, -(-len(ready) // room)))

    def stop(self) -> None:
        """Ask all that runs to save; begin nothing more."""
        self.stopping = True
        self._board.note("stopping: what runs is saved first")
        self._pool.stop()

    def heard(self, key: str, message: Message) -> None:
        """Take in what the process of a task says."""
        if isinstance(message, About):
            told = message.message
            if isinstance(told, Result) and not _settled(told):
                return  # the task's end says it again: only then may the cell begin anew
            self._told(message.folder, told, len(self._tasks[key]) > 1)
        elif isinstance(message, Steps | Note):
            self._told(key, message)
        else:
            cells = self._tasks.pop(key)
            for folder in [each.folder for each in cells if each.folder in self.progress.running]:
                result = message  # of who has not told its own
                if isinstance(message, Result) and isinstance(message.value, dict):
                    result = message.value[folder]
                self._told(folder, result, len(cells) > 1)

    def _told(
        self, folder: str, message: Steps | Note | Result | Died, shared: bool = False
    ) -> None:
        """Take in what is said of a cell, which may share its process with others."""
        running = self.progress.running[folder]
        if isinstance(message, Steps):
            running.step(message.done, message.of)
        elif isinstance(message, Note):
            self._board.note(f"{folder}: {message.text}")
        else:
            del self.progress.running[folder]
            self._ended(running.cell, message, shared)

    def _ended(self, cell: Cell, message: Result | Died, shared: bool) -> None:
        # A signal for all processes at once may be answered by them before it is looked at here.
        halted = self._stop.signum is not None
        if isinstance(message, Died):
            excused = halted or message.outside
            outcome = Outcome("stopped" if excused else "failed", reason=message.reason)
        else:
            assert isinstance(message.value, Outcome)
            outcome = message.value
        if outcome.kind == "done":
            assert outcome.record is not None
            tidy(cell, self._out)
            self._pending.discard(str(self._out / cell.folder))
            self.progress.took(cell, outcome.seconds)
            self._board.end(cell, outcome.record, self.progress)
        elif outcome.kind == "elsewhere":
            self.away.append((monotonic() + AGAIN, cell))
            self.progress.elsewhere = len(self.away)
        elif outcome.kind == "failed" and shared and _unforeseen(message):
            self._single.add(cell.folder)
            self.progress.waiting.insert(0, cell)
            self._board.note(f"{cell.folder}: {outcome.reason}; {SHARED}")
        elif outcome.kind == "failed":
            self._fail(cell, outcome.reason, outcome.trace)
        elif not halted:
            self._again(cell, outcome.reason or STOPPED)

    def _again(self, cell: Cell, reason: str) -> None:
        """Begin a cell again that others stopped, or give it up."""
        if self._patience.ends(cell):
            why = f"stopped {STOPS} times in a row before it got on: {reason}"
            self._fail(cell, f"{why}; find out who stops it (a limit of time or memory, a signal)")
        else:
            self.progress.waiting.insert(0, cell)
            self._board.note(f"{cell.folder}: {reason}; it is begun again")

    def _fail(self, cell: Cell, reason: str, trace: str = "") -> None:
        self.progress.failed += 1
        self._lost.add(str(self._out / cell.folder))
        leave_word(cell, self._out, "failed", reason, trace)
        self._board.note(f"{cell.folder} failed: {reason}")


def _unforeseen(message: Result | Died) -> bool:
    """Whether another cell of the process may have to do with it, as when memory is short."""
    return isinstance(message, Died) or message.unsound


def _settled(result: Result) -> bool:
    """Whether the cell is not tried again, whatever becomes of those beside it."""
    assert isinstance(result.value, Outcome)
    kind = result.value.kind
    return kind == "done" or (kind == "failed" and not result.unsound)
