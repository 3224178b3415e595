"""Build what an experiment will need before any of it is trained: a typing error costs no night."""

import traceback
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from relatum.bench.attempt import foreseen, line_of
from relatum.bench.experiment import Cell
from relatum.bench.grid import TEACHER
from relatum.bench.patience import STOPS
from relatum.bench.pool import Died, Pool, Result, Tell
from relatum.cache import check_root
from relatum.checkpoint import Stop
from relatum.recipes.recipe import Recipe
from relatum.record import NAME
from relatum.run.claim import RECIPE
from relatum.run.networks import pair_of
from relatum.run.prepare import prepare
from relatum.run.sets import sets_of, training_batches
from relatum.types import Fault


def rehearse(
    cells: Sequence[Cell],
    out: Path,
    *,
    device: torch.device,
    download: bool = False,
    afresh: bool = False,
) -> None:
    """Build every method and run it on one batch, at rest; nothing is kept, no file written.

    A teacher that is yet to be trained is stood in for by its untrained network.

    Args:
        cells: what will be run; finished runs and further seeds of a method are passed over.
        out: where it will be run.
        device: where to build it.
        download: fetch the set if it is missing.
        afresh: what is there already will be replaced, so nothing is passed over.

    Raises:
        Fault: something is unknown, missing, damaged, or does not fit.
    """
    models = {str(out / cell.folder): cell.recipe.student for cell in cells}
    seen: set[str] = set()
    # the student alone comes last: a method that the pair cannot have is refused before it is built
    for cell in sorted(cells, key=lambda each: each.recipe.method == "none"):
        if cell.label in seen or (not afresh and (out / cell.folder / NAME).exists()):
            continue
        seen.add(cell.label)
        _build(cell, device, download, _stand_in(cell, models, afresh))


def stand_ins(cells: Sequence[Cell], out: Path) -> dict[str, str]:
    """The networks that take the place of teachers that are not trained yet, by cell."""
    models = {str(out / cell.folder): cell.recipe.student for cell in cells}
    found = {cell.folder: _stand_in(cell, models) for cell in cells}
    return {folder: name for folder, name in found.items() if name is not None}


def _stand_in(cell: Cell, models: dict[str, str], afresh: bool = False) -> str | None:
    """The network that takes the place of a teacher of the experiment's own, not yet trained."""
    there = (Path(cell.source) / NAME).exists()
    return models.get(cell.source) if afresh or not there else None


def _build(cell: Cell, device: torch.device, download: bool, stand_in: str | None) -> None:
    recipe = cell.recipe
    if stand_in is not None and recipe.anchors == "confident-per-class":
        recipe = recipe.but(anchors="random-per-class")  # it is sure of nothing yet
    if recipe.cache is not None:
        check_root(Path(recipe.cache))  # the runs will fill it
    ready = prepare(recipe.but(cache=None), device, download, stand_in)
    for stage in ready.stages:
        ready.distiller(stage, cell.alter)


@dataclass(frozen=True)
class Unable:
    """Why a method is not run on a pair.

    Attributes:
        kind: it cannot serve the pair, and says so; or it failed on its first batch.
        reason: in a line.
        trace: where it failed.
    """

    kind: Literal["refused", "failed"]
    reason: str
    trace: str = ""


@dataclass(frozen=True)
class Rehearsal:
    """The task of building a pair and its methods. What it gives: who is unable, by label.

    Attributes:
        recipe: of any of the pair's cells.
        cells: one for each method.
        stand_in: in the teacher's place, if that is not trained yet.
        download: fetch the set if it is missing.
    """

    recipe: Recipe
    cells: tuple[Cell, ...]
    stand_in: str | None
    download: bool = False

    def __call__(self, device: torch.device, stop: Stop, tell: Tell) -> Result:
        """Build them.

        Raises:
            Fault: it is not for a method that something cannot be had, but for the set, a
                network, the recipe, or a teacher; so nothing of the benchmark can begin.
        """
        recipe = self.recipe.but(method="none")
        sets = sets_of(recipe, device, self.download)
        pair_of(recipe, sets, device, self.stand_in)
        training_batches(recipe, sets)
        found: dict[str, Unable] = {}
        unsound = False
        for cell in self.cells:
            try:
                _build(cell, device, self.download, self.stand_in)
            except Fault as fault:
                if cell.label == TEACHER:
                    raise
                found[cell.label] = Unable("refused", line_of(fault))
            except (Exception, SystemExit) as error:
                reason = f"on its first batch: {line_of(error)}"
                found[cell.label] = Unable("failed", reason, traceback.format_exc())
                unsound = unsound or not foreseen(error)
        return Result(found, unsound)


def rehearse_grid(
    cells: Iterable[Cell],
    out: Path,
    pool: Pool,
    stop: Stop,
    *,
    download: bool = False,
    tell: Callable[[int, int], None] = lambda done, of: None,
) -> dict[str, Unable]:
    """Build every method on every pair once, on one batch, before anything is trained.

    A method that has begun to train already was built then, and is passed over.

    Args:
        cells: those that have no record.
        out: where they will be run.
        pool: where to build them.
        stop: asked meanwhile.
        download: fetch the set if it is missing.
        tell: told how many pairs are built, of how many.

    Returns:
        Cells that cannot be run, by folder.

    Raises:
        Fault: something is unknown, missing or damaged, for all methods alike.
        Interrupted: it was asked to stop.
    """
    cells = list(cells)
    models = {str(out / each.folder): each.recipe.student for each in cells}
    groups = defaultdict[str, dict[str, list[Cell]]](lambda: defaultdict(list))
    for cell in cells:
        groups[f"{cell.teacher}--{cell.recipe.student}"][cell.label].append(cell)
    tasks = deque[tuple[str, Rehearsal]]()
    for key, methods in groups.items():
        first = next(iter(methods.values()))[0]
        new = tuple(
            some[0]
            for some in methods.values()
            if not any((out / each.folder / RECIPE).exists() for each in some)
        )
        task = Rehearsal(first.recipe, new, _stand_in(first, models), download)
        tasks.append((key, task))
    unable: dict[str, Unable] = {}
    of = len(tasks)
    for done, (key, found) in enumerate(_done(tasks, pool, stop), start=1):
        tell(min(done, of), of)
        for label, some in groups[key].items():
            why = found if isinstance(found, Unable) else found.get(label)
            unable |= {each.folder: why for each in some if why is not None}
    return unable


def _done(
    tasks: deque[tuple[str, Rehearsal]], pool: Pool, stop: Stop
) -> Iterator[tuple[str, dict[str, Unable] | Unable]]:
    """What came of each task. The first goes ahead, so that one alone fetches what is missing.

    Where a method ends its process, every method of the pair is built again by itself, to see
    which one it was.
    """
    under_way: dict[str, Rehearsal] = {}
    pair: dict[str, str] = {}
    ahead = True
    lost: dict[str, int] = defaultdict(int)
    while tasks or under_way:
        stop.check()
        while tasks and pool.room and not (ahead and under_way):
            name, task = tasks.popleft()
            under_way[name] = task
            pool.submit(name, task)
        for name, message in pool.wait(0.2):
            if not isinstance(message, Result | Died):
                continue
            key, task = pair.get(name, name), under_way.pop(name)
            if isinstance(message, Died) and message.outside and lost[name] + 1 < STOPS:
                lost[name] += 1
                tasks.appendleft((name, task))
                continue
            stop.check()  # what ended may have been asked to by what asks us
            ahead = False
            if isinstance(message, Result):
                assert isinstance(message.value, dict)
                yield key, message.value
            elif len(task.cells) > 1:
                alone = {f"{key} {each.label}": each for each in task.cells}
                pair |= dict.fromkeys(alone, key)
                tasks.extend((own, replace(task, cells=(each,))) for own, each in alone.items())
            else:
                why = Unable("failed", f"on its first batch: {message.reason}")
                yield key, {task.cells[0].label: why} if task.cells else why
