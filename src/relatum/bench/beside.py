"""Cells that are trained beside each other: on the same batches, with one pass of their teacher."""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from relatum.bench.attempt import Attempt
from relatum.bench.experiment import Cell
from relatum.bench.pool import About, Note, Result, Steps, Tell
from relatum.checkpoint import Stop
from relatum.run.beside import Beside

OWN = {
    *("method", "student", "begin", "dropout", "anchors", "anchor_count", "microbatch"),
    *("epochs", "scale", "learning_rate", "momentum", "nesterov", "weight_decay"),
    *("schedule", "milestones", "probes", "watch_test", "teacher"),
    *("watch", "watch_every", "best_by", "gradient_norms"),
}
"""Fields of a recipe in which trainings beside each other may differ; a teacher they have in
common, or have none."""


def alike(cell: Cell, others: Iterable[Cell], most: int) -> tuple[Cell, ...]:
    """A cell, and those of the others that may be trained beside it, in their order.

    They are of one seed, set, batch size and speed, so that their batches are the same, and of
    one teacher at most. A student alone may sit beside those who are taught; without any of
    them there is nothing worth sharing, and it is trained by itself.

    Args:
        cell: the first.
        others: who may join it.
        most: cells in all.
    """
    found = [cell]
    own = _shared(cell)
    teacher = cell.recipe.teacher
    for each in others if own is not None else ():
        source = each.recipe.teacher
        fits = source is None or teacher is None or source == teacher
        if len(found) < most and fits and _shared(each) == own:
            found.append(each)
            teacher = teacher or source
    return tuple(found) if teacher is not None else (cell,)


def _shared(cell: Cell) -> dict[str, Any] | None:
    """What must be equal; ``None`` for cells that have to be alone."""
    if cell.alter is not None or cell.recipe.shard:
        return None
    return cell.recipe.model_dump(exclude=OWN)


@dataclass(frozen=True)
class Abreast:
    """The task of running cells beside each other, or of going on with them.

    What it tells of a cell says which; what it gives are the results of all, by folder.
    """

    cells: tuple[Cell, ...]
    out: Path

    def __call__(self, device: torch.device, stop: Stop, tell: Tell) -> Result:
        """Run them, each in a thread; what one of them raises ends none of the others."""
        beside = Beside(len(self.cells), device)
        results: dict[str, Result] = {}

        def work(number: int, cell: Cell) -> None:
            about = partial(_about, tell, cell.folder)
            with beside.seat(number) as seat:
                result = Attempt(cell, self.out)(device, stop, about, seat)
                results[cell.folder] = result
                tell(About(cell.folder, result))  # while it has the turn: one speaks at a time

        _together([partial(work, *each) for each in enumerate(self.cells)], beside)
        return Result(results, any(each.unsound for each in results.values()))


def _together(works: Sequence[partial[None]], beside: Beside) -> None:
    """Do all of this, and wait; who waits still hears signals."""
    threads = [threading.Thread(target=each, daemon=True) for each in works]
    for each in threads:
        each.start()
    beside.start()
    for each in threads:
        while each.is_alive():
            each.join(1.0)


def _about(tell: Tell, folder: str, message: Steps | Note | About) -> None:
    assert not isinstance(message, About)
    tell(About(folder, message))
