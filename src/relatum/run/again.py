"""Measure a finished run's student again, on its own set or another."""

from pathlib import Path

import torch

from relatum.checkpoint import load_weights
from relatum.recipes.recipe import Recipe
from relatum.record import Record
from relatum.run import measure
from relatum.run.networks import WEIGHTS, pair_of
from relatum.run.run import BEST
from relatum.run.sets import sets_of
from relatum.types import Fault


def evaluate_again(
    folder: Path,
    *,
    dataset: str | None = None,
    data_root: Path | None = None,
    probes: tuple[str, ...] = (),
    best: bool = False,
    download: bool = False,
    device: torch.device | None = None,
) -> dict[str, float]:
    """The metrics of a trained student, on the test images.

    Args:
        folder: a finished run's.
        dataset: another set than it was trained on; its classes must be as many.
        data_root: where the set's files are.
        probes: what to fit on the frozen embedding, as recipes name it.
        best: take the best epoch by validation instead of the last.
        download: fetch the set if it is missing.
        device: where.

    Raises:
        Fault: the run is not finished, or its files are damaged or missing.
    """
    device = device or torch.device("cpu")
    record = Record.load(folder)
    recipe: Recipe = record.recipe.but(
        dataset=dataset or record.recipe.dataset,
        data_root=str(data_root) if data_root else record.recipe.data_root,
        probes=probes,
    )
    weights = folder / (BEST if best else WEIGHTS)
    if best and not weights.exists():
        raise Fault(f"{folder} has no best epoch: no validation part was cut (validation=0.1)")
    sets = sets_of(recipe, device, download)
    pair = pair_of(recipe, sets, device)
    load_weights(pair.student.network, weights)
    found = measure.measure(pair.student, pair.teacher, pair.setting, sets.test)
    if recipe.dataset == record.recipe.dataset:  # what the run left out has a reason
        found = {name: value for name, value in found.items() if name in record.metrics}
    return found | measure.probe(pair.student, recipe, sets)
