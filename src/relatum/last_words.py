"""Who tells the user what went wrong with a training on several processes, and who is missing."""

import contextlib
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

ROLL_CALL = 10.0
"""Seconds in which those that are left have to say so, once somebody is missed."""
LAST_CALL = 1.0
"""The same for the last one, once all others have: who is missing is nearly known."""


class LastWords:
    """Where processes that end say so, and agree on the one that tells the user.

    A thread of each waits for the roll to be called, and answers it whatever else its process
    does: works, or waits for one that is gone.

    Args:
        rank: which of them this is.
        size: how many there are.
        kept: whether the store is torchrun's, and outlives them all; else the first one's.
        foremost: whether this one tells where nobody can be asked.
    """

    def __init__(self, rank: int, size: int, kept: bool, foremost: bool) -> None:
        self.rank, self.size = rank, size
        self._kept, self._foremost = kept, foremost
        self._store: Store | None = None
        self._listener: threading.Thread | None = None
        self._heard = False

    def reach(self, store: "Store") -> None:
        """Speak in a store that all can reach, from now on."""
        self._store = store

    def listen(self) -> None:
        """Answer the roll there from now on."""
        assert self._store is not None
        own = self._store.clone()

        def answer() -> None:
            with contextlib.suppress(RuntimeError):  # the store may end first
                own.wait([f"roll {self.rank}"], timedelta(days=365))
                self._heard = True
                own.set(f"alive {self.rank}", "1")

        self._listener = threading.Thread(target=answer, daemon=True)
        self._listener.start()

    def unsaid(self) -> None:
        """All went well: wait for no roll any more."""
        self._within(2.0, lambda store: store.set(f"roll {self.rank}", "1"))
        if self._listener is not None:
            self._listener.join(2.0)

    def begin(self) -> bool:
        """Whether no other tells of an error; where none can be asked, one a machine does."""
        places: list[int] = []

        def say(store: "Store") -> None:
            store.set(f"alive {self.rank}", "1")
            store.set(f"here {self.rank}", "1")
            places.append(store.add("said", 1))
            if places == [1]:
                for each in range(self.size):
                    store.set(f"roll {each}", "1")

        self._within(2.0, say)
        if not places:
            return not self._heard and (self._foremost or not self._kept)
        return places == [1]

    def missing(self, mark: str) -> list[int]:
        """Who does not answer: is not "alive", or not "here", at its end as this one is."""
        there: set[int] = set()

        def call(store: "Store") -> None:
            until = time.monotonic() + ROLL_CALL
            while time.monotonic() < until and len(there) < self.size:
                there.update(each for each in range(self.size) if store.check([f"{mark} {each}"]))
                if len(there) == self.size - 1:
                    until = min(until, time.monotonic() + LAST_CALL)
                time.sleep(0.1)

        self._within(ROLL_CALL + 1.0, call)
        return [each for each in range(self.size) if each not in there]

    def end(self, mine: bool) -> None:
        """Let the others end; the process that keeps the store waits for the one that tells."""
        if mine:
            self._within(2.0, lambda store: store.set("told", "1"))
        elif self.rank == 0 and not self._kept:
            wait = timedelta(seconds=ROLL_CALL + 1.0)
            self._within(ROLL_CALL + 1.0, lambda store: store.wait(["told"], wait))

    def _within(self, seconds: float, action: "Callable[[Store], object]") -> None:
        """Try something that a broken network may hold up, and go on without it."""
        if (store := self._store) is None:
            return

        def attempt() -> None:
            with contextlib.suppress(RuntimeError):
                action(store)

        with contextlib.suppress(RuntimeError, MemoryError):  # there may be none for a thread
            thread = threading.Thread(target=attempt, daemon=True)
            thread.start()
            thread.join(seconds)
