"""A pool of this process alone: one trial after the other, with nothing to begin or to copy."""

import torch

from relatum.bench.pool import About, Message, Note, Result, Steps, Task
from relatum.checkpoint import Stop


class Here:
    """Runs a task when somebody waits for it.

    Args:
        device: where to.
        stop: asked by the tasks.
    """

    def __init__(self, device: torch.device, stop: Stop) -> None:
        self._device, self._stop = device, stop
        self._task: tuple[str, Task] | None = None

    @property
    def room(self) -> int:
        """One, while there is no task."""
        return int(self._task is None)

    def submit(self, key: str, task: Task) -> None:
        """Keep a task."""
        self._task = key, task

    def wait(self, seconds: float) -> list[tuple[str, Message]]:
        """Do it, to its end."""
        if self._task is None:
            return []
        (key, task), self._task = self._task, None
        told: list[tuple[str, Message]] = []

        def tell(message: Steps | Note | About) -> None:
            told.append((key, message))

        result: Result = task(self._device, self._stop, tell)
        return [*told, (key, result)]

    def stop(self) -> None:
        """Nothing: the task hears what this process hears."""

    def close(self) -> None:
        """Nothing."""
