"""All checks of what was asked for, in the order in which they are worth knowing."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from relatum.bench.experiment import Cell
from relatum.bench.grid import TEACHER
from relatum.bench.rehearsal import stand_ins
from relatum.doctor.cost import (
    Cost,
    examine_place,
    examine_steps,
    examine_time,
    examine_versions,
)
from relatum.doctor.finding import Finding, ok, problem
from relatum.doctor.images import examine_brightness, examine_images
from relatum.doctor.teacher import examine_rest, examine_teacher
from relatum.doctor.terms import Looked, examine_terms
from relatum.recipes.recipe import Recipe
from relatum.report.words import short
from relatum.run.prepare import Prepared, prepare
from relatum.run.sets import Sets, sets_of
from relatum.run.several_teachers import networks_of
from relatum.taps import Tapped
from relatum.teachers import Teacher
from relatum.types import Fault
from relatum.weights import fingerprint


def examine(
    cells: Sequence[Cell], out: Path, *, device: torch.device, download: bool = False
) -> Iterator[Finding]:
    """Look at what some runs would do, without doing it; nothing is written.

    Each method is built once, with the first of its seeds, and takes seven steps.

    Args:
        cells: what would be run.
        out: where.
        device: on what.
        download: fetch the set if it is missing.
    """
    yield examine_versions(device)
    main = cells[-1].recipe
    try:
        sets = sets_of(main, device, download)
    except Fault as fault:
        yield problem("images", str(fault), "see relatum list datasets")
        return
    yield from examine_images(sets)
    stands = stand_ins(cells, out)
    seen: set[str] = set()
    costs: dict[str, Cost] = {}
    for cell in cells:
        if cell.label in seen:
            continue
        first = not seen - {TEACHER} and cell.label != TEACHER
        seen.add(cell.label)
        for found in _method(cell, device, download, stands.get(cell.folder), first):
            if isinstance(found, Cost):
                costs[cell.label] = found
            else:
                yield found
    known = [costs[cell.label] for cell in cells if cell.label in costs]
    if known:
        yield examine_time(sum(each.seconds for each in known), len(known))
        yield examine_place(out, sum(each.disk for each in known), len(known))


def _method(
    cell: Cell, device: torch.device, download: bool, stand_in: str | None, first: bool
) -> Iterator[Finding | Cost]:
    """One method, and before the first of them its networks."""
    recipe = _looked_at(cell.recipe, stand_in)
    try:
        ready = prepare(recipe, device, download, stand_in)
    except Fault as fault:
        yield problem(cell.label, str(fault), "")
        return
    before = [fingerprint(each) for each in networks_of(ready.pair.teacher)]
    if first:
        yield from _networks(ready, ready.sets, stand_in)
    looked = Looked()
    try:
        yield from examine_terms(cell.label, recipe, ready, looked)
        yield from examine_steps(cell.label, recipe, ready, looked.distillers)
    except Fault as fault:
        yield problem(cell.label, str(fault), "")
        return
    after = [fingerprint(each) for each in networks_of(ready.pair.teacher)]
    if first and before:
        yield _unmoved(before == after)


def _looked_at(recipe: Recipe, stand_in: str | None) -> Recipe:
    """The recipe without what would take minutes, or write."""
    recipe = recipe.but(cache=None, speed="fast" if recipe.speed == "max" else recipe.speed)
    if stand_in is not None and recipe.anchors == "confident-per-class":
        recipe = recipe.but(anchors="random-per-class")  # it is sure of nothing yet
    return recipe


def _networks(ready: Prepared, sets: Sets, stand_in: str | None) -> Iterator[Finding]:
    """The two networks, before anything is learnt."""
    pair = ready.pair
    taps = ", ".join(sorted(pair.student.taps)) or "none"
    parameters, _, macs = ready.cost()
    size = f"{parameters:,} parameters, {short(macs)} multiply-adds an image"
    yield ok("student", f"{pair.student_name}: {size}; taps {taps}")
    yield examine_brightness("student", pair.student, sets)
    if pair.teacher is None:
        return
    taps = ", ".join(sorted(pair.teacher.taps)) or "none"
    yield ok("teacher", f"{pair.teacher_name}: taps {taps}")
    if isinstance(pair.teacher, Teacher):
        yield examine_rest(pair)
    if isinstance(pair.teacher.tapped, Tapped):
        yield examine_brightness("teacher", pair.teacher.tapped, sets)
    if stand_in is not None:
        yield ok("teacher's accuracy", "it is trained first, so there is none yet")
    else:
        yield from examine_teacher(pair, sets)


def _unmoved(same: bool) -> Finding:
    if same:
        return ok("teacher unmoved", "the same bits after the steps as before")
    return problem("teacher unmoved", "its weights or statistics changed", "report this: a bug")
