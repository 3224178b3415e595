"""A run's terms at the weights that give them their shares: found once, then part of its state."""

from pathlib import Path

from relatum.balance import balance, weigh
from relatum.checkpoint import about_checkpoint
from relatum.distiller import Distiller
from relatum.methods import Stage
from relatum.recipes.recipe import Recipe
from relatum.run.display import Display
from relatum.run.prepare import Prepared

ABOUT = "weights"
"""What a checkpoint calls them."""


def balanced(
    stage: Stage,
    distiller: Distiller,
    ready: Prepared,
    recipe: Recipe,
    display: Display,
    checkpoint: Path | None,
) -> dict[str, float]:
    """Weigh the terms of a recipe's last stage as its balance says.

    Args:
        stage: about to begin.
        distiller: trains in it.
        ready: what the recipe names.
        recipe: says the shares.
        display: told what was found.
        checkpoint: holds the weights, where the run was under way; ``None`` to find them anew.

    Returns:
        The weights by term; none for another stage, or where the recipe asks for none.

    Raises:
        Fault: a term has no gradient to weigh.
    """
    if recipe.balance is None or stage is not ready.stages[-1]:
        return {}
    known: dict[str, float] | None = None
    if checkpoint is not None:
        known = about_checkpoint(checkpoint).get(ABOUT)
    if known is None:
        found = balance(distiller, ready.batches.epoch(1), recipe.balance)
        display.note(found.text)
        known = dict(found.weights)
    weigh(stage.objective, known)
    return known
