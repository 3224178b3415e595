"""Tasks for workers: they are pickled, so they live in a module that others can import."""

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from relatum.bench.pool import Note, Result, Steps, Tell
from relatum.bench.workers import Processes
from relatum.checkpoint import Stop
from relatum.types import Fault


@dataclass(frozen=True)
class Says:
    """Tell something, and give back who did it."""

    unsound: bool = False

    def __call__(self, device: torch.device, stop: Stop, tell: Tell) -> Result:
        tell(Steps(1, 2))
        tell(Note("here"))
        said = (os.getpid(), str(device), torch.get_num_threads())
        return Result(said, self.unsound)


@dataclass(frozen=True)
class Dies:
    """End the process, by a signal or by itself."""

    signum: int = signal.SIGKILL

    def __call__(self, device: torch.device, stop: Stop, tell: Tell) -> Result:
        if self.signum:
            os.kill(os.getpid(), self.signum)
            time.sleep(60)
        os._exit(3)


@dataclass(frozen=True)
class Raises:
    """Raise a fault, or something that nobody foresaw."""

    fault: bool

    def __call__(self, device: torch.device, stop: Stop, tell: Tell) -> Result:
        raise Fault("no such thing") if self.fault else KeyError("no such thing")


class Unreadable:
    """Cannot be unpickled: its module cannot be imported, or ends the process, as a script does."""

    def __init__(self, ends: bool = False) -> None:
        self.ends = ends

    def __call__(self, device: torch.device, stop: Stop, tell: Tell) -> Result:
        raise AssertionError("nobody reads it")

    def __reduce__(self) -> tuple[object, ...]:
        return (sys.exit, ("no such end",)) if self.ends else (open, ("no such file",))


@dataclass(frozen=True)
class Waits:
    """Write down who is at it, wait to be asked to stop, and write that down."""

    folder: Path

    def __call__(self, device: torch.device, stop: Stop, tell: Tell) -> Result:
        place = self.folder / str(os.getpid())
        place.write_text("waits")
        while stop.signum is None:
            time.sleep(0.02)
        place.write_text("saved")
        return Result("saved")


def main(folder: Path) -> None:
    """Be a driver of a worker that waits for ever."""
    pool = Processes(1, torch.device("cpu"))
    pool.submit("first", Waits(folder))
    while True:
        pool.wait(1.0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
