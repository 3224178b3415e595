"""Run a plan: teachers, searches, arms; every seed a whole repetition."""

from pathlib import Path

import torch

from relatum.bench.experiment import Cell, Failure, folder_of, run_all
from relatum.bench.search import search
from relatum.checkpoint import Stop
from relatum.recipes.plan import Arm, Plan
from relatum.recipes.recipe import Recipe
from relatum.record import WEIGHTS, Record
from relatum.run import Display, Silent
from relatum.tally import NotFinite

SEARCH = ".search"


def run_plan(
    plan: Plan,
    out: Path,
    *,
    device: torch.device,
    download: bool = False,
    stop: Stop | None = None,
    display: Display | None = None,
) -> tuple[list[Record], list[Failure]]:
    """Do all that a plan says, going on where it was left.

    The settings of every arm are searched with the first seed and its teacher (the first whose
    teacher did not fail), on the validation part; then every arm is run with the settings
    found, once for each seed.

    Returns:
        The records, teachers first, and the failures.

    Raises:
        Fault: something that the user can mend; what finished before is kept.
        Interrupted: it was asked to stop.
    """
    stop, display = stop or Stop(), display or Silent()
    teachers = [_cell(plan.teacher, plan.teacher.recipe, seed, None) for seed in plan.seeds]
    records, failures = run_all(
        teachers, out, device=device, download=download, stop=stop, display=display
    )
    lacking = {str(out / cell.folder) for cell in teachers if not _there(out, cell)}
    sources = {seed: _teacher(out, plan.teacher, seed) for seed in plan.seeds}
    able = [seed for seed in plan.seeds if sources[seed] not in lacking]
    found: dict[str, Recipe] = {}
    for arm in plan.arms if able else ():
        recipe = arm.recipe.but(seed=able[0], teacher=sources[able[0]] if arm.learns else None)
        file = out / SEARCH / f"{folder_of(arm.label)}.json"
        epochs = plan.search_epochs
        try:
            found[arm.label] = search(
                arm, recipe, file, device=device, stop=stop, display=display, epochs=epochs
            )
        except NotFinite as error:
            failures.append(Failure(_cell(arm, recipe, able[0], sources[able[0]]), str(error)))
    cells = [
        _cell(arm, found.get(arm.label, arm.recipe), seed, sources[seed])
        for seed in plan.seeds
        for arm in plan.arms
        if arm.label in found or not able
    ]
    lost = [cell for cell in cells if cell.recipe.teacher in lacking or not able]
    failures += [Failure(cell, "its teacher failed") for cell in lost]
    ready = [cell for cell in cells if cell not in lost]
    more, failed = run_all(ready, out, device=device, stop=stop, display=display)
    return records + more, failures + failed


def rehearsed(plan: Plan, out: Path) -> list[Cell]:
    """What a plan will run first of every kind, to be tried before any of it is."""
    seed = plan.seeds[0]
    teacher = _teacher(out, plan.teacher, seed)
    first = _cell(plan.teacher, plan.teacher.recipe, seed, None)
    return [first, *(_cell(arm, arm.recipe, seed, teacher) for arm in plan.arms)]


def _cell(arm: Arm, recipe: Recipe, seed: int, teacher: str | None) -> Cell:
    recipe = recipe.but(seed=seed, teacher=teacher if arm.learns else None)
    return Cell(f"{folder_of(arm.label)}/seed-{seed}", arm.label, recipe, arm.alter)


def _teacher(out: Path, teacher: Arm, seed: int) -> str:
    return str(out / f"{folder_of(teacher.label)}/seed-{seed}")


def _there(out: Path, cell: Cell) -> bool:
    return (out / cell.folder / WEIGHTS).exists()
