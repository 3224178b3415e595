"""All checks of what was asked for, in the order in which they are worth knowing."""

import time
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
)
from relatum.doctor.finding import Finding, ok, problem, unseen
from relatum.doctor.images import examine_brightness, examine_images
from relatum.doctor.missing import StandIn, missing_teacher
from relatum.doctor.teacher import examine_rest, examine_teacher
from relatum.doctor.terms import Looked, examine_terms
from relatum.recipes.recipe import Recipe
from relatum.report.words import short
from relatum.run.prepare import Prepared, prepare
from relatum.run.run_teacher import networks_of, tapped_of
from relatum.run.sets import sets_of
from relatum.run.sizes import enlarged
from relatum.types import Fault
from relatum.weights import fingerprint


def examine(
    cells: Sequence[Cell], out: Path, *, device: torch.device, download: bool = False
) -> Iterator[Finding]:
    """Look at what some runs would do, without doing it; nothing is written.

    Each method is built once, with the first of its seeds, and takes some steps.

    Args:
        cells: what would be run.
        out: where.
        device: on what.
        download: fetch the set if it is missing.
    """
    try:
        sets = sets_of(cells[-1].recipe, device, download)
    except Fault as fault:
        yield problem("images", str(fault), "see relatum list datasets")
        return
    yield from examine_images(sets)
    stands = {folder: StandIn(name) for folder, name in stand_ins(cells, out).items()}
    if (missing := missing_teacher(cells, stands, sets, device)) is not None:
        yield missing.finding
        cells, stands = missing.cells, missing.stands
    firsts = {cell.label: cell for cell in reversed(cells)}  # the first seed of each
    first = next(cell.label for cell in cells if cell.label != TEACHER)
    costs: dict[str, Cost] = {}
    for label in dict.fromkeys(cell.label for cell in cells):
        cell = firsts[label]
        stand_in = stands.get(cell.folder)
        for found in _method(cell, device, download, stand_in, label == first):
            if isinstance(found, Cost):
                costs[label] = found
            else:
                yield found
    known = [costs[cell.label] for cell in cells if cell.label in costs]
    if known:
        yield examine_time(known)
        yield examine_place(out, sum(each.disk for each in known), len(known))


def _method(
    cell: Cell, device: torch.device, download: bool, stand_in: StandIn | None, first: bool
) -> Iterator[Finding | Cost]:
    """One method, and before the first of them its networks."""
    recipe = _looked_at(cell.recipe, stand_in)
    began = time.perf_counter()
    try:
        ready = prepare(recipe, device, download, None if stand_in is None else stand_in.name)
    except Fault as fault:
        yield problem(cell.label, str(fault), "")
        return
    start = time.perf_counter() - began
    before = [fingerprint(each) for each in networks_of(ready.pair.teacher)]
    if first:
        yield from _networks(ready, recipe, stand_in)
    looked = Looked()
    try:
        yield from examine_terms(cell.label, recipe, ready, looked)
        yield from examine_steps(cell.label, recipe, ready, looked.distillers, start)
    except Fault as fault:
        yield problem(cell.label, str(fault), "")
        return
    after = [fingerprint(each) for each in networks_of(ready.pair.teacher)]
    if first and before:
        yield _unmoved(before == after)


def _looked_at(recipe: Recipe, stand_in: StandIn | None) -> Recipe:
    """The recipe without what would take minutes, or write."""
    recipe = recipe.but(cache=None, speed="fast" if recipe.speed == "max" else recipe.speed)
    if stand_in is not None and recipe.anchors == "confident-per-class":
        recipe = recipe.but(anchors="random-per-class")  # it is sure of nothing yet
    return recipe


def _networks(ready: Prepared, recipe: Recipe, stand_in: StandIn | None) -> Iterator[Finding]:
    """The two networks, before anything is learnt."""
    pair, sets = ready.pair, ready.sets
    taps = ", ".join(sorted(pair.student.taps)) or "none"
    parameters, _, macs = ready.cost()
    size = f"{parameters:,} parameters, {short(macs)} multiply-adds an image"
    yield ok("student", f"{pair.student_name}: {size}; taps {taps}")
    for seen in enlarged(pair.student, tapped_of(pair.teacher), sets.shape):
        yield ok("sizes", seen)
    yield examine_brightness("student", pair.student, sets)
    if pair.teacher is None:
        return
    taps = ", ".join(sorted(pair.teacher.tapped.taps)) or "none"
    yield ok("teacher", f"{pair.teacher_name}: taps {taps}")
    if pair.teacher.networks:
        yield examine_rest(pair)
    for network in pair.teacher.networks:
        yield examine_brightness("teacher", network, sets)
    if stand_in is not None:
        yield unseen("teacher's accuracy", stand_in.why)
    else:
        yield from examine_teacher(pair, sets, recipe.teacher)


def _unmoved(same: bool) -> Finding:
    if same:
        return ok("teacher unmoved", "the same bits after the steps as before")
    return problem("teacher unmoved", "its weights or statistics changed", "report this: a bug")
