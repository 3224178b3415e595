"""Several trainings in one process, each in a thread of its own, of which one runs at a time."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

Place = tuple[int, int]
"""Where in a training somebody is: the step that comes next, by its epoch (from 1) and number."""
BEGINNING: Place = (0, 0)


class Turns:
    """Whose turn it is.

    Who has the turn keeps it until it waits for a place in its training or leaves; then the one
    goes on that is furthest behind, so that all of them meet where they can. What is one for the
    whole process, as torch's randomness, is put back as each of them left it: none of them can
    tell that there are others.

    Args:
        count: how many take turns; nobody begins before ``start``.
        device: where they compute.
    """

    def __init__(self, count: int, device: torch.device) -> None:
        self.places: dict[int, Place] = dict.fromkeys(range(count), BEGINNING)
        """Where those are who have not left: what they wait for, or are at."""
        self._count, self._device = count, device
        self._gates = [threading.Semaphore(0) for _ in range(count)]
        self._threads = torch.get_num_threads()

    def start(self) -> None:
        """Give the first one its turn."""
        self._open()

    @contextmanager
    def taken(self, number: int) -> Iterator[None]:
        """Take turns from now on, beginning with the next; leave at the end, however it comes."""
        self._gates[number].acquire()
        try:
            yield
        finally:
            del self.places[number]
            self._threads = torch.get_num_threads()
            self._open()

    def wait(self, number: int, place: Place) -> float:
        """Let all go first who are further behind than this place.

        Returns:
            The seconds for which others had their turns.
        """
        self.places[number] = place
        if self._next() == number:
            return 0.0
        began = time.perf_counter()
        state = _State.now(self._device)
        self._threads = state.threads
        self._open()
        self._gates[number].acquire()
        state.put_back(self._device, self._threads)
        return time.perf_counter() - began

    def _open(self) -> None:
        if self.places:
            self._gates[self._next()].release()

    def _next(self) -> int:
        """The one furthest behind; of equals another one goes first at every step, for the first
        one's time pays for what all of them share."""

        def order(number: int) -> tuple[Place, int]:
            place = self.places[number]
            return place, (number - place[1]) % self._count

        return min(self.places, key=order)


@dataclass(frozen=True)
class _State:
    """What torch keeps once for the process, and every training has of its own.

    Whether gradients are recorded and what autocast does is kept for each thread by torch itself.
    What a recipe's speed sets is the same for all who take turns.
    """

    random: Tensor
    cuda: Tensor | None
    threads: int

    @classmethod
    def now(cls, device: torch.device) -> "_State":
        cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        return cls(torch.get_rng_state(), cuda, torch.get_num_threads())

    def put_back(self, device: torch.device, threads: int) -> None:
        """Have it as it was; ``threads`` are what the one before had, and not asked of torch,
        which would tell of this thread, while parts of it are set for all."""
        torch.set_rng_state(self.random)
        if self.cuda is not None:
            torch.cuda.set_rng_state(self.cuda, device)
        if threads != self.threads:
            torch.set_num_threads(self.threads)
