"""Profiles: asked for once, taken of the first run of each method, left in that run's folder."""

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from relatum import together, world
from relatum.profiling import Watch, watched, watching
from relatum.profiling.profile import profile, table
from relatum.profiling.trace import Trace
from relatum.recipes.recipe import Recipe
from relatum.run.advice import advice
from relatum.run.display import Display
from relatum.types import Fault
from relatum.weights import write

FOLDER = "profile"
"""Where in a run's folder its profile lies."""
TRACE, TEXT, NUMBERS = (f"{FOLDER}/{name}" for name in ("trace.json", "table.txt", "table.json"))
FILES = (TRACE, TEXT, NUMBERS)
STEPS = 10
OTHERS = "this is the first process; its waiting for the others is in losses, backward and rest"
UNSEEN = "these are the times of the processor, which asks the device; what that did is not seen"


@dataclass
class _Asked:
    steps: int
    command: bool
    labels: set[str] = field(default_factory=set)


_asked: _Asked | None = None


@contextlib.contextmanager
def asked(steps: int = STEPS, *, command: bool = False) -> Iterator[None]:
    """Profile what ``relatum.run.run`` is given for a while: the first run of each label.

    Weights, metrics and checkpoints have the same bits as without. The run's folder gets
    ``profile/table.txt``, the same numbers in ``profile/table.json``, and ``profile/trace.json``,
    which https://ui.perfetto.dev and chrome://tracing open.

    Args:
        steps: to time before the trace begins (those after it are timed too), and to trace.
        command: count what went since this process began as the first run's.

    Raises:
        Fault: less than one step.
    """
    global _asked
    if steps < 1:
        raise Fault(f"a profile is of one step at least, got {steps}")
    before, _asked = _asked, _Asked(steps, command)
    try:
        yield
    finally:
        _asked = before


@contextlib.contextmanager
def profiled(
    recipe: Recipe, folder: Path, label: str, device: torch.device, display: Display
) -> Iterator[None]:
    """Watch a run, if somebody asked for it, and say at its end where its time went.

    Of several processes the first one is watched. A run that stops before its end leaves a
    profile too.
    """
    if _asked is None or label in _asked.labels or not together.first() or watched():
        yield
        return
    page = _Page(recipe, folder, label, device, display)
    before = _age() if _asked.command and not _asked.labels else None
    _asked.labels.add(label)
    settle = partial(torch.cuda.synchronize, device) if device.type == "cuda" else lambda: None
    if device.type == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call]  # else there is nothing to reset yet
        torch.cuda.reset_peak_memory_stats(device)
    trace = Trace(folder / TRACE, _asked.steps, device)
    watch = Watch(_asked.steps, trace, settle)
    try:
        with watching(watch):
            yield
    except BaseException as error:
        if watch.samples:
            with contextlib.suppress(Exception):  # what went wrong first is what is told
                page.write(watch, trace, before, f", stopped by {type(error).__name__}")
        raise
    page.write(watch, trace, before)


@dataclass(frozen=True)
class _Page:
    """What a run's profile says, and where."""

    recipe: Recipe
    folder: Path
    label: str
    device: torch.device
    display: Display

    def write(self, watch: Watch, trace: Trace, before: float | None, ended: str = "") -> None:
        """Leave it in the run's folder, and show it."""
        traced = trace.read({name for calls in watch.calls.values() for name in calls})
        notes = [UNSEEN] * (self.device.type not in ("cpu", "cuda"))
        notes += [OTHERS] * (world.size() > 1)
        found = profile(watch, traced, before, memory_held(self.device), notes)
        advised = advice(found, self.recipe, self.device)
        title = f"where the time went: {self.label}, seed {self.recipe.seed}, batches of"
        title += f" {self.recipe.batch_size}, speed {self.recipe.speed}, on {self.device.type}"
        plain = {"title": title + ended, **found.plain(), "advice": advised}
        text = table(found, title + ended, advised)
        (self.folder / FOLDER).mkdir(parents=True, exist_ok=True)
        write(self.folder / TEXT, f"{text}\n".encode())
        write(self.folder / NUMBERS, json.dumps(plain, indent=1).encode())
        opened = " (open it in https://ui.perfetto.dev)"
        where = f"{TRACE}{opened}" if traced else TEXT
        self.display.note(f"\n{text}\n\nin {self.folder}: {where}\n")


def memory_held(device: torch.device) -> int | None:
    """The most bytes held so far: by torch on a GPU, else by the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        return None
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held if sys.platform == "darwin" else held * 1024


def _age() -> float | None:
    """Seconds since this process began, where the system says it."""
    try:
        stat = Path("/proc/self/stat").read_text()
        ticks = int(stat.rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError, IndexError):
        return None
