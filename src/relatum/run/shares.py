"""Whether a recipe's balance fits its method: a share for each term, and no weight beside it."""

from relatum.balance import shares_of
from relatum.grammar import parse
from relatum.methods import TASK
from relatum.objective import Objective
from relatum.recipes.recipe import Recipe
from relatum.types import Fault


def check_shares(recipe: Recipe, objective: Objective) -> None:
    """Refuse shares that are not of the terms, and weights that a balance would replace.

    Without cross-entropy the first term's weight is the pull that all have together, so it counts.

    Args:
        recipe: says the method, and the balance if there is one.
        objective: of the method's last stage.

    Raises:
        Fault: they do not fit.
    """
    if recipe.balance is None:
        return
    shares_of(recipe.balance, objective)
    parts = parse(recipe.method)
    replaced = parts if TASK in objective.terms else parts[1:]
    if heavy := next((each for each in replaced if each.weight is not None), None):
        rest = "" if replaced is parts else " but the first one's"
        raise Fault(
            f"balance finds the weights{rest}, and method {recipe.method!r} gives {heavy.name!r}"
            f" one ({heavy.weight:g}); leave one of the two out"
        )
