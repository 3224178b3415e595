"""What the processes of one training decide and do as one: who acts, and when to stop.

Every function is called by all processes, in the same order; alone, each costs nothing.
"""

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from relatum import world

T = TypeVar("T")
CPU = torch.device("cpu")


def first() -> bool:
    """Whether this is the process that writes and speaks for all."""
    return world.rank() == 0


def by_first(action: Callable[[], T]) -> T:
    """Let the first process act, and give every process what came of it.

    What it raises, all raise, so none waits for another that has left.
    """
    if world.size() == 1:
        return action()
    said: list[Any] = [None, None]
    error: Exception | None = None
    if first():
        try:
            said[0] = action()
        except Exception as raised:
            error, said[1] = raised, _plain(raised)
    dist.broadcast_object_list(said, src=0, device=CPU)
    if error is not None:
        raise error
    if said[1] is not None:
        raise said[1]
    result: T = said[0]
    return result


def in_turn(action: Callable[[], T]) -> T:
    """Let one process of every machine act first, and then the others: what it fetched is there.

    The others wait for an hour, not only as long as for a step.
    """
    if world.size() == 1:
        return action()
    dist.barrier()  # who is gone by now is missed here, and not waited for as long as that
    patient: Any = dist.new_group(backend="gloo", timeout=timedelta(hours=1))
    ahead = os.environ.get("LOCAL_RANK", str(world.rank())) == "0"
    mine: list[T] = []
    error: Exception | None = None
    if ahead:
        try:
            mine.append(action())
        except Exception as raised:
            error = raised
    every: list[Any] = [None] * world.size()
    dist.all_gather_object(every, _plain(error) if error else None, group=patient)
    dist.destroy_process_group(patient)
    if error is not None:
        raise error
    if found := [each for each in every if each is not None]:
        raise found[0]
    return mine[0] if ahead else action()


def all_of(value: T) -> list[T]:
    """What every process has, in the order of ranks."""
    if world.size() == 1:
        return [value]
    every: list[Any] = [None] * world.size()
    dist.all_gather_object(every, value)
    return every


def most(wish: int) -> int:
    """The highest of what all processes wish; waits for every one of them."""
    if world.size() == 1:
        return wish
    tensor = torch.tensor(wish)
    dist.all_reduce(tensor, dist.ReduceOp.MAX)
    return int(tensor)


class Vote:
    """The highest of what all processes wished one call before, so that nobody waits for it."""

    def __init__(self) -> None:
        self._under_way: tuple[Tensor, Any] | None = None

    def __call__(self, wish: int) -> int:
        """Say what this one wishes, and hear what came of the call before; alone, at once."""
        if world.size() == 1:
            return wish
        before = self._under_way
        tensor = torch.tensor(wish)  # on the CPU, beside what the device does
        self._under_way = tensor, dist.all_reduce(tensor, dist.ReduceOp.MAX, async_op=True)
        return 0 if before is None else self._outcome(*before)

    def close(self) -> int:
        """Wait for the last call's outcome."""
        before, self._under_way = self._under_way, None
        return 0 if before is None else self._outcome(*before)

    @staticmethod
    def _outcome(tensor: Tensor, work: Any) -> int:
        work.wait()
        return int(tensor)


def _plain(error: Exception) -> Exception:
    """An error that travels: without what it came from, which may not."""
    try:
        plain = type(error)(*error.args)
    except Exception:
        plain = RuntimeError(f"{type(error).__name__}: {error}")
    return plain
