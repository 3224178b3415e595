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
from relatum.distiller import Distiller
from relatum.doctor.finding import Finding, ok, problem, warning
from relatum.doctor.images import drawn
from relatum.fit import fit
from relatum.free_memory import free
from relatum.recipes.recipe import Recipe
from relatum.record import environment
from relatum.run.hearing import listen
from relatum.run.prepare import Prepared, optimizer_of, recipe_of
from relatum.run.profiled import memory_held
from relatum.run.run_teacher import tapped_of
from relatum.run.sets import Sets
from relatum.run.watch import BANK
from relatum.tally import NotFinite
from relatum.taps import Tapped
from relatum.types import Batch

WARM, TIMED = 2, 5
"""Steps before, and those that are timed."""
SLOW = 2.0
"""Seconds of a step from which on those before are enough."""
LOOKED_AT = 32
"""Images by which it is timed how long a network looks at one."""
ROUGHLY = 1.5
"""How many times what is needed must be free."""


@dataclass(frozen=True)
class Cost:
    """Of one run.

    Attributes:
        start: seconds to build and load its networks.
        training: seconds of its steps.
        evaluation: seconds for which its networks look at images that nothing is learnt from.
        disk: bytes that it leaves.
    """

    start: float
    training: float
    evaluation: float
    disk: int


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
    label: str, recipe: Recipe, ready: Prepared, distillers: Sequence[Distiller], start: float
) -> Iterator[Finding | Cost]:
    """Take a few steps of each stage; the last thing said is the cost of a run.

    Args:
        label: of the method.
        recipe: of the run.
        ready: its parts.
        distillers: what trains in each stage.
        start: seconds that it took to make them.
    """
    training = step = 0.0
    taken = 0
    device = ready.sets.train.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    for stage, distiller in zip(ready.stages, distillers, strict=True):
        own = recipe_of(stage, recipe)
        try:
            taken, step = _step(own, ready, distiller)
        except NotFinite as error:
            yield problem(f"{label}: steps", str(error), "lower the learning rate, or a weight")
            return
        except torch.OutOfMemoryError:
            way = f"--microbatch {max(recipe.batch_size // 4, 1)}, or a smaller --batch"
            yield problem(f"{label}: memory", f"a step does not fit on {device}", way)
            return
        training += step * len(ready.batches) * own.epochs
    broken = [
        name
        for name, each in ready.pair.student.network.named_parameters()
        if not bool(each.isfinite().all())
    ]
    if broken:
        text = f"{broken[0]} is not finite after {taken} steps"
        yield problem(f"{label}: steps", text, "lower the learning rate, or a weight")
    else:
        text = f"{taken} steps, {1000 * step:.1f} ms each; the student stays finite"
        yield ok(f"{label}: steps", text)
    yield _memory(label, device, recipe)
    evaluation = evaluating(recipe, ready)
    yield Cost(start, training, evaluation, _left(recipe, distillers[-1]))


def _step(recipe: Recipe, ready: Prepared, distiller: Distiller) -> tuple[int, float]:
    """How many updates were taken, as the training takes them, and seconds of one."""
    optimizer = optimizer_of(recipe, distiller)
    taken, seconds = 0, 0.0
    for count in (WARM, TIMED):
        if seconds > SLOW:
            break
        for epoch in fit(
            distiller,
            Few(ready.batches, count),
            optimizer,
            recipe.schedule_of(),
            1,
            precision=ready.speed.precision,
            microbatch=ready.microbatch,
        ):
            taken += epoch.steps
            seconds = epoch.seconds / max(epoch.steps, 1)
    return taken, seconds


def evaluating(recipe: Recipe, ready: Prepared) -> float:
    """Seconds for which the networks of a run look at images, by what some of them take.

    The student looks at the validation part after every epoch, at the training images that k-NN
    and probes go by when those are watched, and at the test images at the end; the teacher at each
    once. To fit a probe takes seconds that are not counted.
    """
    sets, pair = ready.sets, ready.pair
    validation = 0 if sets.validation is None else len(sets.validation)
    due = -(-recipe.epochs // recipe.watch_every)
    bank = min(len(sets.train), BANK) if {"knn", "linear"} & set(recipe.watch) else 0
    probed = len(sets.train) if {"knn", "linear"} & set(recipe.probes) else 0
    each_epoch = validation + (len(sets.test) if recipe.watch_test else 0)
    last = len(sets.test) * (2 if validation else 1) + probed  # that of the best epoch too
    student = recipe.epochs * each_epoch + due * bank + last
    teacher = validation + len(sets.test) + probed
    taught = sum(_looking(each, sets) for each in tapped_of(pair.teacher))
    return student * _looking(pair.student, sets) + teacher * taught


def _looking(tapped: Tapped, sets: Sets) -> float:
    """Seconds for which a network looks at one image."""
    part = sets.test.take(drawn(sets.test, LOOKED_AT).to(sets.test.device))
    one = part.take(drawn(part, 1).to(part.device))
    listen(tapped, one, ("output",)).cpu()  # what it does once
    began = time.perf_counter()
    listen(tapped, part, ("output",)).cpu()  # so that a GPU has done it, and not only heard of it
    return (time.perf_counter() - began) / len(part)


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
        there = held + free(device)
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


def examine_time(costs: Sequence[Cost]) -> Finding:
    """How long it will take in all, and with what."""
    parts = {
        "steps": sum(each.training for each in costs),
        "evaluation": sum(each.evaluation for each in costs),
        "beginning": sum(each.start for each in costs),
    }
    told = ", ".join(f"{name} {duration(seconds)}" for name, seconds in parts.items())
    runs = f"{len(costs)} run{'s' * (len(costs) > 1)}"
    return ok("time", f"about {duration(sum(parts.values()))} for {runs}, one by one ({told})")


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
