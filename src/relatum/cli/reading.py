"""How far the command is with what comes before a run: images that are looked through."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

from relatum.how_far import Advance, Listener

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.status import Status

SOON = 1.0
"""Seconds until a bar is drawn: what takes less is not worth one."""
PLAIN_EVERY = 30.0
"""Seconds between two plain lines about one thing."""


@contextmanager
def by_itself(what: str, count: int) -> Iterator[Advance]:
    """Listens where nothing else is drawn: a bar on a terminal, now and then a line elsewhere.

    Of several processes the first one speaks.
    """
    if os.environ.get("RANK", "0") != "0":
        yield lambda many: None
    elif sys.stderr.isatty():
        with _bar(what, count) as advance:
            yield advance
    else:
        yield _Lines(what, count).advance


@contextmanager
def _bar(what: str, count: int) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Remaining())
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    task, began = progress.add_task(what, total=count), monotonic()

    def advance(many: int) -> None:
        progress.advance(task, many)
        if monotonic() - began > SOON:
            progress.start()

    try:
        yield advance
    finally:
        progress.stop()


class _Lines:
    """A line now and then."""

    def __init__(self, what: str, count: int) -> None:
        self._what, self._count, self._done = what, count, 0
        self._began = self._said = monotonic()

    def advance(self, many: int) -> None:
        """So many more are done."""
        self._done += many
        now = monotonic()
        if now - self._said <= PLAIN_EVERY or self._done >= self._count:
            return
        from relatum.report.words import duration

        self._said = now
        left = (now - self._began) / self._done * (self._count - self._done)
        done = f"{self._done:,} of {self._count:,}"
        print(f"{self._what}: {done}, about {duration(left)} left", file=sys.stderr, flush=True)


def among(progress: "Progress") -> Listener:
    """Listens by one more bar among those that are drawn already."""

    @contextmanager
    def listen(what: str, count: int) -> Iterator[Advance]:
        task = progress.add_task(what, total=count, said="")
        try:
            yield lambda many: progress.advance(task, many)
        finally:
            progress.remove_task(task)

    return listen


def beside(status: "Status") -> Listener:
    """Listens by the words of a spinner that turns already."""

    @contextmanager
    def listen(what: str, count: int) -> Iterator[Advance]:
        before, done = status.status, 0

        def advance(many: int) -> None:
            nonlocal done
            done += many
            status.update(f"{what}: {done:,} of {count:,}")

        try:
            yield advance
        finally:
            status.update(before)

    return listen
