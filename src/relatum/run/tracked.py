"""A display that also tells trackers, each in a thread of its own: none of them holds up a run."""

import contextlib
import json
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from time import monotonic

from relatum import together
from relatum.recipes.recipe import Recipe
from relatum.record import Record, Row, read_rows
from relatum.run.claim import METRICS, TRACKING
from relatum.run.display import Display
from relatum.trackers import Tracker, tracker_of, values_of
from relatum.types import first_line
from relatum.weights import write

PATIENCE = {True: 30.0, False: 5.0}
"""Seconds that a finished run, and one that was stopped, waits for its slowest tracker."""


@contextlib.contextmanager
def tracked(
    display: Display, names: Sequence[str], recipe: Recipe, folder: Path, label: str
) -> Iterator[Display]:
    """A display that hands on what it is told to a run's trackers too; the first process has them.

    Raises:
        Fault: a tracker cannot be made. What one of them raises later is noted once, and the
            run goes on without it.
    """
    if not names or not together.first():
        yield display
        return
    senders = [_Sender(name, tracker_of(name)) for name in names]
    told = Tracked(display, senders, recipe, folder, label)
    try:
        yield told
    finally:
        told.close()


class Tracked:
    """Tells the display first, and what concerns epochs and the end to trackers."""

    def __init__(
        self,
        display: Display,
        senders: "Sequence[_Sender]",
        recipe: Recipe,
        folder: Path,
        label: str,
    ) -> None:
        self._display, self._senders = display, senders
        self._recipe, self._folder, self._label = recipe, folder, label
        self._number: int | None = None
        self._finished = False

    def begin(self, label: str, steps: int, done: int) -> None:
        """At the first stage, trackers begin, and hear of the epochs that there were."""
        self._display.begin(label, steps, done)
        if self._number is not None:
            return
        name = f"{self._recipe.student} {self._label} seed {self._recipe.seed}"
        key, again = _key(self._folder)
        for each in self._senders:
            each.begin(self._recipe, self._folder, name, key, again)
        self._number = 0
        for row in read_rows(self._folder / METRICS):
            self._row(row)

    def advance(self) -> None:
        """Trackers hear of no steps: nothing is read back inside an epoch."""
        self._display.advance()

    def epoch(self, row: Row, epochs: int) -> None:
        """An epoch."""
        self._display.epoch(row, epochs)
        self._row(row)
        self._hear()

    def _row(self, row: Row) -> None:
        assert self._number is not None
        self._number += 1
        for each in self._senders:
            each.send(partial(each.tracker.row, self._number, values_of(row)))

    def note(self, text: str) -> None:
        """For people alone."""
        self._display.note(text)

    def end(self, record: Record) -> None:
        """The end."""
        self._display.end(record)
        for each in self._senders:
            each.send(partial(each.tracker.end, record))
        self._finished = True

    def close(self) -> None:
        """Wait for trackers, but not for long."""
        if self._number is None:
            return
        until = monotonic() + PATIENCE[self._finished]
        for each in self._senders:
            if not self._finished:
                each.send(partial(each.tracker.end, None))
            each.close()
        for each in self._senders:
            each.join(max(0.0, until - monotonic()))
        self._hear()
        for each in self._senders:
            if each.is_alive():
                self._display.note(f"{each.name} has not taken all yet; {METRICS} has it")

    def _hear(self) -> None:
        """What trackers said meanwhile, told by the thread that trains."""
        for each in self._senders:
            while not each.said.empty():
                self._display.note(each.said.get())


class _Sender(threading.Thread):
    """What one tracker is told, in order; the first thing that it raises is the last that it hears.

    A daemon: a server that does not answer keeps no process alive.
    """

    def __init__(self, name: str, tracker: Tracker) -> None:
        super().__init__(name=name, daemon=True)
        self.tracker = tracker
        self.said: SimpleQueue[str] = SimpleQueue()
        self._calls: SimpleQueue[Callable[[], object] | None] = SimpleQueue()

    def begin(self, recipe: Recipe, folder: Path, name: str, key: str, again: bool) -> None:
        """Begin to send."""
        self._calls.put(partial(self._begin, recipe, folder, name, key, again))
        self.start()

    def _begin(self, recipe: Recipe, folder: Path, name: str, key: str, again: bool) -> None:
        if said := self.tracker.begin(recipe, folder, name, key, again):
            self.said.put(said)

    def send(self, call: Callable[[], object]) -> None:
        """Send this after what waits."""
        self._calls.put(call)

    def close(self) -> None:
        """Nothing more comes."""
        self._calls.put(None)

    def run(self) -> None:
        """Send, until the end or the first error."""
        try:
            while (call := self._calls.get()) is not None:
                call()
        except BaseException as error:  # a SystemExit of a library included: nobody else hears it
            why = f"{type(error).__name__}: {first_line(error)}"
            self.said.put(f"{self.name} failed ({why}); the run goes on, and {METRICS} has it all")


def _key(folder: Path) -> tuple[str, bool]:
    """What trackers know a run by, and whether they do already."""
    path = folder / TRACKING
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return str(json.loads(path.read_text())["key"]), True
    key = uuid.uuid4().hex
    write(path, json.dumps({"key": key}).encode())
    return key, False
