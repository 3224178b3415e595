"""Real processes: what they say, how they end, and that none outlives its parent."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import torch

from relatum.bench import workers
from relatum.bench.pool import Died, Message, Note, Result, Steps
from relatum.bench.workers import Processes
from relatum.types import Fault
from tests.bench.tasks import Dies, Raises, Says, Unreadable, Waits
from tests.processes import ROOT, long

CPU = torch.device("cpu")
PATIENCE = 120.0


@pytest.fixture(scope="module")
def pool() -> Iterator[Processes]:
    """Two workers for all that does not end them for good."""
    with closing(Processes(2, CPU)) as pool:
        yield pool


def gather(pool: Processes, *keys: str) -> dict[str, list[Message]]:
    """All that these tasks tell, to their ends."""
    told: dict[str, list[Message]] = {key: [] for key in keys}
    began = time.monotonic()
    while any(not each or not isinstance(each[-1], Result | Died) for each in told.values()):
        assert time.monotonic() - began < PATIENCE
        for key, message in pool.wait(0.5):
            told[key].append(message)
    return told


def until(so: Callable[[], bool]) -> None:
    began = time.monotonic()
    while not so():
        assert time.monotonic() - began < PATIENCE
        time.sleep(0.02)


def pid(messages: list[Message]) -> int:
    assert isinstance(messages[-1], Result)
    assert isinstance(messages[-1].value, tuple)
    return int(messages[-1].value[0])


def test_they_work_side_by_side_and_stay(pool: Processes) -> None:
    assert pool.room
    pool.submit("a", Says())
    assert pool.room
    pool.submit("b", Says())
    assert not pool.room
    told = gather(pool, "a", "b")
    for messages in told.values():
        assert messages[:2] == [Steps(1, 2), Note("here")]
    first = {pid(messages) for messages in told.values()}
    assert len(first) == 2
    assert os.getpid() not in first
    pool.submit("c", Says())
    assert pid(gather(pool, "c")["c"]) in first
    assert pool.wait(0.0) == []


def test_one_that_is_unsound_is_replaced(pool: Processes) -> None:
    pool.submit("a", Says(unsound=True))
    before = pid(gather(pool, "a")["a"])
    pool.submit("b", Says())
    pool.submit("c", Says())
    told = gather(pool, "b", "c")
    assert before not in {pid(told["b"]), pid(told["c"])}


def test_one_that_dies_says_how_and_the_next_task_finds_another(pool: Processes) -> None:
    pool.submit("killed", Dies())
    pool.submit("left", Dies(0))
    told = gather(pool, "killed", "left")
    assert told["killed"] == [
        Died("its process was ended by SIGKILL (there may have been too little memory)")
    ]
    assert told["left"] == [Died("its process ended with exit code 3")]
    pool.submit("next", Says())
    assert isinstance(gather(pool, "next")["next"][-1], Result)


def test_a_fault_is_for_the_user_and_the_rest_for_us(pool: Processes) -> None:
    pool.submit("a", Raises(fault=True))
    with pytest.raises(Fault, match="no such thing"):
        gather(pool, "a")
    pool.submit("b", Raises(fault=False))
    with pytest.raises(RuntimeError, match=r"(?s)failed:.*Traceback.*KeyError: 'no such thing'"):
        gather(pool, "b")
    for ends, what in ((False, "FileNotFoundError"), (True, "SystemExit: no such end")):
        pool.submit("c", Unreadable(ends))
        with pytest.raises(RuntimeError, match=rf"(?s)failed:.*Traceback.*{what}"):
            gather(pool, "c")
    pool.submit("d", Says())
    assert isinstance(gather(pool, "d")["d"][-1], Result)


def test_asked_to_stop_they_save(tmp_path: Path) -> None:
    """A Ctrl-C that reaches all processes of a terminal is not for them; a SIGTERM is."""
    with closing(Processes(2, CPU)) as pool:
        for key in ("a", "b"):
            pool.submit(key, Waits(tmp_path))
        until(lambda: len(list(tmp_path.iterdir())) == 2)
        first, second = (int(path.name) for path in sorted(tmp_path.iterdir()))
        os.kill(first, signal.SIGINT)
        os.kill(second, signal.SIGTERM)
        os.kill(second, signal.SIGTERM)
        until(lambda: (tmp_path / str(second)).read_text() == "saved")
        assert (tmp_path / str(first)).read_text() == "waits"
        pool.stop()
        told = gather(pool, "a", "b")
        assert [each[-1] for each in told.values()] == [Result("saved", unsound=True)] * 2


@long
def test_one_that_others_stop_is_not_used_again(tmp_path: Path) -> None:
    """Whether it is busy, idle, or has only just begun; nothing is lost in a dying process."""
    with closing(Processes(1, CPU)) as pool:
        pool.submit("busy", Waits(tmp_path))
        until(lambda: any(tmp_path.iterdir()))
        (place,) = tmp_path.iterdir()
        os.kill(int(place.name), signal.SIGTERM)
        assert gather(pool, "busy")["busy"] == [Result("saved", unsound=True)]
        pool.submit("next", Says())
        idle = pid(gather(pool, "next")["next"])
        assert idle != int(place.name)
        os.kill(idle, signal.SIGTERM)
        pool.submit("late", Says())  # it may be dying, or dead
        (*_, end) = gather(pool, "late")["late"]
        asked = Died("its process ended with exit code 0", outside=True)
        assert isinstance(end, Result) or end == asked
        until(lambda: not alive(idle))
    with closing(Processes(1, CPU)) as pool:
        pool.submit("young", Waits(tmp_path))
        process = pool._workers[0].process
        assert process is not None
        assert process.pid is not None
        os.kill(process.pid, signal.SIGTERM)
        assert gather(pool, "young")["young"] == [
            Died("its process was ended by SIGTERM", outside=True)
        ]


def test_to_close_ends_even_those_that_would_not(tmp_path: Path) -> None:
    pool = Processes(1, CPU)
    pool.submit("a", Waits(tmp_path))
    until(lambda: any(tmp_path.iterdir()))
    (place,) = tmp_path.iterdir()
    pool.close()
    assert not alive(int(place.name))


def alive(number: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        state = Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return False
    return state.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")
def test_orphans_save_and_end(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.bench.tasks", str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    driver = subprocess.Popen(command, cwd=ROOT, env=environment)
    until(lambda: any(tmp_path.iterdir()))
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    orphans = [int(path.name) for path in tmp_path.iterdir()]
    until(lambda: not any(map(alive, orphans)))
    assert [path.read_text() for path in tmp_path.iterdir()] == ["saved"]


@pytest.mark.parametrize(
    ("cores", "wanted", "count", "threads"),
    [(16, None, 4, 4), (16, "2", 4, 2), (16, "16", 4, 4), (2, None, 4, 1), (6, "x", 1, 6)],
)
def test_threads(
    cores: int, wanted: str | None, count: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(cores), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    monkeypatch.delenv(workers.THREADS, raising=False)
    if wanted is not None:
        monkeypatch.setenv(workers.THREADS, wanted)
    assert workers._threads_of(count) == threads


@pytest.mark.parametrize("own", [None, "ACTIVE"])
@pytest.mark.parametrize("together", [1, 2])
def test_threads_that_wait_sleep_where_another_cell_needs_the_processor(
    together: int, own: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(workers.WAITING, raising=False)
    monkeypatch.setenv(workers.THREADS, "7")
    if own is not None:
        monkeypatch.setenv(workers.WAITING, own)
    pool = Processes(1, CPU, together)
    with workers._environment(pool._variables):
        meanwhile = os.environ[workers.THREADS], os.environ.get(workers.WAITING)
    asleep = None if together == 1 else "PASSIVE"
    assert meanwhile == (str(workers._threads_of(1)), own or asleep)
    assert (os.environ[workers.THREADS], os.environ.get(workers.WAITING)) == ("7", own)


def test_gpus_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)

    def places(device: str) -> list[str]:
        pool = Processes(3, torch.device(device))
        return [str(each.device) for each in pool._workers]

    assert places("cuda") == ["cuda:0", "cuda:1", "cuda:0"]
    assert places("cuda:1") == ["cuda:1"] * 3
    assert places("cpu") == ["cpu"] * 3
    with pytest.raises(Fault, match="--workers is at least 1, got 0"):
        Processes(0, CPU)
