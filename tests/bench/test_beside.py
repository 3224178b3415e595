"""Cells that share their batches are trained in one process; what ends one ends no other."""

import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from relatum.bench.attempt import Attempt, Outcome
from relatum.bench.beside import Abreast, alike
from relatum.bench.experiment import Cell
from relatum.bench.grid import Grid
from relatum.bench.pool import About, Died, Message, Result, Steps
from relatum.bench.schedule import SHARED, finished, run_grid
from relatum.checkpoint import Interrupted, Stop
from relatum.recipes.benchmark import Pair
from relatum.record import Record, unfinished
from tests.bench.pools import Here, Written
from tests.bench.test_schedule import ALONE, KD, PAIR, SP, TEACHER, cells
from tests.processes import long
from tests.run.runs import equal, numbers

CPU = torch.device("cpu")
OTHER = Pair("digits-cnn-large", "mnist-mlp-32")


def ran(some: tuple[Cell, ...], out: Path, pool: Here, together: int, board: Written) -> Any:
    before = finished(some, out)
    return run_grid(some, out, pool, Stop(), board, before=before, unable={}, together=together)


def names(some: tuple[Cell, ...]) -> list[str]:
    return [each.folder.removeprefix("digits-cnn-large--") for each in some]


def test_who_sits_beside_whom(tmp_path: Path) -> None:
    """One seed, one teacher; another student and the student alone are welcome."""
    pairs = (PAIR, OTHER, Pair("digits-cnn-small", "mnist-mlp-32"))
    grid = Grid("digits", pairs, ("none", "kd"), (0, 1))
    large, small, alone, kd, mlp, other, foreign, *later = grid.cells(tmp_path)
    assert [each.folder for each in (large, small)] == [TEACHER, "teachers/digits-cnn-small"]
    assert foreign.teacher == "digits-cnn-small"
    rest = (mlp, other, foreign, *later)
    assert alike(alone, (kd, *rest), 9) == (alone, kd, mlp, other)
    assert alike(alone, (kd, *rest), 3) == (alone, kd, mlp)
    assert alike(alone, rest, 1) == (alone,)
    assert alike(foreign, (alone, kd, mlp, other), 9) == (foreign, alone, mlp)
    assert alike(large, (small,), 9) == (large,)  # they have nothing but images in common
    assert alike(alone, (mlp,), 9) == (alone,)
    changed = [kd.recipe.but(**{name: value}) for name, value in DIFFERENT.items()]
    assert alike(kd, [Cell("x", "x", each) for each in changed], 99) == (kd,)
    altered = Cell("x", "x", kd.recipe, lambda distiller, train: None)
    assert alike(kd, [altered], 2) == (kd,)
    assert alike(altered, [kd], 2) == (altered,)


DIFFERENT: dict[str, Any] = {
    "seed": 5,
    "batch_size": 32,
    "augment": ("crop",),
    "labels": False,
    "validation": 0.1,
    "samples": 100,
    "drop_last": False,
    "precision": "bfloat16",
    "speed": "fast",
    "teacher_precision": "bfloat16",
}


def test_a_whole_grid(tmp_path: Path) -> None:
    """The same records and weights as one after the other, and a word about each cell."""
    apart, near = tmp_path / "apart", tmp_path / "near"
    pool, board = Here(), Written()
    ran(cells(apart, "none", "kd", "sp"), apart, Here(), 1, Written())
    progress = ran(cells(near, "none", "kd", "sp"), near, pool, 3, board)
    assert pool.keys == [TEACHER, ALONE]
    assert sorted(board.ended) == sorted([TEACHER, ALONE, KD, SP])
    assert (progress.done, progress.left, progress.most) == (4, 0, 3)
    assert board.notes == []
    for name in (ALONE, KD, SP):
        assert equal(apart / name, near / name)
        assert numbers(Record.load(apart / name)) == numbers(Record.load(near / name))
        assert not (near / name / "checkpoint.pt").exists()


def test_no_more_than_the_share_of_a_place(tmp_path: Path) -> None:
    """Where others are idle, they get their part: four cells for two are two and two."""

    class Wide(Here):
        room = 2  # type: ignore[assignment]

        def submit(self, key: str, task: Any) -> None:
            sizes.append(len(task.cells) if isinstance(task, Abreast) else 1)
            assert isinstance(task, Attempt | Abreast)
            self.room -= 1
            self.keys.append(key)
            self._held.append((key, task))

        def wait(self, seconds: float) -> list[tuple[str, Message]]:
            told = super().wait(seconds)
            self.room += sum(isinstance(each, Result) for _, each in told)
            return told

    sizes: list[int] = []
    some = cells(tmp_path, "kd", "sp", "rkd", "rrd")
    ran(some, tmp_path, Wide(), 4, Written())
    assert sizes == [1, 2, 2]


def test_one_that_fails_and_others_that_do_not(tmp_path: Path) -> None:
    """A loss that is not finite and an error that nobody foresaw: the one fails, the other is
    tried again by itself, where it is seen whose fault it was."""
    (tmp_path / "own.py").write_text(
        "from torch import nn\n"
        "class Wild(nn.Module):\n"
        "    def forward(self, student):\n"
        "        return student.sum() / 0\n"
        "class Breaks(nn.Module):\n"
        "    def forward(self, student):\n"
        "        if self.training:\n"
        "            raise RuntimeError('not today')\n"
        "        return student.square().mean()\n"
    )
    wild, breaks = (f"{tmp_path}/own.py:{name}" for name in ("Wild", "Breaks"))
    some = cells(tmp_path / "out", wild, breaks, "kd", "none")
    pool, board = Here(), Written()
    progress = ran(some, tmp_path / "out", pool, 4, board)
    _, first, second, *_ = some
    assert pool.keys == [TEACHER, first.folder, second.folder]
    assert (progress.done, progress.failed, progress.left) == (3, 2, 0)
    reason = "RuntimeError: not today"
    assert sorted(each for each in board.notes if second.folder in each) == [
        f"{second.folder} failed: {reason}",
        f"{second.folder}: {reason}; {SHARED}",
    ]
    assert next(each.reason for _, each in unfinished(tmp_path / "out")) == reason
    assert any("since step 1" in each for each in board.notes)


def test_a_process_that_dies_is_no_verdict_on_those_in_it(tmp_path: Path) -> None:
    """Each is tried again by itself; one that another process ends is begun again as ever."""
    ends: list[Message] = [Died("its process was ended by SIGKILL")]
    pool, board = Here(lambda key: ends.pop() if key == KD and ends else None), Written()
    progress = ran(cells(tmp_path, "kd", "sp"), tmp_path, pool, 2, board)
    assert sorted(pool.keys) == sorted([TEACHER, KD, KD, SP])
    assert (progress.done, progress.failed) == (3, 0)
    assert all(each.endswith(SHARED) for each in board.notes)
    assert len(board.notes) == 2
    ends.append(Died("its process was ended by SIGTERM", outside=True))
    again, out = Here(lambda key: ends.pop() if key == KD and ends else None), tmp_path / "again"
    ran(cells(out, "kd", "sp"), out, again, 2, Written())
    assert again.keys == [TEACHER, KD, SP]  # both at once, both times


def test_what_a_task_tells_and_gives(tmp_path: Path) -> None:
    """Steps of every cell by its name, and all results at the end, for who missed one."""
    some = cells(tmp_path, "kd", "sp")
    Attempt(some[0], tmp_path)(CPU, Stop(), lambda _: None)
    told: list[Message] = []
    result = Abreast(some[1:], tmp_path)(CPU, Stop(), told.append)
    assert isinstance(result.value, dict)
    assert set(result.value) == {KD, SP}
    assert not result.unsound
    for folder in (KD, SP):
        own = [each.message for each in told if isinstance(each, About) and each.folder == folder]
        assert isinstance(own[0], Steps)
        assert own[-1] == result.value[folder]
    stop = Stop()
    stop.signum = signal.SIGTERM
    stopped = Abreast(some[1:], tmp_path / "other")(CPU, stop, told.append).value
    assert isinstance(stopped, dict)
    assert {each.value for each in stopped.values()} == {Outcome("stopped")}


def test_results_that_were_not_told_are_taken_from_the_end(tmp_path: Path) -> None:
    class Deaf(Here):
        def wait(self, seconds: float) -> list[tuple[str, Message]]:
            return [each for each in super().wait(seconds) if not isinstance(each[1], About)]

    progress = ran(cells(tmp_path, "kd", "sp"), tmp_path, Deaf(), 2, Written())
    assert (progress.done, progress.failed, progress.left) == (3, 0, 0)


@long
def test_asked_to_stop_in_the_middle(tmp_path: Path) -> None:
    """All save, and go on in a group of another size to the same bits."""
    apart, near = tmp_path / "apart", tmp_path / "near"
    changes = {"epochs": 4, "augment": ["crop"]}
    ran(cells(apart, "kd", "sp", "rrd", scale=1.0, **changes), apart, Here(), 1, Written())
    some = cells(near, "kd", "sp", "rrd", scale=1.0, **changes)
    Attempt(some[0], near)(CPU, Stop(), lambda _: None)
    pool, stop, board = Here(), Stop(), Written()

    steps = iter(range(1000))
    begin = Steps.__init__

    def counting(self: Steps, done: int, of: int) -> None:
        begin(self, done, of)
        if next(steps) == 4:
            pool.stopped.signum = stop.signum = signal.SIGTERM

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Steps, "__init__", counting)
        patch.setattr("relatum.bench.attempt.EVERY", 0.0)
        with pytest.raises(Interrupted):
            run_grid(
                some, near, pool, stop, board, before=finished(some, near), unable={}, together=3
            )
    assert all((near / each.folder / "checkpoint.pt").exists() for each in some[1:])
    assert unfinished(near) == []
    ran(some, near, Here(), 2, Written())
    for each in some[1:]:
        assert equal(apart / each.folder, near / each.folder)
