"""What takes the tasks of a benchmark: processes on this machine, or a cluster."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from relatum.checkpoint import Stop


@dataclass(frozen=True)
class Steps:
    """How far a task is."""

    done: int
    of: int


@dataclass(frozen=True)
class Note:
    """Something that a task finds worth a line."""

    text: str


@dataclass(frozen=True)
class Result:
    """What came of a task.

    Attributes:
        value: what it gave.
        unsound: whether its process is better not used again: because an error came out of it
            that nobody foresaw, and on a GPU such a one may spoil all that comes after; or
            because it was asked to end, and is about to.
    """

    value: object
    unsound: bool = False


@dataclass(frozen=True)
class Died:
    """The process of a task ended without a result.

    Attributes:
        reason: in a line.
        outside: whether it was asked to end, or its machine went away: the task had no part in
            it, and may be begun again.
    """

    reason: str
    outside: bool = False


@dataclass(frozen=True)
class About:
    """What a task of several cells says of one of them.

    Attributes:
        folder: the cell's.
        message: a result is that cell's, and ends no task.
    """

    folder: str
    message: Steps | Note | Result


Message = Steps | Note | About | Result | Died
"""The last two end a task."""
Tell = Callable[[Steps | Note | About], None]
Task = Callable[[torch.device, Stop, Tell], Result]
"""Pickled and called elsewhere: with its device, with what asks it to stop, and its audience."""


class Pool(Protocol):
    """Tasks go in under a key, messages come out under it, and one ``Result`` or ``Died``."""

    @property
    def room(self) -> int:
        """How many more tasks could begin now."""

    def submit(self, key: str, task: Task) -> None:
        """Begin a task."""

    def wait(self, seconds: float) -> list[tuple[str, Message]]:
        """What was told meanwhile; at most so many seconds are waited for a first message.

        Raises:
            Fault: a task raised one: it is for the user, and about the whole benchmark.
        """

    def stop(self) -> None:
        """Ask every task to save and end."""

    def close(self) -> None:
        """End all processes, whatever they do."""
