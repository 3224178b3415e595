"""What a training will take: a few steps of it, timed, and what it leaves on the disk."""

import platform
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch

from relatum.data import Batches
from relatum.datasets.room import SHARE, room
from relatum.distiller import Distiller
from relatum.doctor.finding import Finding, ok, problem, warning
from relatum.doctor.images import some
from relatum.fit import fit
from relatum.recipes.recipe import Recipe
from relatum.record import environment
from relatum.run.hearing import listen
from relatum.run.prepare import Prepared, optimizer_of, recipe_of
from relatum.run.profiled import memory_held
from relatum.tally import NotFinite
from relatum.types import Batch

WARM, TIMED = 2, 5
"""Steps before, and those that are timed."""
ROUGHLY = 1.5
"""How many times what is needed must be free."""


@dataclass(frozen=True)
class Cost:
    """Of one run.

    Attributes:
        seconds: of training and of measuring.
        disk: bytes that it leaves.
        step: seconds of one update, in its last stage.
    """

    seconds: float
    disk: int
    step: float


@dataclass(frozen=True)
class Few:
    """Some batches of an epoch."""

    batches: Batches
    count: int

    def __len__(self) -> int:
        return min(self.count, len(self.batches))

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """The first of them."""
        return islice(self.batches.epoch(number, start), max(len(self) - start, 0))


def examine_steps(
    label: str, recipe: Recipe, ready: Prepared, distillers: Sequence[Distiller]
) -> Iterator[Finding | Cost]:
    """Take a few steps of each stage; the last thing said is the cost of a run."""
    seconds = step = 0.0
    device = ready.sets.train.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    for stage, distiller in zip(ready.stages, distillers, strict=True):
        own = recipe_of(stage, recipe)
        try:
            step = _step(own, ready, distiller)
        except NotFinite as error:
            yield problem(f"{label}: steps", str(error), "lower the learning rate, or a weight")
            return
        except torch.OutOfMemoryError:
            way = f"--microbatch {max(recipe.batch_size // 4, 1)}, or a smaller --batch"
            yield problem(f"{label}: memory", f"a step does not fit on {device}", way)
            return
        seconds += step * len(ready.batches) * own.epochs
    broken = [
        name
        for name, each in ready.pair.student.network.named_parameters()
        if not bool(each.isfinite().all())
    ]
    if broken:
        text = f"{broken[0]} is not finite after {WARM + TIMED} steps"
        yield problem(f"{label}: steps", text, "lower the learning rate, or a weight")
    else:
        text = f"{WARM + TIMED} steps, {1000 * step:.1f} ms each; the student stays finite"
        yield ok(f"{label}: steps", text)
    yield _memory(label, device, recipe)
    yield Cost(seconds + _measuring(recipe, ready), _left(recipe, distillers[-1]), step)


def _step(recipe: Recipe, ready: Prepared, distiller: Distiller) -> float:
    """Seconds of an update, as the training takes it."""
    optimizer = optimizer_of(recipe, distiller)
    taken = 0.0
    for count in (WARM, TIMED):
        few = Few(ready.batches, count)
        for epoch in fit(
            distiller,
            few,
            optimizer,
            recipe.schedule_of(),
            1,
            precision=ready.speed.precision,
            microbatch=ready.microbatch,
        ):
            taken = epoch.seconds / max(epoch.steps, 1)
    return taken


def _measuring(recipe: Recipe, ready: Prepared) -> float:
    """Seconds for which a run looks at validation and test images."""
    part = some(ready.sets.test)
    began = time.perf_counter()
    listen(ready.pair.student, part, ("output",))
    each = (time.perf_counter() - began) / len(part)
    validated = len(ready.sets.validation) if ready.sets.validation is not None else 0
    watched = len(ready.sets.test) if recipe.watch_test else 0
    return each * (recipe.epochs * (validated + watched) + 2 * len(ready.sets.test))


def _left(recipe: Recipe, distiller: Distiller) -> int:
    """Bytes of a run's folder: weights, the best ones, the checkpoint with its momentum."""
    state: int = sum(each.nbytes for each in distiller.learner.state_dict().values())
    momentum = sum(each.nbytes for each in distiller.parameters())
    student: int = sum(each.nbytes for each in distiller.student.network.state_dict().values())
    return student * (1 + bool(recipe.validation)) + 2 * (state + momentum) + 2**20


def _memory(label: str, device: torch.device, recipe: Recipe) -> Finding:
    """The most memory that was held, beside what there is."""
    held, check = memory_held(device), f"{label}: memory"
    if held is None:
        return ok(check, "this system does not say how much is held")
    if device.type == "cuda":
        there = float(torch.cuda.get_device_properties(device).total_memory)
    else:
        there = held + room(device) / SHARE
    text = f"{held / 2**30:.2f} GiB held at most, {there / 2**30:.1f} GiB there"
    if held > 0.9 * there:
        way = f"--microbatch {max(recipe.batch_size // 4, 1)} holds less at a time"
        return warning(check, text, way)
    return ok(check, text)


def examine_place(out: Path, needed: int, runs: int) -> Finding:
    """Whether the disk takes what runs leave."""
    place = next(each for each in (out.absolute(), *out.absolute().parents) if each.exists())
    free = shutil.disk_usage(place).free
    what = f"{runs} runs leave" if runs > 1 else "the run leaves"
    text = f"{what} {_bytes(needed)}; {_bytes(free)} free at {place}"
    if needed > free:
        return problem("disk", text, "choose an --out on another disk")
    if needed * ROUGHLY > free:
        return warning("disk", text, "choose an --out on another disk")
    return ok("disk", text)


def examine_time(seconds: float, runs: int) -> Finding:
    """How long it will take in all."""
    return ok("time", f"about {duration(seconds)} for {runs} run{'s' * (runs > 1)}, one by one")


def examine_versions(device: torch.device) -> Finding:
    """What it will run on."""
    found = environment(device)
    here = found.get("accelerator") or platform.processor() or platform.machine()
    text = f"relatum {found['relatum']}, torch {found['torch']}, Python {found['python']}, on"
    return ok("versions", f"{text} {device} ({here}), {torch.get_num_threads()} threads")


def duration(seconds: float) -> str:
    """A time in the unit that suits it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172800 else f"{seconds / 86400:.1f} days"


def _bytes(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB" if count < 2**30 else f"{count / 2**30:,.1f} GiB"
