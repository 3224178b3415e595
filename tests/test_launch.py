"""Processes that meet, part, and lose each other: each ends in time, and one of them says why.

Run as a module this file is one of the processes: its last argument names what happens.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.nn.parallel import DistributedDataParallel

from relatum import launch, together
from relatum.last_words import ROLL_CALL
from relatum.launch import Lost, Quiet
from relatum.types import Fault
from tests.processes import ROOT, environment, long

PATIENCE = 4.0
LONG = 60.0
FAULT, OURS, TOLD_ELSEWHERE = 2, 3, 4
THREADS = Path("/proc/self/task")


@dataclass
class Group:
    """Processes under way, by rank."""

    started: list[subprocess.Popen[str]]

    def ended(self, *but: int) -> tuple[list[int], list[str]]:
        """The exit codes of all but some, and all lines that they said."""
        codes, lines = [], []
        for rank, each in enumerate(self.started):
            if rank not in but:
                lines += each.communicate(timeout=LONG)[1].splitlines()
                codes.append(each.returncode)
        return codes, lines

    def ready(self) -> None:
        """Wait until every one is in the middle of its work."""
        for each in self.started:
            assert each.stdout is not None
            assert each.stdout.readline() == "ready\n"


@contextmanager
def group(
    scenario: str,
    size: int = 2,
    *,
    only: int | None = None,
    agent: bool = True,
    port: int | None = None,
    store: TCPStore | None = None,
    count: str = "0",
    patience: float = LONG,
) -> Iterator[Group]:
    """Start processes as torchrun does, or, without its agent's store, as SLURM's srun does.

    Args:
        scenario: what they do.
        size: how many there are.
        only: the one that is started alone, if any.
        agent: let this process keep the store, as torchrun's agent does.
        port: the store's, instead of a free one.
        store: that of a group before.
        count: how often the second of them was started before.
        patience: seconds for which they wait for each other.
    """
    if store is None:
        store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    if not agent:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = port or free.getsockname()[1]
    variables = {
        **environment(),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port or store.port),
        "WORLD_SIZE": str(size),
        **({"TORCHELASTIC_USE_AGENT_STORE": "True"} if agent else {}),
    }
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.test_launch", scenario, str(patience)],
            env={
                **variables,
                **{"RANK": str(rank), "LOCAL_RANK": str(rank)},
                "TORCHELASTIC_RESTART_COUNT": count if rank == 1 else "0",
            },
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for rank in range(size)
        if only in (None, rank)
    ]
    try:
        yield Group(started)
    finally:
        for each in started:
            with suppress(OSError):
                each.send_signal(signal.SIGKILL)
            each.communicate()


def one(group: Group, *but: int) -> tuple[list[int], str]:
    """The exit codes, and the one line that is said."""
    codes, lines = group.ended(*but)
    said = [line for line in lines if line.startswith(("Fault: ", "Lost: ", "RuntimeError: "))]
    assert len(said) == 1, lines  # beside warnings of the store's own
    assert "Traceback" not in "".join(lines)
    return codes, said[0]


# together ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("agent", [True, False])
def test_they_meet_work_and_part(agent: bool) -> None:
    with group("well", 2, agent=agent) as two:
        assert two.ended() == ([0, 0], [])


@pytest.mark.skipif(not THREADS.exists(), reason="only Linux names the threads of a process")
def test_no_thread_of_the_group_outlives_the_training() -> None:
    """One that lets go of a tensor when the interpreter has ended aborts the process."""
    with group("trained", 2) as two:
        assert two.ended() == ([0, 0], [])


def test_what_another_attempt_left_in_the_store_is_not_read() -> None:
    """torchrun keeps one for all its restarts, which machines count on their own."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    for count in ("0", "1"):
        with group("work", 2, store=store, count=count) as two:
            two.ready()
            two.started[1].kill()
            assert one(two, 1)[1].startswith("Lost: process 1 of 2 (from 0) is gone")


def test_alone_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with launch.joined(torch.device("cpu"), patience=-1):
        assert not dist.is_initialized()
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert not launch.started_together()


def test_patience_is_over_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "0", "MASTER_ADDR": "127.0.0.1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    with (
        pytest.raises(Fault, match="over 0 and up to 2,000,000, got 0"),
        launch.joined(torch.device("cpu"), 0.0),
    ):
        raise AssertionError


def test_whether_it_is_a_further_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT"):
        monkeypatch.setenv(name, "0")
        assert not launch.started_again()
        monkeypatch.setenv(name, "2")
        assert launch.started_again()
        monkeypatch.delenv(name)
    assert not launch.started_again()


# before they met --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("agent", "rank", "who"),
    [
        (True, 0, "process 1 of 2 (from 0)"),
        (True, 1, "process 0 of 2 (from 0)"),
        (False, 0, "another of 2 processes"),
    ],
)
def test_one_that_never_comes_is_waited_for_so_long(agent: bool, rank: int, who: str) -> None:
    began = time.monotonic()
    with group("well", 2, only=rank, agent=agent, patience=PATIENCE) as lonely:
        codes, line = one(lonely)
    assert codes == [FAULT]
    assert line.startswith(f"Fault: {who} did not come within 4 s; see that every one is started")
    assert PATIENCE < time.monotonic() - began < PATIENCE + ROLL_CALL + 10


@pytest.mark.parametrize("rank", [0, 1])
def test_who_is_asked_to_stop_waits_no_longer_for_others(rank: int) -> None:
    began = time.monotonic()
    with group("stopped", 2, only=rank) as lonely:
        codes, line = one(lonely)
    assert codes == [FAULT]
    assert time.monotonic() - began < LONG / 2
    assert f"process {1 - rank} of 2 (from 0) did not come before SIGTERM ended the wait;" in line


def test_a_port_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with group("well", 2, only=0, agent=False, port=port) as lonely:
            codes, line = one(lonely)
    assert codes == [FAULT]
    assert line.startswith("Fault: the processes cannot meet (")
    assert str(port) in line


# lost -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [0, 3])
def test_one_that_is_killed_is_named_by_one_other(rank: int) -> None:
    with group("work", 4) as four:
        four.ready()
        four.started[rank].kill()
        began = time.monotonic()
        codes, line = one(four, rank)
        seconds = time.monotonic() - began
    assert sorted(codes) == [OURS, TOLD_ELSEWHERE, TOLD_ELSEWHERE]
    assert line.startswith(f"Lost: process {rank} of 4 (from 0) is gone")
    assert seconds < ROLL_CALL


@long
def test_two_that_are_killed_are_both_named() -> None:
    with group("work", 4) as four:
        four.ready()
        four.started[1].kill()
        four.started[2].kill()
        _, line = one(four, 1, 2)
    assert line.startswith("Lost: process 1, 2 of 4 (from 0) is gone")


@long
def test_one_that_hangs_is_given_up() -> None:
    with group("work", 3, patience=PATIENCE) as three:
        three.ready()
        three.started[1].send_signal(signal.SIGSTOP)
        began = time.monotonic()
        _, line = one(three, 1)
        seconds = time.monotonic() - began
    assert line.startswith("Lost: process 1 of 3 (from 0) has not answered for 4 s")
    assert seconds < PATIENCE + ROLL_CALL


def test_without_torchrun_the_store_lasts_until_somebody_has_told() -> None:
    """It is the first process's, which hears of the loss as early as the others."""
    with group("work", 4, agent=False) as four:
        four.ready()
        four.started[2].kill()
        codes, line = one(four, 2)
    assert sorted(codes) == [OURS, TOLD_ELSEWHERE, TOLD_ELSEWHERE]
    assert line.startswith("Lost: process 2 of 4 (from 0) is gone")


def test_without_torchrun_everyone_misses_the_first_and_none_hangs() -> None:
    with group("work", 3, agent=False) as three:
        three.ready()
        three.started[0].kill()
        codes, lines = three.ended(0)
    said = [line for line in lines if line.startswith("Lost: ")]  # beside the store's own warnings
    assert codes == [OURS, OURS]
    assert said
    assert all(line.startswith("Lost: another of 3 processes is gone") for line in said)


# errors -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", ["fault on one", "fault on all", "fault of the first"])
def test_a_fault_is_told_once(scenario: str) -> None:
    with group(scenario, 3) as three:
        codes, line = one(three)
    assert line == "Fault: no such folder"
    assert sorted(codes) == [FAULT, TOLD_ELSEWHERE, TOLD_ELSEWHERE]


def test_a_lack_of_memory_is_not_taken_for_a_loss() -> None:
    with group("no memory", 2) as two:
        codes, line = one(two)
    assert line.startswith("RuntimeError: NCCL error: out of memory")
    assert sorted(codes) == [OURS, TOLD_ELSEWHERE]


# one of the processes ---------------------------------------------------------------------------


def work(scenario: str) -> None:
    """What happens in the middle."""
    rank = int(os.environ["RANK"])

    def refuse() -> None:
        raise Fault("no such folder")

    if scenario == "trained":
        network = DistributedDataParallel(nn.Linear(3, 3))
        network(torch.ones(2, 3)).sum().backward()
        assert gloo()
        return
    if scenario == "well":
        assert together.all_of(rank) == list(range(dist.get_world_size()))
        assert together.most(rank) == dist.get_world_size() - 1
        return
    together.most(rank)
    print("ready", flush=True)
    if scenario == "fault on all" or (scenario == "fault on one" and rank == 1):
        refuse()
    if scenario == "fault of the first":
        together.by_first(refuse)
    if scenario == "no memory" and rank == 1:
        raise RuntimeError("NCCL error: out of memory")
    began = time.monotonic()
    while time.monotonic() - began < LONG:
        together.most(rank)


def gloo() -> list[str]:
    """The names of the threads in which its groups of processes work."""
    names = []
    for each in THREADS.glob("*/comm"):
        with suppress(OSError):  # it has just ended
            names.append(each.read_text().strip())
    return [name for name in names if "gloo" in name]


def told(error: BaseException, code: int) -> int:
    print(f"{type(error).__name__}: {error}", file=sys.stderr)
    return code


def take_part(scenario: str, patience: float) -> int:
    """Join, work and part; the exit code."""
    began = time.monotonic()

    def asked() -> int | None:
        late = time.monotonic() - began > 2.0
        return signal.SIGTERM if scenario == "stopped" and late else None

    try:
        with launch.joined(torch.device("cpu"), patience, asked):
            work(scenario)
    except Quiet:
        return TOLD_ELSEWHERE
    except Fault as error:
        return told(error, FAULT)
    except (Lost, RuntimeError) as error:
        return told(error, OURS)
    if scenario == "trained":
        began = time.monotonic()
        while (
            gloo() and time.monotonic() - began < 2
        ):  # one that was joined is listed a moment more
            time.sleep(0.01)
        assert not gloo()
    return 0


if __name__ == "__main__":
    code = take_part(sys.argv[1], float(sys.argv[2]))
    if code:
        launch.leave(code)
