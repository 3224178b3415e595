"""Counts, and the time left, from what finished and from the speed of what runs."""

import pytest

import relatum.bench.progress as place
from relatum.bench.experiment import Cell
from relatum.bench.progress import Progress, Running
from relatum.cli.board import counts
from relatum.recipes.recipe import Recipe


def cell(method: str = "kd", seed: int = 0, student: str = "resnet20", teacher: str = "x") -> Cell:
    recipe = Recipe(student=student, method=method, seed=seed)
    return Cell(f"{teacher}--{student}/{method}/seed-{seed}", method, recipe, teacher=teacher)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What time it is."""
    now = [100.0]
    monkeypatch.setattr(place, "monotonic", lambda: now[0])
    return now


def test_nothing_is_known_at_first(clock: list[float]) -> None:
    progress = Progress(3, waiting=[cell(seed=seed) for seed in range(3)])
    assert progress.time_left() is None
    progress.begin(progress.waiting[0])
    assert progress.time_left() is None
    assert (progress.left, len(progress.waiting)) == (2, 2)


def test_the_most_alike_tell(clock: list[float]) -> None:
    progress = Progress(10)
    for seconds, done in [
        (10.0, cell("kd", 0)),
        (20.0, cell("kd", 1)),
        (60.0, cell("sp", 0)),
        (600.0, cell("kd", 0, student="vgg8")),
    ]:
        progress.took(done, seconds)

    def alone(waiting: Cell) -> float | None:
        progress.waiting = [waiting]
        return progress.time_left()

    assert alone(cell("kd", 2)) == 15.0  # other seeds of it
    assert alone(cell("rrd", 2)) == 30.0  # other methods of the pair
    assert alone(cell("rrd", 2, teacher="y")) == 30.0  # other pairs of the student
    assert alone(cell("sp", 2, student="vgg13")) == 60.0  # the method, with any student
    assert alone(cell("rrd", 2, student="vgg13")) == 172.5  # anything


def test_the_present_speed_tells_when_nothing_is_finished(clock: list[float]) -> None:
    progress = Progress(3, waiting=[cell(seed=seed) for seed in range(3)])
    progress.begin(progress.waiting[0])
    (running,) = progress.running.values()
    running.step(0, 1000)
    clock[0] += 5
    running.step(10, 1000)
    assert progress.time_left() is None  # too early to tell
    clock[0] += 5
    running.step(100, 1000)
    assert progress.time_left() == pytest.approx(90 + 2 * 100)


def test_going_on_is_no_speed(clock: list[float]) -> None:
    """A run that goes on at step 500 did not take them just now; a second stage begins anew."""
    running = Running(cell())
    running.step(500, 1000)
    clock[0] += 10
    running.step(600, 1000)
    assert running.expected == pytest.approx(100.0)
    assert running.share == 0.6
    running.step(0, 1000)
    assert running.expected is None
    clock[0] += 3
    running.step(500, 1000)
    assert running.expected == pytest.approx(6.0)


def test_those_that_run_at_once_share_it_but_one_is_not_divided(clock: list[float]) -> None:
    progress = Progress(9)
    progress.took(cell(), 100.0)
    progress.waiting = [cell(seed=seed) for seed in range(1, 9)]
    for _ in range(4):
        progress.begin(progress.waiting[0])
    assert progress.time_left() == pytest.approx(200.0)
    progress.waiting, progress.running = [cell(seed=8)], {}
    assert progress.time_left() == pytest.approx(100.0)


def test_measuring_is_left_when_all_steps_are_taken(clock: list[float]) -> None:
    """A finished cell of its kind took a minute, ten seconds of which were training."""
    progress = Progress(2)
    progress.took(cell(), 60.0)
    progress.waiting = [cell(seed=1)]
    progress.begin(progress.waiting[0])
    (running,) = progress.running.values()
    running.step(0, 100)
    clock[0] += 10
    running.step(100, 100)
    assert progress.time_left() == pytest.approx(50.0)
    clock[0] += 100
    assert progress.time_left() == 0.0


def test_in_a_line(clock: list[float]) -> None:
    progress = Progress(12, failed=1, refused=3, elsewhere=1)
    progress.took(cell(), 3600.0)
    progress.waiting = [cell(seed=seed) for seed in range(1, 8)]
    progress.begin(progress.waiting[0])
    progress.begin(progress.waiting[0])
    assert counts(progress) == (
        "1 of 12 done, 2 running, 1 failed, 3 refused, 1 at another process, 5 left,"
        " about 3 h 30 min"
    )
