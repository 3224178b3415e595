"""A few steps under torch's profiler, and what the trace of them says about the device."""

import json
import os
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from relatum.profiling.regions import DATA, STEP

WARM = 2
"""Steps under the profiler that it throws away: its own first ones are slow."""
ON_DEVICE = ("kernel", "gpu_memcpy", "gpu_memset")
LAUNCHES = ("cuda_runtime", "cuda_driver")
OPERATORS = 10

Event = Mapping[str, Any]
Span = tuple[float, float, str]


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator of torch, or one kernel of the device.

    Attributes:
        name: as torch calls it.
        milliseconds: of itself a step, without what it calls.
        share: of all operators.
        calls: a step.
    """

    name: str
    milliseconds: float
    share: float
    calls: float


@dataclass(frozen=True, slots=True)
class Traced:
    """What a trace says.

    Attributes:
        steps: that it holds.
        operators: the costliest, by what the device (or, without one, the processor) spent.
        device: milliseconds that the device computed a step, for each label whose code asked for
            it; empty without a GPU.
        busy: milliseconds a step in which the device did anything at all.
    """

    steps: int
    operators: tuple[Operator, ...]
    device: Mapping[str, float]
    busy: float


class Trace:
    """Records some steps into a file that Perfetto and chrome://tracing open.

    Args:
        path: of the file; its folder is made.
        steps: that are kept.
        device: where they run.
    """

    def __init__(self, path: Path, steps: int, device: torch.device) -> None:
        self.path, self.kept, self.steps = path, steps, WARM + steps
        self.exported = False
        self._cuda = device.type == "cuda"
        self._profiler: torch.profiler.profile | None = None

    def start(self) -> None:
        """Begin; its first steps are thrown away."""
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else it speaks of what a machine lacks
        kinds = torch.profiler.ProfilerActivity
        self._profiler = torch.profiler.profile(
            activities=[kinds.CPU, *([kinds.CUDA] if self._cuda else [])],
            schedule=torch.profiler.schedule(wait=0, warmup=WARM, active=self.kept, repeat=1),
            on_trace_ready=self._export,
        )
        self._profiler.start()

    def step(self) -> None:
        """A step ended."""
        if self._profiler is not None:
            self._profiler.step()

    def stop(self) -> None:
        """End; of fewer steps than were wanted, those are kept."""
        if self._profiler is not None:
            self._profiler.stop()
            self._profiler = None

    def read(self, labels: Collection[str]) -> Traced | None:
        """What was recorded under these labels; ``None`` where no step was."""
        if not self.exported:
            return None
        return read(json.loads(self.path.read_text(encoding="utf-8"))["traceEvents"], labels)

    def _export(self, profiler: torch.profiler.profile) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        profiler.export_chrome_trace(str(self.path))
        self.exported = True


def read(events: Iterable[Event], labels: Collection[str]) -> Traced | None:
    """What the events of a Chrome trace say about its steps; ``None`` where it holds none.

    What the device did was asked of it by a launch on the host, on whichever thread (autograd has
    its own): it belongs to the innermost label that was open at that moment.

    Args:
        events: of the trace.
        labels: ours; torch adds some of its own, as for the optimiser.
    """
    whole = [each for each in events if each.get("ph") == "X"]
    ours = [
        _span(each)
        for each in whole
        if each.get("cat") == "user_annotation" and each["name"] in labels
    ]
    steps = sum(name == STEP for _, _, name in ours)
    if not steps:
        return None
    segments = _innermost(ours)
    kernels = [each for each in whole if each.get("cat") in ON_DEVICE]
    asked = {
        each["args"]["correlation"]: float(each["ts"])
        for each in whole
        if each.get("cat") in LAUNCHES and "correlation" in each.get("args", {})
    }
    placed = [
        (name, each)
        for each in kernels
        if (name := _at(segments, asked.get(each.get("args", {}).get("correlation")))) is not None
    ]
    device: dict[str, float] = defaultdict(float)
    for name, each in placed:
        device[name] += float(each["dur"]) / 1e3 / steps
    if placed:
        spent = [(str(each["name"]), float(each["dur"])) for _, each in placed]
    else:
        spent = list(_of_themselves(whole, segments))
    busy = _union(_span(each) for _, each in placed) / 1e3 / steps
    return Traced(steps, _costliest(spent, steps), dict(device), busy)


def _span(event: Event) -> Span:
    began = float(event["ts"])
    return began, began + float(event["dur"]), str(event["name"])


def _innermost(labels: Sequence[Span]) -> list[Span]:
    """The moments within steps, cut where a label opens or closes, each with the innermost one."""
    cuts: list[Span] = []
    open_: list[Span] = []
    now = 0.0

    def until(moment: float) -> None:
        nonlocal now
        if any(name in (DATA, STEP) for _, _, name in open_) and moment > now:
            cuts.append((now, moment, open_[-1][2]))
        now = max(now, moment)

    for span in sorted(labels, key=lambda each: (each[0], -each[1])):
        while open_ and open_[-1][1] <= span[0]:
            until(open_[-1][1])
            open_.pop()
        until(span[0])
        open_.append(span)
    while open_:
        until(open_[-1][1])
        open_.pop()
    return cuts


def _at(segments: Sequence[Span], moment: float | None) -> str | None:
    if moment is None:
        return None
    place = bisect_right(segments, moment, key=lambda each: each[0]) - 1
    if place < 0 or moment >= segments[place][1]:
        return None
    return segments[place][2]


def _of_themselves(
    events: Sequence[Event], segments: Sequence[Span]
) -> Iterator[tuple[str, float]]:
    """Every operator of the processor within steps, and its microseconds without those it calls."""
    threads: dict[Any, list[Span]] = defaultdict(list)
    for each in events:
        if each.get("cat") == "cpu_op" and _at(segments, float(each["ts"])) is not None:
            threads[each.get("tid")].append(_span(each))
    for spans in threads.values():
        open_: list[tuple[float, str, list[float]]] = []
        for began, ended, name in sorted(spans, key=lambda each: (each[0], -each[1])):
            while open_ and open_[-1][0] <= began:
                _, closed, own = open_.pop()
                yield closed, own[0]
            if open_:
                open_[-1][2][0] -= ended - began
            open_.append((ended, name, [ended - began]))
        for _, closed, own in reversed(open_):
            yield closed, own[0]


def _union(spans: Iterable[Span]) -> float:
    """How long at least one of them lasted."""
    total, reached = 0.0, float("-inf")
    for began, ended, _ in sorted(spans):
        total += max(ended - max(began, reached), 0.0)
        reached = max(reached, ended)
    return total


def _costliest(spent: Iterable[tuple[str, float]], steps: int) -> tuple[Operator, ...]:
    times: dict[str, float] = defaultdict(float)
    calls: dict[str, int] = defaultdict(int)
    for name, microseconds in spent:
        times[name] += microseconds
        calls[name] += 1
    whole = sum(times.values()) or 1.0
    order = sorted(times, key=lambda name: -times[name])[:OPERATORS]
    return tuple(
        Operator(name, times[name] / 1e3 / steps, times[name] / whole, calls[name] / steps)
        for name in order
    )
