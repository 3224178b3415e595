"""Processes of this machine: each takes one task after the other, and none outlives its parent."""

import contextlib
import os
import pickle
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from multiprocessing import connection, get_context, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

import torch

from relatum.bench.pool import About, Died, Message, Note, Result, Steps, Task
from relatum.checkpoint import Stop
from relatum.types import Fault

GRACE = 60.0
"""Seconds that a worker has to save after its parent died."""
PARTING = 5.0
"""Seconds that an idle worker has to end."""
THREADS, WAITING = "OMP_NUM_THREADS", "OMP_WAIT_POLICY"
"""What OpenMP reads when a process begins. Where cells sit beside each other, threads that wait for
work sleep, unless the user has it otherwise: every cell has helpers of its own, and those of one
would spin on the processors that another's turn needs (docs/log.md has the numbers)."""


@dataclass
class _Worker:
    """A place for one task at a time, and the process that does it, once there is one."""

    device: torch.device
    process: BaseProcess | None = None
    pipe: Connection | None = None
    key: str | None = None


class Processes:
    """A pool of processes. Each begins with its first task, and again after one that died.

    Args:
        count: how many at once.
        device: where they compute; several GPUs are shared out among them, unless one is named.
        together: how many cells each of them trains beside each other, at most.
    """

    def __init__(self, count: int, device: torch.device, together: int = 1) -> None:
        if count < 1:
            raise Fault(f"--workers is at least 1, got {count}")
        places = [device]
        if device.type == "cuda" and device.index is None and torch.cuda.device_count() > 1:
            places = [torch.device("cuda", each) for each in range(torch.cuda.device_count())]
        self._workers = [_Worker(places[each % len(places)]) for each in range(count)]
        self._variables = {THREADS: str(_threads_of(count))}
        if together > 1:
            self._variables[WAITING] = os.environ.get(WAITING, "PASSIVE")

    @property
    def room(self) -> int:
        """How many of them are idle."""
        return sum(each.key is None for each in self._workers)

    def submit(self, key: str, task: Task) -> None:
        """Hand a task to an idle one."""
        worker = next(each for each in self._workers if each.key is None)
        if worker.process is None or not worker.process.is_alive():
            self._begin(worker)
        assert worker.pipe is not None
        worker.key = key
        with contextlib.suppress(OSError):  # it died idle: its pipe will say so
            worker.pipe.send(task)

    def wait(self, seconds: float) -> list[tuple[str, Message]]:
        """What the busy ones told; a process that ended tells its last."""
        busy = {each.pipe: each for each in self._workers if each.key is not None and each.pipe}
        if not busy:
            time.sleep(seconds)
        told: list[tuple[str, Message]] = []
        for pipe in connection.wait(list(busy), seconds) if busy else ():
            assert isinstance(pipe, Connection)
            told += _read(busy[pipe])
        return told

    def stop(self) -> None:
        """Ask every one to save and end."""
        for each in self._workers:
            if each.pipe is not None:
                with contextlib.suppress(OSError):
                    each.pipe.send(None)

    def close(self) -> None:
        """End them: the idle ones on a word, the busy ones as they are."""
        self.stop()
        until = time.monotonic() + PARTING
        for each in self._workers:
            if each.process is not None:
                if each.key is None:
                    each.process.join(max(0.0, until - time.monotonic()))
                each.process.kill()
                each.process.join()
            if each.pipe is not None:
                each.pipe.close()

    def _begin(self, worker: _Worker) -> None:
        if worker.pipe is not None:
            worker.pipe.close()
        context = get_context("spawn")
        worker.pipe, theirs = context.Pipe()
        worker.process = context.Process(
            target=serve, args=(theirs, str(worker.device)), name="relatum-bench"
        )
        with _environment(self._variables), _deaf():
            worker.process.start()
        theirs.close()


def _read(worker: _Worker) -> Iterator[tuple[str, Message]]:
    """All that lies in a worker's pipe."""
    key, pipe = worker.key, worker.pipe
    assert key is not None
    assert pipe is not None
    try:
        while worker.key is not None and pipe.poll():
            message = pipe.recv()
            if isinstance(message, Result | BaseException):
                worker.key = None
            if isinstance(message, BaseException):
                if not isinstance(message, Fault):
                    _end(worker)
                raise message
            if isinstance(message, Result) and message.unsound:
                _end(worker)
            yield key, message
    except (EOFError, OSError):
        worker.key = None
        yield key, _end(worker)


def _end(worker: _Worker) -> Died:
    """Wait for the end of a process that is about to; how it ended.

    With a task and without a result, that is orderly only where somebody asked it to end: as it
    began, before it could listen, or idle, before it could take the task.
    """
    assert worker.process is not None
    worker.process.join(PARTING)
    worker.process.kill()
    worker.process.join()
    code = worker.process.exitcode or 0
    if code < 0:
        name = signal.Signals(-code).name
        memory = " (there may have been too little memory)" if name == "SIGKILL" else ""
        return Died(f"its process was ended by {name}{memory}", outside=name == "SIGTERM")
    return Died(f"its process ended with exit code {code}", outside=code == 0)


def serve(pipe: Connection, device: str) -> None:
    """What a worker does: tasks from a pipe, until the pipe ends or brings the word to stop."""
    stop = Stop()
    tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()

    def end(*_: object) -> None:
        stop.signum = signal.SIGTERM
        tasks.put(None)

    def listen() -> None:
        while True:
            try:
                said = pipe.recv_bytes()
            except (EOFError, OSError):  # the parent is dead
                end()
                time.sleep(GRACE)
                os._exit(1)
            try:
                task: Task | None = pickle.loads(said)
            except BaseException:  # of a module that cannot be imported here, or ends as it is
                failed()
                return end()
            if task is None:
                return end()
            tasks.put(task)

    def failed() -> None:
        tell(RuntimeError(f"a worker of the benchmark failed:\n{traceback.format_exc()}"))

    def tell(message: Steps | Note | About | Result | BaseException) -> None:
        with contextlib.suppress(OSError):
            pipe.send(message)

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # its parent hears it, and asks
    signal.signal(signal.SIGTERM, end)
    threading.Thread(target=listen, daemon=True).start()
    while (task := tasks.get()) is not None:
        try:
            result = task(torch.device(device), stop, tell)
        except Fault as fault:
            tell(fault)
            continue
        except Exception:
            failed()
            return
        asked = stop.signum is not None  # perhaps by somebody else than its parent
        result = replace(result, unsound=result.unsound or asked)
        tell(result)
        if result.unsound:
            return


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """These for the processes that begin meanwhile."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Ctrl-C reaches all processes of a terminal; those that begin meanwhile never hear it.

    They are asked to stop by their parent, once. A signal to it is held back, not lost.
    """
    if sys.platform == "win32":
        yield
        return
    resource_tracker.ensure_running()  # which would lift the mask when it is begun later
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _threads_of(count: int) -> int:
    """Threads for each of so many processes: its share of the processors that this one may use,
    or fewer, where the user wants fewer."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    wanted = os.environ.get(THREADS, "")
    most = int(wanted) if wanted.isdigit() and int(wanted) else cores
    return max(1, min(most, cores // count))
