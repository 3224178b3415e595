"""Joining the processes that torchrun started, and leaving them, whatever happened.

A process that is lost never leaves the others waiting: every collective operation ends within
the patience that was agreed, and one of those that are left says who is missing.
"""

import contextlib
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from relatum.types import Fault, first_line

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

PATIENCE = 300.0
"""Seconds for which a process waits for the others before it gives them up."""
ROLL_CALL = 3.0
"""Seconds in which those that are left have to say so, once somebody is missed."""
_BROKEN = re.compile(
    r"\b(gloo|nccl|tcpstore)\b|timed out|connection (closed|reset|refused)|broken pipe",
    re.IGNORECASE,
)


class Lost(RuntimeError):
    """Another process is gone, or does not answer."""


class Quiet(Exception):
    """What there is to say, another process says.

    Attributes:
        error: what that is.
    """

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


def started_together() -> bool:
    """Whether torchrun, or what sets its variables, started this process beside others."""
    return "MASTER_ADDR" in os.environ and "RANK" in os.environ and _number("WORLD_SIZE") > 1


def started_again() -> bool:
    """Whether this is a further attempt: of torchrun's restarts, or of SLURM's requeues."""
    return max(_number("TORCHELASTIC_RESTART_COUNT"), _number("SLURM_RESTART_COUNT")) > 0


def local_rank() -> int:
    """Which of the processes on its machine this is."""
    return _number("LOCAL_RANK")


def _number(name: str) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdigit() else 0


@contextlib.contextmanager
def joined(device: torch.device, patience: float = PATIENCE) -> Iterator[None]:
    """Be one of the processes that torchrun started, for a while; alone, nothing happens.

    Args:
        device: where this one computes; each needs a GPU of its own, if any.
        patience: seconds after which another process that does not answer is given up.

    Raises:
        Fault: they did not find each other.
        Lost: another process died or hangs; its message names it, if it can be known.
        Quiet: in place of any error that another process tells of.
    """
    if not started_together():
        yield
        return
    if patience <= 0:
        raise Fault(f"patience is a number of seconds over 0, got {patience:g}")
    store = _met(device, patience)
    rank, size = dist.get_rank(), dist.get_world_size()
    try:
        yield
        dist.barrier()
    except BaseException as error:
        mine = _first_to_say(store, rank)
        said: BaseException = error
        if broken := _how(error):
            said = Lost(_missed(store, size, broken, patience) if mine else broken)
        raise (said if mine else Quiet(said)) from error
    dist.destroy_process_group()


def _met(device: torch.device, patience: float) -> "Store":
    from torch.distributed import PrefixStore, rendezvous  # type: ignore[attr-defined]

    wait = timedelta(seconds=patience)
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.set_device(device)
    try:
        store, rank, size = next(rendezvous("env://", timeout=wait))
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if cuda else "gloo",
            store=PrefixStore("relatum", store),
            rank=rank,
            world_size=size,
            timeout=wait,
        )
    except (RuntimeError, ValueError) as error:
        raise Fault(
            f"process {os.environ['RANK']} of {os.environ['WORLD_SIZE']} did not find the others"
            f" within {patience:g} s ({first_line(error)}); see that every one is started, and"
            " that each machine can reach MASTER_ADDR"
        ) from error
    own: Store = PrefixStore("relatum last words", store)
    return own


def _how(error: BaseException) -> str | None:
    """How an operation broke that needs all processes; ``None`` for any other error."""
    if not isinstance(error, RuntimeError) or isinstance(error, torch.OutOfMemoryError):
        return None
    line = first_line(error)
    known = isinstance(error, dist.DistError) or _BROKEN.search(str(error)) is not None
    return line if known else None


def _missed(store: "Store", size: int, broken: str, patience: float) -> str:
    """Who does not answer to the roll that is called of those that are left."""
    there: set[int] = set()

    def call() -> None:
        until = time.monotonic() + ROLL_CALL
        while time.monotonic() < until and len(there) < size:
            there.update(each for each in range(size) if store.check([f"here {each}"]))
            time.sleep(0.1)

    _within(ROLL_CALL + 1.0, call)
    missing = [each for each in range(size) if each not in there]
    late = f"has not answered for {patience:g} s" if "imed out" in broken else "is gone"
    who = f"process {', '.join(map(str, missing))} of {size} (from 0)"
    if len(missing) in (0, size):  # the roll itself is out of reach
        who = f"another of {size} processes"
    return f"{who} {late}: the training ends here; go on with what is saved by --resume"


def _first_to_say(store: "Store", rank: int) -> bool:
    """Whether no other process has told of an error; where nobody can be asked, it tells."""
    places: list[int] = []

    def answer() -> None:
        store.set(f"here {rank}", "1")
        places.append(store.add("said", 1))

    _within(2.0, answer)
    return places in ([], [1])


def _within(seconds: float, action: Callable[[], object]) -> None:
    """Try something that a broken network may hold up, and go on without it."""

    def attempt() -> None:
        with contextlib.suppress(RuntimeError):
            action()

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(seconds)


def leave(code: int) -> None:
    """End this process at once if others count on it: to part in order would wait for them."""
    if dist.is_available() and dist.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
