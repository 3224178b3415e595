"""What makes two searches one: what is varied, what of it, by what it is judged, and who teaches.

A study in a database knows these; trials that differ in one of them are not to be compared.
"""

import json
from collections.abc import Mapping, Sequence

from relatum.recipes.recipe import Recipe
from relatum.run.trained import weights_of
from relatum.several import shares_of
from relatum.tables import read
from relatum.teacher_names import TeacherName, teachers_there
from relatum.tune.space import Dimension
from relatum.weights import known_fingerprints

PLACES = ("data_root", "cache", "teacher")
"""Fields of a recipe that name places: what lies there may have moved."""


def about(recipe: Recipe, space: Sequence[Dimension], metric: str) -> dict[str, str]:
    """What a search is, by name.

    Args:
        recipe: what is varied.
        space: what of it.
        metric: what is judged by.
    """
    fields = recipe.model_dump(mode="json", exclude={*PLACES, "speed"})
    return {
        "recipe": json.dumps(fields, sort_keys=True),
        "search": ", ".join(each.text for each in space),
        "metric": metric,
        # apart from the recipe: searches of before do not know these, and go on
        "speed": recipe.speed,
        "teacher": _taught(recipe),
    }


def difference(known: Mapping[str, str], asked: Mapping[str, str]) -> str:
    """What a search that is known and one that is asked for do not have in common, in a few words;
    empty where all that is known is alike."""
    name = next((each for each in asked if known.get(each, asked[each]) != asked[each]), None)
    if name is None:
        return ""
    there, here = known[name], asked[name]
    if name == "teacher":
        return "its trials learnt from another teacher, or from other weights of it"
    if name == "recipe":
        before, now = json.loads(there), json.loads(here)
        name = next(each for each in {**before, **now} if before.get(each) != now.get(each))
        there, here = repr(before.get(name)), repr(now.get(name))
    return f"{name}: {there} there, {here} asked for"


def _taught(recipe: Recipe) -> str:
    """The sums of all teachers, and their shares; a teacher without a file goes by its name."""
    if recipe.teacher is None:
        return ""
    named = teachers_there(recipe.teacher)
    shares = shares_of([each.weight for each in named])
    return json.dumps(list(zip(map(_sums, named), shares, strict=True)))


def _sums(named: TeacherName) -> list[str]:
    if named.table is not None:
        return [read(named.table).sha256]
    weights = weights_of(named.text)
    return [named.text] if weights is None else sorted(known_fingerprints(weights))
