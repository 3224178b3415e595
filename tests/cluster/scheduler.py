"""A SLURM of one machine, as much of it as a batch script notices: the signal, the requeue.

Run as a program it is ``srun`` or ``scontrol``, by its first argument.
"""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

JOB = 4711
REQUEUE = "requeue"
"""The file by which ``scontrol`` asks the scheduler for another start."""


class Slurm:
    """A scheduler whose nodes are all on this machine.

    Args:
        folder: where it keeps what a real one keeps in its spool.
        environment: what the job sees besides SLURM's own variables.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        commands = folder / "bin"
        commands.mkdir(parents=True)
        for name in ("srun", "scontrol"):
            call = shlex.join([sys.executable, "-S", __file__, name])
            (commands / name).write_text(f'#!/bin/sh\nexec {call} "$@"\n')
            (commands / name).chmod(0o755)
        path = f"{commands}{os.pathsep}{os.environ['PATH']}"
        self._environment = {**os.environ, **environment, "SPOOL": str(folder), "PATH": path}

    def sbatch(
        self,
        script: Path,
        *arguments: object,
        times_up: Sequence[Callable[[], bool]],
        patience: float,
    ) -> list[int]:
        """Run a job, with all the times that it goes back into the queue.

        Args:
            script: the batch script; its ``#SBATCH`` lines must allow what happens to it.
            arguments: the script's own.
            times_up: for each start but the last ones, whether its time is nearly up.
            patience: seconds that one start may take in all.

        Returns:
            The exit code of every start.
        """
        options = dict(re.findall(r"^#SBATCH --([\w-]+)=?(\S*)$", script.read_text(), re.MULTILINE))
        assert re.fullmatch(r"B:USR1@\d+", options["signal"])
        assert "requeue" in options
        spooled = self._folder / "slurm_script"  # a copy, as in SLURM's spool: away from its place
        spooled.write_text(script.read_text())
        request = self._folder / REQUEUE
        codes: list[int] = []
        while not codes or request.exists():
            request.unlink(missing_ok=True)
            variables = {"SLURM_JOB_ID": str(JOB), "SLURM_NNODES": options["nodes"]}
            variables |= {"SLURM_JOB_NODELIST": "all", "SLURM_CPUS_PER_TASK": "1"}
            if codes:
                variables["SLURM_RESTART_COUNT"] = str(len(codes))
            is_up = times_up[len(codes)] if len(codes) < len(times_up) else lambda: False
            with (self._folder / f"said-{len(codes)}").open("wb") as said:
                job = subprocess.Popen(
                    ["bash", spooled, *map(str, arguments)],
                    stdout=said,
                    stderr=said,
                    env={**self._environment, **variables},
                    start_new_session=True,
                )
            codes.append(_watched(job, is_up, patience))
        return codes

    def said(self, start: int) -> str:
        """What a start of the job said, from 0."""
        return (self._folder / f"said-{start}").read_text()


def _watched(job: "subprocess.Popen[bytes]", is_up: Callable[[], bool], patience: float) -> int:
    """Signal the batch script, and it alone, when its time is nearly up."""
    began, warned = time.monotonic(), False
    try:
        while job.poll() is None and time.monotonic() - began < patience:
            if not warned and is_up():
                warned = True
                job.send_signal(signal.SIGUSR1)
            time.sleep(0.05)
        assert job.returncode is not None, f"the job did not end within {patience:g} s"
        return job.returncode
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(job.pid, signal.SIGKILL)
        job.wait()


def srun(arguments: Sequence[str]) -> int:
    """Run a command on every node, hand signals on, and stop all when one ends badly."""
    command = list(arguments)
    while command[0].startswith("--"):
        command.pop(0)
    tasks = [
        subprocess.Popen(command, env={**os.environ, "SLURM_NODEID": str(node)})
        for node in range(int(os.environ["SLURM_NNODES"]))
    ]

    def hand_on(number: int, _: object) -> None:
        for each in tasks:
            if each.poll() is None:
                each.send_signal(number)

    for each in (signal.SIGUSR1, signal.SIGTERM):
        signal.signal(each, hand_on)
    while any(each.poll() is None for each in tasks):
        if "--kill-on-bad-exit=1" in arguments and any(each.returncode for each in tasks):
            hand_on(signal.SIGTERM, None)
            break
        time.sleep(0.05)
    return max(each.wait() for each in tasks)


def scontrol(arguments: Sequence[str]) -> int:
    """``show hostnames``, and ``requeue``."""
    if arguments[:2] == ["show", "hostnames"]:
        print("127.0.0.1\n" * int(os.environ["SLURM_NNODES"]), end="")
        return 0
    assert arguments == ["requeue", str(JOB)], arguments
    Path(os.environ["SPOOL"], REQUEUE).touch()
    return 0


if __name__ == "__main__":
    sys.exit({"srun": srun, "scontrol": scontrol}[sys.argv[1]](sys.argv[2:]))
