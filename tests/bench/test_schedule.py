"""Every cell once, teachers before students; what goes wrong stops nothing else."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch

import relatum.bench.schedule as place
from relatum.bench.attempt import Attempt, Outcome
from relatum.bench.experiment import Cell
from relatum.bench.grid import Grid
from relatum.bench.pool import Died, Message, Result
from relatum.bench.progress import Progress
from relatum.bench.rehearsal import Unable
from relatum.bench.schedule import finished, run_grid
from relatum.checkpoint import Interrupted, Stop
from relatum.recipes.benchmark import Pair
from relatum.record import Record, unfinished
from relatum.run.lock import hold
from relatum.types import Fault
from tests.bench.pools import Here, Written, below

PAIR = Pair("digits-cnn-large", "digits-cnn-small")
TEACHER, ALONE = "teachers/digits-cnn-large", "alone/digits-cnn-small/seed-0"
KD, SP = (f"digits-cnn-large--digits-cnn-small/{name}/seed-0" for name in ("kd", "sp"))


def cells(out: Path, *methods: str, scale: float = 0.03, **changes: object) -> tuple[Cell, ...]:
    return Grid("digits", (PAIR,), methods, (0,), scale, changes=changes).cells(out)


def ran(
    some: Iterable[Cell],
    out: Path,
    pool: Here | None = None,
    board: Written | None = None,
    stop: Stop | None = None,
    unable: dict[str, Unable] | None = None,
) -> Progress:
    some = tuple(some)
    return run_grid(
        some,
        out,
        pool or Here(),
        stop or Stop(),
        board or Written(),
        before=finished(some, out),
        unable=unable or {},
    )


def scripted(**ends: Message) -> Callable[[str], Message | None]:
    """Ends by the method's name, and records out of thin air for all others."""

    def of(key: str) -> Message:
        name = next((name for name in ends if name in key.split("/")), None)
        return ends.pop(name) if name else Result(Outcome("done", Record.model_construct()))

    return of


def test_a_whole_grid(tmp_path: Path) -> None:
    pool, board = Here(), Written()
    some = cells(tmp_path, "none", "kd", "sp")
    progress = ran(some, tmp_path, pool, board)
    assert pool.keys == [TEACHER, ALONE, KD, SP] == board.ended
    assert (progress.done, progress.total, progress.left) == (4, 4, 0)
    assert board.notes == []
    record = Record.load(tmp_path / KD)
    assert (record.label, record.recipe.epochs, record.recipe.scale) == ("kd", 1, 0.03)
    assert record.teacher is not None
    assert record.teacher.name == "digits-cnn-large"
    assert not any(name.endswith("checkpoint.pt") for name in below(tmp_path))
    # and again: nothing of it is touched
    before = {name: (tmp_path / name).stat().st_mtime_ns for name in below(tmp_path)}
    again = Here()
    assert ran(some, tmp_path, again).done == 4
    assert again.keys == []
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in below(tmp_path)} == before
    # one method more: only that is run
    ran(cells(tmp_path, "none", "kd", "sp", "rrkd"), tmp_path, again)
    assert again.keys == [KD.replace("kd", "rrkd")]


def test_a_failure_is_kept_in_a_line_and_stops_no_other(tmp_path: Path) -> None:
    """It is tried again when the benchmark is started again, and forgotten once it is done."""
    board, trace = Written(), "Traceback\nValueError"
    ends = {KD.split("/")[1]: Result(Outcome("failed", reason="no luck", trace=trace))}
    some = cells(tmp_path, "none", "kd", "sp")
    pool = Here(lambda key: ends.get(key.split("/")[1]))
    progress = ran(some, tmp_path, pool, board)
    assert pool.keys == [TEACHER, ALONE, KD, SP]
    assert (progress.done, progress.failed, progress.left) == (3, 1, 0)
    assert board.notes == [f"{KD} failed: no luck"]
    assert json.loads((tmp_path / KD / "failure.json").read_text()) == {
        "label": "kd",
        "kind": "failed",
        "reason": "no luck",
        "seed": 0,
        "teacher": "digits-cnn-large",
        "student": "digits-cnn-small",
    }
    assert (tmp_path / KD / "traceback.txt").read_text() == trace
    assert [each.label for _, each in unfinished(tmp_path)] == ["kd"]
    again = Here()
    assert ran(some, tmp_path, again).failed == 0
    assert again.keys == [KD]
    assert unfinished(tmp_path) == []
    assert not {"failure.json", "traceback.txt"} & {path.name for path in (tmp_path / KD).iterdir()}


def test_a_teacher_that_fails_takes_its_students_along(tmp_path: Path) -> None:
    board = Written()
    pool = Here(scripted(teachers=Died("its process was ended by SIGKILL")))
    progress = ran(cells(tmp_path, "none", "kd", "sp"), tmp_path, pool, board)
    assert pool.keys == [TEACHER, ALONE]
    assert (progress.done, progress.failed) == (1, 3)
    assert board.notes == [
        f"{TEACHER} failed: its process was ended by SIGKILL",
        f"{KD} failed: its teacher failed",
        f"{SP} failed: its teacher failed",
    ]
    assert [(each.label, each.reason) for _, each in unfinished(tmp_path)] == [
        ("kd", "its teacher failed"),
        ("sp", "its teacher failed"),
        ("teacher", "its process was ended by SIGKILL"),
    ]


def test_what_the_rehearsal_refused_is_not_run(tmp_path: Path) -> None:
    unable = {KD: Unable("refused", "no classes"), SP: Unable("failed", "ValueError: x", "trace")}
    pool, board = Here(scripted()), Written()
    some = cells(tmp_path, "none", "kd", "sp", "rrkd")
    progress = ran(some, tmp_path, pool, board, unable=unable)
    assert pool.keys == [TEACHER, ALONE, KD.replace("kd", "rrkd")]
    assert (progress.refused, progress.failed, progress.done) == (1, 1, 3)
    assert board.notes == [f"{SP} failed: ValueError: x"]  # refusals were told before
    found = {each.label: each.kind for _, each in unfinished(tmp_path)}
    assert found == {"kd": "refused", "sp": "failed"}
    assert (tmp_path / SP / "traceback.txt").exists()


def test_a_teacher_without_a_student_is_not_trained(tmp_path: Path) -> None:
    unable = {KD: Unable("refused", "no classes"), SP: Unable("refused", "no maps")}
    pool = Here(scripted())
    progress = ran(cells(tmp_path, "kd", "sp"), tmp_path, pool, unable=unable)
    assert pool.keys == []
    assert (progress.refused, progress.total, progress.left) == (2, 2, 0)


def test_a_cell_that_another_process_is_at_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two drivers share a folder: neither does what the other is doing, both see it done."""
    monkeypatch.setattr(place, "AGAIN", 0.0)
    some = cells(tmp_path, "none")
    held = hold(tmp_path / ALONE)
    held.__enter__()
    seen: list[str] = []

    class Watching(Here):
        def submit(self, key: str, task: object) -> None:
            seen.append(key)
            if len(seen) == 3:
                held.__exit__(None, None, None)
            super().submit(key, task)  # type: ignore[arg-type]

    progress = ran(some, tmp_path, Watching())
    assert seen == [ALONE] * 3
    assert (progress.done, progress.failed) == (1, 0)


def test_asked_to_stop(tmp_path: Path) -> None:
    """What runs saves and is no failure; nothing more is begun; the same command goes on."""
    stop, board = Stop(), Written()
    some = cells(tmp_path, "none", "kd")

    class Halting(Here):
        def submit(self, key: str, task: object) -> None:
            stop.signum = 15
            super().submit(key, task)  # type: ignore[arg-type]

        def wait(self, seconds: float) -> list[tuple[str, Message]]:
            return super().wait(seconds) if self.stopped.signum else []

    pool = Halting()
    with pytest.raises(Interrupted):
        ran(some, tmp_path, pool, board, stop)
    assert pool.keys == [TEACHER]
    assert board.notes == ["stopping: what runs is saved first"]
    assert unfinished(tmp_path) == []
    assert below(tmp_path) == []  # stopped before it began
    assert ran(some, tmp_path).done == 3


def test_a_process_that_is_killed_while_stopping_is_no_failure(tmp_path: Path) -> None:
    stop = Stop()

    class Halting(Here):
        def submit(self, key: str, task: object) -> None:
            stop.signum = 2
            super().submit(key, task)  # type: ignore[arg-type]

        def wait(self, seconds: float) -> list[tuple[str, Message]]:
            return super().wait(seconds) if self.stopped.signum else []

    with pytest.raises(Interrupted):
        ran(cells(tmp_path, "none"), tmp_path, Halting(lambda key: Died("killed")), stop=stop)
    assert unfinished(tmp_path) == []


def test_a_folder_of_another_recipe_is_refused_before_anything_begins(tmp_path: Path) -> None:
    ran(cells(tmp_path, "none"), tmp_path)
    with pytest.raises(Fault, match=r"holds a run of another recipe \(epochs: 1 there, 2 asked"):
        finished(cells(tmp_path, "none", scale=0.06), tmp_path)


def attempt(cell: Cell, out: Path) -> Result:
    return Attempt(cell, out)(torch.device("cpu"), Stop(), lambda _: None)


def test_what_becomes_of_an_attempt(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from torch import nn\n"
        "class Breaks(nn.Module):\n"
        "    def forward(self, student):\n"
        "        raise RuntimeError('first\\nsecond')\n"
        "class Leaves(nn.Module):\n"
        "    def forward(self, student):\n"
        "        raise SystemExit(3)\n"
        "class Wild(nn.Module):\n"
        "    def forward(self, student):\n"
        "        return student.sum() / 0\n"
    )
    methods = [f"{tmp_path}/own.py:{name}" for name in ("Breaks", "Leaves", "Wild")]
    teacher, breaks, leaves, wild = cells(tmp_path / "out", *methods)
    assert attempt(teacher, tmp_path / "out").unsound is False

    def outcome(cell: Cell) -> tuple[str, str, bool]:
        result = attempt(cell, tmp_path / "out")
        assert isinstance(result.value, Outcome)
        return result.value.kind, result.value.reason, result.unsound

    assert outcome(breaks) == ("failed", "RuntimeError: first", True)
    assert outcome(leaves) == ("failed", "SystemExit: 3", True)
    kind, reason, unsound = outcome(wild)
    assert (kind, unsound) == ("failed", False)
    assert "since step 1" in reason
    trace = attempt(breaks, tmp_path / "out").value
    assert isinstance(trace, Outcome)
    assert "own.py" in trace.trace
    assert below(tmp_path / "out" / breaks.folder) == []
