"""Joining the processes that torchrun started, and leaving them, whatever happened.

A process that is lost never leaves the others waiting: every collective operation ends within
the patience that was agreed, and one of those that are left says who is missing.
"""

import contextlib
import os
import re
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from relatum.last_words import LastWords
from relatum.types import Fault, first_line

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

LONGEST = 2_000_000
"""The most: torch counts milliseconds in 32 bits."""
_BROKEN = re.compile(
    r"\b(gloo|nccl|tcpstore)\b|timed out|connection (closed|reset|refused)|broken pipe",
    re.IGNORECASE,
)
_LATE = re.compile(r"timed out|timeout", re.IGNORECASE)


_MET: list[int] = []
"""Whether this process began to meet the others: then they agree on who tells what."""


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
    return _restarts() > 0


def _restarts() -> int:
    return max(_number("TORCHELASTIC_RESTART_COUNT"), _number("SLURM_RESTART_COUNT"))


def local_rank() -> int:
    """Which of the processes on its machine this is."""
    return _number("LOCAL_RANK")


def wait_for_first(seconds: float = 5.0) -> None:
    """Let the first of a machine's processes tell of what may be wrong with all of them.

    For what goes wrong before they met. torchrun ends the others as soon as one has ended; one
    that goes on after the wait is alone with its error, and tells it.
    """
    if started_together() and not _MET and (place := local_rank()):
        time.sleep(seconds + place)


def _number(name: str) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdigit() else 0


@contextlib.contextmanager
def joined(
    device: torch.device,
    patience: float,
    asked: Callable[[], int | None] = lambda: None,
) -> Iterator[None]:
    """Be one of the processes that torchrun started, for a while; alone, nothing happens.

    Args:
        device: where this one computes; each needs a GPU of its own, if any.
        patience: seconds after which another process that does not answer is given up.
        asked: which signal asked this one to stop, if any did; it then waits no longer for
            others that never came.

    Raises:
        Fault: they did not find each other.
        Lost: another process died or hangs; its message names it, if it can be known.
        Quiet: in place of any error that another process tells of.
    """
    if not started_together():
        yield
        return
    if not 0 < patience <= LONGEST:  # nan is neither
        wait_for_first()
        raise Fault(
            f"patience is a number of seconds, over 0 and up to {LONGEST:,}, got {patience:g}"
        )
    if not _number("RANK") < _number("WORLD_SIZE") or not os.environ["RANK"].isdigit():
        raise Fault(
            f"RANK is {os.environ['RANK']}, and of {os.environ['WORLD_SIZE']} processes each has"
            " a number from 0; start them by torchrun, which sets it"
        )
    kept = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    last_words = LastWords(_number("RANK"), _number("WORLD_SIZE"), kept, local_rank() == 0)
    _MET.append(last_words.rank)
    try:
        _meet(device, patience, asked, last_words)
        yield
        dist.barrier()
    except BaseException as error:
        mine = last_words.begin()
        said: BaseException = error
        if isinstance(error, _Apart):
            said = Fault(error.told(last_words) if mine else str(error))
        elif broken := _how(error):
            said = Lost(_missed(last_words, broken, patience) if mine else broken)
        last_words.end(mine)
        if mine and said is error:
            raise
        raise (said if mine else Quiet(said)) from error
    last_words.unsaid()
    dist.destroy_process_group()


class _Apart(RuntimeError):
    """The processes did not find each other.

    Attributes:
        waited: how the wait for others ended; ``None`` where something else went wrong.
    """

    def __init__(self, message: str, waited: str | None = None) -> None:
        super().__init__(message)
        self.waited = waited

    def told(self, last_words: LastWords) -> str:
        """What the user needs to know."""
        what = f"the processes cannot meet ({self})"
        if self.waited is not None:
            missing = last_words.missing("alive")
            what = f"{_processes(missing, last_words.size)} did not come {self.waited}"
        return f"{what}; see that every one is started, and that each can reach MASTER_ADDR"


def _meet(
    device: torch.device,
    patience: float,
    asked: Callable[[], int | None],
    last_words: LastWords,
) -> None:
    """Find the others. That waits where no signal is heard, so another thread does it."""
    errors: list[Exception] = []

    def meet() -> None:
        try:
            _init(device, timedelta(seconds=patience), last_words)
        except Exception as error:  # whatever it is: without a group each would train alone
            errors.append(error)

    if device.type == "cuda":
        torch.cuda.set_device(device)
    thread = threading.Thread(target=meet, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.1)
        if (signum := asked()) is not None:
            name = signal.Signals(signum).name
            raise _Apart(name, f"before {name} ended the wait")
    if errors:
        line, late = first_line(errors[0]), _LATE.search(str(errors[0]))
        raise _Apart(line, f"within {patience:g} s" if late else None) from errors[0]


def _init(device: torch.device, wait: timedelta, last_words: LastWords) -> None:
    from torch.distributed import PrefixStore, rendezvous  # type: ignore[attr-defined]

    store, rank, size = next(rendezvous("env://", timeout=wait))
    last_words.reach(PrefixStore(f"relatum unmet {_restarts()}", store.clone()))
    with _greeting(store, rank, size) as attempt:
        own = PrefixStore(f"relatum {attempt}", store)
        last_words.reach(own.clone())
        last_words.listen()
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
            store=own,
            rank=rank,
            world_size=size,
            timeout=wait,
        )


@contextlib.contextmanager
def _greeting(store: "Store", rank: int, size: int) -> Iterator[str]:
    """A name for this attempt that all agree on, until all have met.

    torchrun keeps one store for all its restarts, so the addresses of those that were killed
    still stand in it, and its count of restarts is not the same on all machines. The first
    process answers every other one that greets it, by a word that is never used again.
    """
    word, over = uuid.uuid4().hex, threading.Event()
    if rank:
        store.set(f"relatum greeting {rank}", word)
        yield store.get(f"relatum answer to {word}").decode()
        return

    def answer(store: "Store") -> None:
        while not over.wait(0.05):
            for each in range(1, size):
                if store.check([f"relatum greeting {each}"]):
                    other = store.get(f"relatum greeting {each}").decode()
                    store.set(f"relatum answer to {other}", word)

    thread = threading.Thread(target=answer, args=[store.clone()], daemon=True)
    thread.start()
    try:
        yield word
    finally:
        over.set()


def _how(error: BaseException) -> str | None:
    """How an operation broke that needs all processes; ``None`` for any other error."""
    if not isinstance(error, RuntimeError) or isinstance(error, torch.OutOfMemoryError):
        return None
    if "out of memory" in str(error):  # NCCL's own
        return None
    line = first_line(error)
    known = isinstance(error, dist.DistError) or _BROKEN.search(str(error)) is not None
    return line if known else None


def _missed(last_words: LastWords, broken: str, patience: float) -> str:
    """Who does not answer to the roll that is called of those that are left."""
    if _LATE.search(broken):  # all others gave up as this one did
        missing, what = last_words.missing("here"), f"has not answered for {patience:g} s"
    else:
        missing, what = last_words.missing("alive"), "is gone"
    who = _processes(missing, last_words.size)
    return f"{who} {what}: the training ends here; go on with what is saved by --resume"


def _processes(which: list[int], size: int) -> str:
    if len(which) in (0, size):  # the roll itself is out of reach
        return f"another of {size} processes"
    return f"process {', '.join(map(str, which))} of {size} (from 0)"


def leave(code: int) -> None:
    """End this process at once if others count on it: to part in order would wait for them."""
    if started_together():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
