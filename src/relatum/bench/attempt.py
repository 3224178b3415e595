"""One cell, tried: what goes wrong in it comes back as a line, and stops no other."""

import contextlib
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from relatum.bench.experiment import Cell
from relatum.bench.pool import Note, Result, Steps, Tell
from relatum.checkpoint import Interrupted, Stop
from relatum.record import FAILURE, Record, Unfinished
from relatum.run import Silent, run
from relatum.run.beside import Seat
from relatum.run.claim import CHECKPOINT
from relatum.run.lock import Taken
from relatum.tally import NotFinite
from relatum.types import Fault, first_line
from relatum.weights import write

TRACE = "traceback.txt"
"""Where a failure came from, for whoever mends it."""
EVERY = 0.5
"""Seconds between two words about the steps of a run."""


@dataclass(frozen=True)
class Outcome:
    """What became of a cell.

    Attributes:
        kind: there is a record; it went wrong; it was asked to stop, and saved; or another
            process is at it.
        record: if there is one.
        reason: in a line, if it went wrong.
        trace: where it went wrong.
        seconds: that it took in this attempt.
    """

    kind: Literal["done", "failed", "stopped", "elsewhere"]
    record: Record | None = None
    reason: str = ""
    trace: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Attempt:
    """The task of running a cell, or of going on with it."""

    cell: Cell
    out: Path
    download: bool = False

    def __call__(
        self, device: torch.device, stop: Stop, tell: Tell, beside: Seat | None = None
    ) -> Result:
        """Run it, perhaps beside others; whatever it raises comes back as an outcome."""
        began = time.monotonic()
        try:
            stop.check()
            record = run(
                self.cell.recipe,
                self.out / self.cell.folder,
                label=self.cell.label,
                device=device,
                resume=True,
                download=self.download,
                stop=stop,
                display=_Telling(tell),
                alter=self.cell.alter,
                beside=beside,
                track=self.cell.track,
            )
        except Taken:
            return Result(Outcome("elsewhere"))
        except Interrupted:
            return Result(Outcome("stopped"))
        except (Exception, SystemExit) as error:
            outcome = Outcome("failed", reason=line_of(error), trace=traceback.format_exc())
            return Result(outcome, not foreseen(error))
        return Result(Outcome("done", record, seconds=time.monotonic() - began))


def foreseen(error: BaseException) -> bool:
    """Whether an error is one that relatum raises itself, and that harms nothing else."""
    return isinstance(error, Fault | NotFinite)


def line_of(error: BaseException) -> str:
    """An error in a line."""
    if foreseen(error):
        return first_line(error)
    line = first_line(error)
    name = type(error).__name__
    return name if line == name else f"{name}: {line}"


def leave_word(
    cell: Cell, out: Path, kind: Literal["failed", "refused"], reason: str, trace: str = ""
) -> None:
    """Say in a cell's folder why there is no record, if the disk takes it."""
    found = Unfinished(
        label=cell.label,
        kind=kind,
        reason=reason,
        seed=cell.recipe.seed,
        teacher=cell.teacher,
        student=cell.recipe.student,
    )
    folder = out / cell.folder
    with contextlib.suppress(Fault, OSError):
        found.save(folder)
        if trace:
            write(folder / TRACE, trace.encode())
        else:
            (folder / TRACE).unlink(missing_ok=True)


def tidy(cell: Cell, out: Path) -> None:
    """There is a record now: take back what was said of earlier attempts, and drop the checkpoint.

    Nobody goes on from it any more, and those of thousands of cells, optimiser and heads
    included, would take most of the room.
    """
    for name in (FAILURE, TRACE, CHECKPOINT):
        with contextlib.suppress(OSError):
            (out / cell.folder / name).unlink(missing_ok=True)


class _Telling(Silent):
    """A display far from any terminal."""

    def __init__(self, tell: Tell) -> None:
        self._tell, self._said = tell, 0.0
        self._done, self._of = 0, 0

    def begin(self, label: str, steps: int, done: int) -> None:
        """Say how many steps there will be."""
        self._done, self._of = done, steps
        self._tell(Steps(done, steps))

    def advance(self) -> None:
        """Now and then, say how many are done."""
        self._done += 1
        now = time.monotonic()
        if now - self._said >= EVERY or self._done == self._of:
            self._said = now
            self._tell(Steps(self._done, self._of))

    def note(self, text: str) -> None:
        """Pass it on."""
        self._tell(Note(text))
