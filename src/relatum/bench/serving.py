"""Which methods can be had of a pair of networks, asked before anything is built for them."""

from collections.abc import Sequence
from pathlib import Path

import torch

from relatum.bench.experiment import Cell
from relatum.bench.grid import TEACHER
from relatum.bench.rehearsal import stand_ins
from relatum.grammar import stages
from relatum.run.networks import pair_of
from relatum.run.sets import sets_of
from relatum.types import Fault


def serving(
    cells: Sequence[Cell], out: Path, *, device: torch.device, download: bool = False
) -> tuple[list[Cell], dict[str, str]]:
    """Leave out the methods that a pair of networks cannot have.

    Args:
        cells: of one pair, and perhaps of its teacher; no method changes the student's network.
        out: where they will be run.
        device: where the pair is built.
        download: fetch the set if it is missing.

    Returns:
        Those that can be had, and why the others cannot, by label.

    Raises:
        Fault: no method is left; or it is not for the method that something cannot be had.
    """
    stands = stand_ins(cells, out)
    taught = [cell for cell in cells if cell.label != TEACHER and cell.recipe.method != "none"]
    recipe = taught[0].recipe.but(method="none", balance=None)
    sets = sets_of(recipe, device, download)
    setting = pair_of(recipe, sets, device, stands.get(taught[0].folder)).setting
    unable: dict[str, str] = {}
    for label, method in {cell.label: cell.recipe.method for cell in taught}.items():
        try:
            stages(method, setting)
        except Fault as fault:
            unable[label] = str(fault)
    if len(unable) == len({cell.label for cell in taught}):
        raise Fault(next(iter(unable.values())))
    return [cell for cell in cells if cell.label not in unable], unable
