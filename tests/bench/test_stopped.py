"""Cells whose processes are stopped by others than the benchmark itself."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from relatum.bench import patience
from relatum.bench.attempt import Outcome
from relatum.bench.patience import STOPS
from relatum.bench.pool import Died, Message, Result
from relatum.bench.rehearsal import rehearse_grid
from relatum.bench.schedule import STOPPED
from relatum.checkpoint import Interrupted, Stop
from relatum.record import Record, unfinished
from relatum.run.claim import CHECKPOINT
from tests.bench.pools import Here, Written
from tests.bench.test_schedule import ALONE, KD, TEACHER, cells, ran
from tests.cli import shell
from tests.cli.test_bench import CELLS, FEWER, begun, moved, no_report
from tests.cli.test_bench import cells as found
from tests.cli.test_kill import finish, folders, wait
from tests.processes import long

__all__ = ["folders", "no_report"]  # fixtures
SAVED = Result(Outcome("stopped"), unsound=True)
ENDED = Died("its process was ended by SIGTERM", outside=True)
DONE = Result(Outcome("done", Record.model_construct()))


def stopped(name: str, times: int, by: Message = SAVED) -> Callable[[str], Message]:
    """One cell is stopped so often before it is done, the others never."""
    left = [by] * times

    def of(key: str) -> Message:
        return left.pop() if key == name and left else DONE

    return of


def saving(out: Path, name: str, ends: Callable[[str], Message]) -> Callable[[str], Message]:
    """A cell writes a checkpoint of its own every time."""
    path = out / name / CHECKPOINT
    path.parent.mkdir(parents=True)
    times = iter(range(1000, 2000))

    def of(key: str) -> Message:
        if key == name:
            path.touch()
            os.utime(path, ns=(0, next(times)))
        return ends(key)

    return of


@pytest.mark.parametrize("by", [SAVED, ENDED])
def test_it_is_begun_again(tmp_path: Path, by: Message) -> None:
    """A teacher at once, before anything else; nothing of it is a failure."""
    board, pool = Written(), Here(stopped(TEACHER, 2, by))
    progress = ran(cells(tmp_path, "none", "kd"), tmp_path, pool, board)
    assert pool.keys == [TEACHER, TEACHER, TEACHER, ALONE, KD]
    assert (progress.done, progress.failed, progress.left) == (3, 0, 0)
    reason = ENDED.reason if by == ENDED else STOPPED
    assert board.notes == [f"{TEACHER}: {reason}; it is begun again"] * 2
    assert unfinished(tmp_path) == []


def test_but_not_for_ever(tmp_path: Path) -> None:
    board, pool = Written(), Here(stopped(TEACHER, 100))
    progress = ran(cells(tmp_path, "none", "kd"), tmp_path, pool, board)
    assert pool.keys == [TEACHER] * STOPS + [ALONE]
    assert (progress.done, progress.failed) == (1, 2)
    lost = {each.label: each.reason for _, each in unfinished(tmp_path)}
    assert lost["kd"] == "its teacher failed"
    assert lost["teacher"].startswith(f"stopped {STOPS} times in a row before it got on: ")
    assert STOPPED in lost["teacher"]
    assert "find out who stops it" in lost["teacher"]


def test_as_often_as_it_likes_if_it_gets_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To have run for a while, and to have saved: the one without the other is not enough."""
    some, times = cells(tmp_path, "none"), 3 * STOPS
    early = saving(tmp_path / "early", ALONE, stopped(ALONE, times))
    assert ran(some, tmp_path / "early", Here(early)).failed == 1
    monkeypatch.setattr(patience, "WHILE", 0.0)
    assert ran(some, tmp_path / "idle", Here(stopped(ALONE, times))).failed == 1
    pool = Here(saving(tmp_path / "on", ALONE, stopped(ALONE, times)))
    progress = ran(some, tmp_path / "on", pool)
    assert (progress.done, progress.failed, len(pool.keys)) == (1, 0, times + 1)


class Signalled(Here):
    """All processes get a signal at once, and the others answer first.

    Args:
        by: what comes of the one that runs.
        stop: the driver's own.
        late: how many answers come before the driver's handler is run.
    """

    def __init__(self, by: Message, stop: Stop, late: int = 0) -> None:
        super().__init__(lambda key: by)
        self._stop, self._late = stop, late

    def wait(self, seconds: float) -> list[tuple[str, Message]]:
        told = super().wait(seconds)
        if self._late == 0:
            self._stop.signum = signal.SIGTERM
        self._late -= bool(told)
        return told


@pytest.mark.parametrize("late", [0, 1])
@pytest.mark.parametrize("by", [SAVED, ENDED])
def test_a_signal_for_all_is_a_stop(tmp_path: Path, by: Message, late: int) -> None:
    stop, board = Stop(), Written()
    with pytest.raises(Interrupted, match="SIGTERM"):
        ran(cells(tmp_path, "none"), tmp_path, Signalled(by, stop, late), board, stop)
    assert unfinished(tmp_path) == []
    assert not any("failed" in note for note in board.notes)


def test_a_rehearsal_that_others_end_is_held_again(tmp_path: Path) -> None:
    some = cells(tmp_path, "kd")
    (first, *_) = {f"{each.teacher}--{each.recipe.student}": None for each in some}

    def ends(times: int) -> Callable[[str], Message | None]:
        left: list[Message] = [ENDED] * times
        return lambda key: left.pop() if key == first and left else None

    pool = Here(ends(2))
    assert rehearse_grid(some, tmp_path, pool, Stop()) == {}
    assert pool.keys.count(first) == 3
    (why,) = rehearse_grid(some, tmp_path, Here(ends(100)), Stop()).values()
    assert (why.kind, why.reason) == ("failed", f"on its first batch: {ENDED.reason}")
    stop = Stop()
    with pytest.raises(Interrupted):
        rehearse_grid(some, tmp_path, Signalled(ENDED, stop), stop)


def workers(driver: int) -> list[int]:
    """The processes that a driver has begun to work in."""
    command = ["pgrep", "-P", str(driver), "-f", "spawn_main"]
    return [int(each) for each in subprocess.run(command, capture_output=True).stdout.split()]


@long
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes by pgrep")
def test_real_processes(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, no_report: None
) -> None:
    """SIGTERM for all, then for one worker and another one alone: the benchmark ends, same bits."""
    whole, broken = folders
    short, names = FEWER, CELLS[:3]
    finish(short, whole, monkeypatch)
    out, arguments = broken / "out", [*short, "--workers", "2", "--resume"]
    reached = moved(out, 3, *names)
    with begun(*arguments, cwd=broken) as process:
        wait(process, reached)
        os.killpg(process.pid, signal.SIGTERM)
        said = process.communicate(timeout=shell.PATIENCE)[1]
        assert process.returncode == 143, said
    line = "relatum: stopped by SIGTERM, and saved; go on with --resume"
    assert said.splitlines()[-1] == line
    assert "failed" not in said
    assert not list(out.rglob("failure.json"))
    reached = moved(out, 3, *names)
    with begun(*arguments, cwd=broken) as process:
        wait(process, reached)
        for each in workers(process.pid):
            os.kill(each, signal.SIGTERM)
        said = process.communicate(timeout=shell.PATIENCE)[1]
        assert process.returncode == 0, said
    assert "it is begun again" in said
    assert not list(out.rglob("failure.json"))
    assert found(out, names) == found(whole / "out", names)
