"""The command as the processes of torchrun, and what may happen to them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cli.shell import ENVIRONMENT

PATIENCE = 300.0
ALONE = {**ENVIRONMENT, "GLOO_SOCKET_IFNAME": "lo"}


@dataclass
class Job:
    """A torchrun under way.

    Attributes:
        process: torchrun itself.
        folder: the current one of all, where ``said`` keeps what they say.
        workers: every process that torchrun was seen to have started, by its id.
    """

    process: subprocess.Popen[bytes]
    folder: Path
    workers: dict[int, int] = field(default_factory=dict)

    def ranks(self) -> dict[int, int]:
        """The processes that train now: rank, id."""
        found = {}
        for each in _children(self.process.pid):
            with suppress(OSError, KeyError, ValueError):
                found[int(_environment(each)["RANK"])] = each
        self.workers |= {each: rank for rank, each in found.items()}
        return found

    def until(self, so: Callable[[], bool], seconds: float = PATIENCE) -> None:
        """Wait until something is so; the job must not end before."""
        began = time.monotonic()
        while not so():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() - began < seconds, self.said()
            self.ranks()
            time.sleep(0.01)

    def send(self, number: int, rank: int | None = None) -> None:
        """Send a signal to one of its processes, or to torchrun itself."""
        os.kill(self.process.pid if rank is None else self.ranks()[rank], number)

    def end(self, seconds: float = PATIENCE) -> float:
        """Wait for its end; the seconds that took."""
        began = time.monotonic()
        while self.process.poll() is None:
            assert time.monotonic() - began < seconds, self.said()
            self.ranks()
            time.sleep(0.02)
        return time.monotonic() - began

    def gone(self, seconds: float, but: int | None = None) -> float:
        """Wait until all its workers have ended, or all but that rank; the seconds that took."""
        began = time.monotonic()
        waited = [each for each, rank in self.workers.items() if rank != but]
        while any(map(_alive, waited)):
            assert time.monotonic() - began < seconds, self.said()
            time.sleep(0.02)
        return time.monotonic() - began

    def said(self) -> str:
        """Everything on the error output, of torchrun too."""
        return Path(self.folder, "said").read_text(errors="replace")

    def lines(self) -> list[str]:
        """What the command told the user, without its first word."""
        lines = self.said().splitlines()
        return [each.removeprefix("relatum: ") for each in lines if each.startswith("relatum: ")]


@contextmanager
def started(
    *arguments: object,
    cwd: Path,
    processes: int = 2,
    options: tuple[str, ...] = ("--standalone",),
    command: tuple[str, ...] = ("-m", "relatum"),
    environment: Mapping[str, str] | None = None,
) -> Iterator[Job]:
    """Start the command by torchrun; nothing of it is left afterwards, whatever happens."""
    line = [sys.executable, "-m", "torch.distributed.run", *options]
    line += ["--nproc-per-node", str(processes), *command, *map(str, arguments)]
    with Path(cwd, "said").open("wb") as said:
        process = subprocess.Popen(
            line,
            cwd=cwd,
            env={**ALONE, **(environment or {})},
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
    job = Job(process, cwd)
    try:
        yield job
    finally:
        job.ranks()
        for each in (*filter(_alive, job.workers), process.pid):
            with suppress(OSError):
                os.kill(each, signal.SIGKILL)
        process.wait()


def call(*arguments: object, cwd: Path, **options: Any) -> Job:
    """Run it to its end."""
    with started(*arguments, cwd=cwd, **options) as job:
        job.end()
    return job


def _children(process: int) -> list[int]:
    with suppress(OSError):
        return list(map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split()))
    return []


def _environment(process: int) -> dict[str, str]:
    text = Path(f"/proc/{process}/environ").read_text(errors="replace")
    return dict(each.split("=", 1) for each in text.split("\0") if "=" in each)


def _alive(process: int) -> bool:
    """Whether a process runs, or is stopped; a zombie has ended."""
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"
