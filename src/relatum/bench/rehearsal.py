"""Build what an experiment will need before any of it is trained: a typing error costs no night."""

from collections.abc import Sequence
from pathlib import Path

import torch

from relatum.bench.experiment import Cell
from relatum.record import NAME
from relatum.run.prepare import prepare


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
    for cell in cells:
        if cell.label in seen or (not afresh and (out / cell.folder / NAME).exists()):
            continue
        seen.add(cell.label)
        recipe, source = cell.recipe, cell.recipe.teacher
        place = "" if source is None else source.rpartition("@")[2]
        ours = models.get(place)
        stand_in = ours if afresh or not (Path(place) / NAME).exists() else None
        if stand_in is not None and recipe.anchors == "confident-per-class":
            recipe = recipe.but(anchors="random-per-class")  # it is sure of nothing yet
        ready = prepare(recipe, device, download, stand_in)
        for stage in ready.stages:
            ready.distiller(stage, cell.alter)
