"""A teacher that cannot be had: the rest of the examination goes on without it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from relatum.bench.experiment import Cell
from relatum.doctor.finding import Finding, problem
from relatum.models.foreign import PRETRAINED
from relatum.recipes.recipe import Recipe
from relatum.run.networks import pair_of
from relatum.run.sets import Sets
from relatum.types import Fault


@dataclass(frozen=True)
class StandIn:
    """A network in a teacher's place, with random weights.

    Attributes:
        name: of the network.
        why: it is there, and so has no accuracy.
    """

    name: str
    why: str = "it is trained first, so there is none yet"


@dataclass(frozen=True)
class Missing:
    """What is looked at in place of runs whose teacher cannot be had.

    Attributes:
        finding: what is the matter.
        cells: the runs.
        stands: what takes the teacher's place, by the runs' folders.
    """

    finding: Finding
    cells: Sequence[Cell]
    stands: dict[str, StandIn]


def missing_teacher(
    cells: Sequence[Cell], stands: Mapping[str, StandIn], sets: Sets, device: torch.device
) -> Missing | None:
    """Whether the teacher of some runs cannot be had, and what to look at then.

    Published weights that cannot be fetched are stood in for by random ones; else the student
    alone is left.

    Args:
        cells: the runs.
        stands: what takes the place of teachers that are trained first, by the runs' folders.
        sets: the images.
        device: where the networks are built.
    """
    last = cells[-1]
    if last.recipe.teacher is None or last.folder in stands:
        return None
    recipe = last.recipe.but(method="none", balance=None, cache=None)
    why = _refused(recipe, sets, device)
    if why is None or _refused(recipe.but(teacher=None), sets, device) is not None:
        return None  # it is not for the teacher, and is said of each method
    name = last.recipe.teacher.removesuffix(PRETRAINED)
    published = name != last.recipe.teacher and "," not in name
    if published and _refused(recipe, sets, device, name) is None:
        way = "the lines below are of the same network with random weights in its place"
        stand_in = StandIn(name, "its weights are missing, so there is none")
        return Missing(
            problem("teacher", why, way), cells, {each.folder: stand_in for each in cells}
        )
    way = "the lines below are of the student alone"
    alone = replace(last, label="none", recipe=recipe.but(teacher=None))
    return Missing(problem("teacher", why, way), [alone], {})


def _refused(
    recipe: Recipe, sets: Sets, device: torch.device, stand_in: str | None = None
) -> str | None:
    """Why the networks of a recipe cannot be had; ``None`` where they can."""
    try:
        pair_of(recipe, sets, device, stand_in)
    except Fault as fault:
        return str(fault)
    return None
