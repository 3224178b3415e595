"""Labels for the parts of a run, and the clock that reads them: free, unless somebody watches.

``torch.profiler.record_function`` costs some 5 µs a label even where nobody profiles, which is
2 % of a step of 2 ms with ten of them; the switch here costs 0.1 µs.
"""

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import wraps
from types import TracebackType
from typing import ParamSpec, Protocol, Self, TypeVar

import torch
from torch import nn

from relatum.types import Batch

P = ParamSpec("P")
R = TypeVar("R")

DATA, STEP, WAIT = "data", "step", "wait"
"""What a step is made of: its batch, the rest of it, and now and then the losses read back."""
PROFILING, REST = "profiling", "rest"
START, FIRST, USUAL, TRACED = "start-up", "first", "usual", "traced"
"""The phases of a run that is watched: before its first step; its first steps, which are slow;
steps as they always are; steps under torch's profiler, which slows them."""
SETTLED = 10
"""Steps after which all are alike: memory is had, kernels are chosen."""
_OFF = contextlib.nullcontext()
_watch: "Watch | None" = None


class Tracer(Protocol):
    """What records single operators for a while; ``relatum.profiling.trace.Trace`` is one."""

    steps: int
    """How many it lasts."""

    def start(self) -> None:
        """Begin, before a step."""
        ...

    def step(self) -> None:
        """A step ended."""
        ...

    def stop(self) -> None:
        """End, and keep what there is."""
        ...


class Watch:
    """Adds up where the time of one run goes.

    Every moment belongs to the innermost label that is open, and to the phase of the run: so all
    of them add up to the whole. Labels of other threads than its own are passed over.

    Args:
        steps: that are timed before the tracer begins; those after it are timed too.
        tracer: records operators for some steps, once.
        settle: waits for the device where a phase ends, so that no work of one is paid in the next.
        clock: seconds.

    Attributes:
        inside: seconds of each label within steps, by phase.
        around: seconds of each label outside of them, by phase.
        calls: how often each label was met within steps, by phase.
        steps: how many were taken in each phase.
        samples: how many they saw.
        whole: seconds from the first to the last moment.
    """

    def __init__(
        self,
        steps: int,
        tracer: Tracer | None = None,
        settle: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._usual, self._tracer, self._settle, self._clock = steps, tracer, settle, clock
        self._thread = threading.get_ident()
        self.inside: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        self.around: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        self.calls: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self.steps: dict[str, int] = defaultdict(int)
        self.samples: dict[str, int] = defaultdict(int)
        self.whole = 0.0
        self.tracing = False
        self.hooks: list[torch.utils.hooks.RemovableHandle] = []
        self._phase = START
        self._stack = [REST]
        self._depth = 0
        self._began = self._mark = clock()

    def hears(self, name: str) -> bool:
        """Whether a label changes anything: not the innermost again, nor another thread's."""
        return threading.get_ident() == self._thread and self._stack[-1] != name

    def enter(self, name: str) -> None:
        """A label opens."""
        self._account()
        if self._phase == START and name in (DATA, STEP):
            self._phase = FIRST
        if self._depth or name in (DATA, STEP, WAIT):
            self._depth += 1
            self.calls[self._phase][name] += name != DATA
        self._stack.append(name)

    def leave(self) -> None:
        """The innermost label closes."""
        self._account()
        name = self._stack.pop()
        self._depth = max(self._depth - 1, 0)
        if name == STEP and not self._depth:
            self._stepped()

    def saw(self, samples: int) -> None:
        """A batch of so many samples came."""
        self.samples[self._phase] += samples
        self.calls[self._phase][DATA] += 1  # and not where an epoch ends, which has no batch left

    def end(self) -> None:
        """Close the books."""
        for handle in self.hooks:
            handle.remove()
        if self.tracing:
            self._stop_tracing()
        self._account()
        self.whole = self._mark - self._began

    def _account(self) -> None:
        now = self._clock()
        place = self.inside if self._depth else self.around
        place[self._phase][self._stack[-1]] += now - self._mark
        self._mark = now

    def _stepped(self) -> None:
        self.steps[self._phase] += 1
        taken = sum(self.steps.values())
        if taken == SETTLED:
            self._wait()
            self._phase = USUAL
        elif taken == SETTLED + self._usual and self._tracer is not None:
            self._wait()
            self._phase = TRACED
            with self._of_its_own():
                self._tracer.start()
            self.tracing = True
        elif self.tracing and self._tracer is not None:
            with self._of_its_own():
                self._tracer.step()
            if self.steps[TRACED] == self._tracer.steps:
                self._stop_tracing()
                self._phase = USUAL

    def _wait(self) -> None:
        self.enter(WAIT)
        self._settle()
        self.leave()

    def _stop_tracing(self) -> None:
        self.tracing = False
        if self._tracer is not None:
            with self._of_its_own():
                self._tracer.stop()

    @contextlib.contextmanager
    def _of_its_own(self) -> Iterator[None]:
        self.enter(PROFILING)
        yield
        self.leave()


@contextlib.contextmanager
def watching(watch: Watch) -> Iterator[Watch]:
    """Have labels read by a watch for a while; one at a time in a process."""
    global _watch
    assert _watch is None, "a process watches one run at a time"
    _watch = watch
    try:
        yield watch
    finally:
        _watch = None
        watch.end()


def watched() -> bool:
    """Whether somebody is watching."""
    return _watch is not None


def region(name: str) -> AbstractContextManager[object]:
    """Label what happens within, for whoever watches.

    Within what ``torch.compile`` compiles there are no labels: they would break it in two.

    Example:
        >>> with region("teacher"):
        ...     said = torch.ones(2)
    """
    watch = _watch
    if watch is None or torch.compiler.is_compiling() or not watch.hears(name):
        return _OFF
    return _Region(watch, name)


class _Region:
    """A label that is read."""

    def __init__(self, watch: Watch, name: str) -> None:
        self._watch, self._name = watch, name
        self._record: AbstractContextManager[object] = _OFF

    def __enter__(self) -> Self:
        self._watch.enter(self._name)
        if self._watch.tracing:
            self._record = torch.profiler.record_function(self._name)
            self._record.__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._record.__exit__(kind, error, trace)
        self._watch.leave()


def labelled(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Label all that a function does."""

    def label(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            with region(name):
                return function(*args, **kwargs)

        return run

    return label


def arriving(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches; what each took to come is labelled as data."""
    return batches if _watch is None else _arriving(batches)


def _arriving(batches: Iterator[Batch]) -> Iterator[Batch]:
    while True:
        with region(DATA):
            batch = next(batches, None)
            if batch is None:
                return
            if _watch is not None:
                _watch.saw(batch.whole)
        yield batch


def label(**modules: object) -> None:
    """Label the calls of modules by these names, for as long as somebody watches."""
    watch = _watch
    for name, module in modules.items():
        if watch is not None and isinstance(module, nn.Module):
            _hook(watch, name, module)


def _hook(watch: Watch, name: str, module: nn.Module) -> None:
    opened: list[AbstractContextManager[object]] = []

    def before(module: nn.Module, arguments: object) -> None:
        opened.append(region(name))
        opened[-1].__enter__()

    def after(module: nn.Module, arguments: object, result: object) -> None:
        opened.pop().__exit__(None, None, None)

    # A label at the place of the call would be lost on the calls of ``relatum.accumulate``.
    watch.hooks.append(module.register_forward_pre_hook(before))
    watch.hooks.append(module.register_forward_hook(after, always_call=True))
