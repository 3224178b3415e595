"""Labels, and the clock that reads them."""

import threading
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from relatum.profiling import Watch, arriving, label, labelled, region, watched, watching
from relatum.profiling.regions import FIRST, PROFILING, REST, SETTLED, START, TRACED, USUAL, WAIT
from relatum.types import Batch


class Clock:
    """Time that moves when it is told to, in quarters, which add up exactly."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds


class Tracer:
    """Notes what it is asked; each call takes half a second."""

    steps = 3

    def __init__(self, clock: Clock) -> None:
        self._clock, self.asked = clock, list[str]()

    def start(self) -> None:
        self._note("start")

    def step(self) -> None:
        self._note("step")

    def stop(self) -> None:
        self._note("stop")

    def _note(self, name: str) -> None:
        self._clock.pass_(0.5)
        self.asked.append(name)


def batch(samples: int = 4) -> Batch:
    return Batch(torch.zeros(samples, 1, 2, 2), None, torch.arange(samples))


def take(clock: Clock, batches: Iterator[Batch]) -> None:
    """Steps of 4 seconds: data 1/4, the teacher 1, the rest 2 + 3/4."""
    for _ in batches:
        with region("step"):
            clock.pass_(0.25)
            with region("teacher"):
                clock.pass_(1.0)
            clock.pass_(2.5)


def arrive(clock: Clock, count: int) -> Iterator[Batch]:
    for _ in range(count):
        clock.pass_(0.25)
        yield batch()


def whole(watch: Watch) -> float:
    books = (*watch.inside.values(), *watch.around.values())
    return sum(sum(book.values()) for book in books)


def test_every_moment_belongs_to_the_innermost_label() -> None:
    clock = Clock()
    watch = Watch(steps=5, clock=clock)
    with watching(watch):
        clock.pass_(7.0)
        with region("teacher"):  # a first look, before any step
            clock.pass_(2.0)
        take(clock, arriving(arrive(clock, 3)))
        with region("evaluation"):
            clock.pass_(3.0)
            with region("checkpoint"):
                clock.pass_(0.5)
            clock.pass_(1.0)
        clock.pass_(0.125)
    assert dict(watch.around[START]) == {REST: 7.0, "teacher": 2.0}
    assert dict(watch.inside[FIRST]) == {"data": 0.75, "teacher": 3.0, "step": 8.25}
    assert dict(watch.around[FIRST]) == {REST: 0.125, "evaluation": 4.0, "checkpoint": 0.5}
    assert dict(watch.calls[FIRST]) == {"data": 3, "teacher": 3, "step": 3}
    assert watch.steps[FIRST] == 3
    assert watch.samples[FIRST] == 12
    assert watch.whole == whole(watch) == clock.now - 100


def test_the_first_steps_and_the_traced_ones_stand_apart() -> None:
    clock = Clock()
    tracer, settled = Tracer(clock), list[float]()
    watch = Watch(4, tracer, lambda: settled.append(clock.now), clock)
    with watching(watch):
        take(clock, arriving(arrive(clock, SETTLED + 4 + 3 + 6)))
    assert dict(watch.steps) == {FIRST: SETTLED, USUAL: 4 + 6, TRACED: 3}
    assert tracer.asked == ["start", "step", "step", "step", "stop"]
    assert watch.around[TRACED][PROFILING] == 2.5
    assert len(settled) == 2, "the device is waited for where one phase pays for another"
    assert watch.inside[USUAL]["step"] == 27.5
    assert watch.inside[FIRST][WAIT] == 0
    assert watch.whole == whole(watch)


def test_a_run_that_ends_while_it_is_traced_ends_the_trace() -> None:
    clock = Clock()
    tracer = Tracer(clock)
    watch = Watch(1, tracer, clock=clock)

    @labelled("step")
    def breaks() -> None:
        with region("backward"):
            clock.pass_(1.0)
            raise RuntimeError("broke")

    def run() -> None:
        with watching(watch):
            take(clock, arriving(arrive(clock, SETTLED + 2)))
            breaks()

    with pytest.raises(RuntimeError, match="broke"):
        run()
    assert tracer.asked == ["start", "step", "step", "stop"]
    assert watch.inside[TRACED]["backward"] == 1.0
    assert watch.whole == whole(watch)
    assert not watched()


def test_a_label_within_itself_is_one_call() -> None:
    watch = Watch(1)
    with watching(watch), region("step"), region("student"), region("student"):
        pass
    assert watch.calls[FIRST]["student"] == 1


def test_other_threads_are_passed_over() -> None:
    clock = Clock()
    watch = Watch(1, clock=clock)

    def elsewhere() -> None:
        with region("evaluation"):
            clock.pass_(1.0)

    with watching(watch):
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert dict(watch.around[START]) == {REST: 1.0}


def test_without_a_watch_nothing_is_made() -> None:
    assert region("teacher") is region("student")
    batches = iter([batch()])
    assert arriving(batches) is batches
    module = nn.Linear(2, 2)
    label(teacher=module)
    assert not module._forward_hooks
    assert not module._forward_pre_hooks


def test_a_function_is_labelled() -> None:
    clock = Clock()
    watch = Watch(1, clock=clock)

    @labelled("evaluation")
    def measure(seconds: float, *, more: float = 0.0) -> float:
        """Measure."""
        clock.pass_(seconds + more)
        return seconds

    assert measure(1.0) == 1.0
    with watching(watch):
        assert measure(2.0, more=1.0) == 2.0
    assert watch.around[START]["evaluation"] == 3.0
    assert measure.__doc__ == "Measure."


class Slow(nn.Module):
    def __init__(self, clock: Clock, breaks: bool = False) -> None:
        super().__init__()
        self._clock, self._breaks = clock, breaks

    def forward(self, student: Tensor) -> Tensor:
        self._clock.pass_(1.0)
        if self._breaks:
            raise ArithmeticError
        return student


def test_modules_are_labelled_for_as_long_as_somebody_watches() -> None:
    clock = Clock()
    watch, fine, broken = Watch(1, clock=clock), Slow(clock), Slow(clock, breaks=True)
    with watching(watch), region("step"):
        label(**{"losses/fine": fine, "losses/broken": broken, "teacher": None})
        fine(student=torch.ones(1))
        with pytest.raises(ArithmeticError):
            broken(student=torch.ones(1))
        clock.pass_(0.5)
    expected = {"losses/fine": 1.0, "losses/broken": 1.0, "step": 0.5}
    assert dict(watch.inside[FIRST]) == expected
    fine(student=torch.ones(1))
    assert dict(watch.inside[FIRST]) == expected
    assert not fine._forward_hooks


def double(tensor: Tensor) -> Tensor:
    with region("losses"):
        return 2 * tensor


def test_labels_do_not_break_what_is_compiled() -> None:
    compiled: Callable[[Tensor], Tensor] = torch.compile(double, backend="eager", fullgraph=True)
    watch = Watch(1)
    assert compiled(torch.ones(2)).tolist() == [2, 2]
    with watching(watch), region("step"):
        assert compiled(torch.ones(3)).tolist() == [2, 2, 2]
    assert set(watch.inside[FIRST]) == {"step"}
