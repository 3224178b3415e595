"""A pool in this process, for what does not hang on there being others."""

from collections.abc import Callable
from pathlib import Path

import torch

from relatum.bench.experiment import Cell
from relatum.bench.pool import About, Message, Note, Steps, Task
from relatum.bench.progress import Progress
from relatum.checkpoint import Stop
from relatum.record import Record


class Here:
    """One task at a time.

    Args:
        instead: what comes of a task, by its key, in place of what it would give; ``None`` to
            let it be done.
    """

    def __init__(self, instead: Callable[[str], Message | None] = lambda key: None) -> None:
        self.keys: list[str] = []
        self.stopped = Stop()
        self._instead = instead
        self._held: list[tuple[str, Task]] = []

    @property
    def room(self) -> bool:
        return not self._held

    def submit(self, key: str, task: Task) -> None:
        assert self.room
        self.keys.append(key)
        self._held.append((key, task))

    def wait(self, seconds: float) -> list[tuple[str, Message]]:
        if not self._held:
            return []
        key, task = self._held.pop()
        told: list[tuple[str, Message]] = []

        def tell(message: Steps | Note | About) -> None:
            told.append((key, message))

        end = self._instead(key) or task(torch.device("cpu"), self.stopped, tell)
        return [*told, (key, end)]

    def stop(self) -> None:
        self.stopped.signum = 15

    def close(self) -> None:
        pass


class Written:
    """A board that remembers."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.ended: list[str] = []
        self.shown = 0

    def build(self, done: int, of: int) -> None:
        pass

    def show(self, progress: Progress) -> None:
        self.shown += 1

    def note(self, text: str) -> None:
        self.notes.append(text)

    def end(self, cell: Cell, record: Record, progress: Progress) -> None:
        self.ended.append(cell.folder)


def below(folder: Path) -> list[str]:
    """All files in a folder, by their paths."""
    return sorted(str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file())
