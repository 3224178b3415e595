"""What a method's terms become where several teachers teach: one term on all, or one for each.

The joint embedding of several teachers has the weighted mean of their cosine matrices for its own
(``relatum.several``). So a loss on cosines is exact on it, and a loss that reads the vector itself
learns it whole. Any other relation, of distances in each network's own units say, is no mean of
theirs there: it has a term for each teacher, at the teacher's share of the weight.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from relatum.methods.setting import Setting
from relatum.objective import Term
from relatum.schedules import Schedule
from relatum.several import EMBEDDING, numbered

OF_COSINES = frozenset({"rrkd"})
"""Methods that read the embedding by its cosines alone, and so the mean of several teachers'."""
OF_VECTORS = frozenset({"rrd", "rrd-2024", "crd", "dcd", "itrd", "ega", "vkd"})
"""Methods that read the embedding itself, through a linear head."""


def each_teacher(
    name: str, setting: Setting, terms_of: Callable[[Setting], Mapping[str, Term]]
) -> dict[str, Term]:
    """A method's terms; those on the embedding once for each of several teachers, if need be.

    Args:
        name: of the method.
        setting: of the pair; ``shares`` says how much each of several teachers counts.
        terms_of: the terms for a setting.
    """
    whole = dict(terms_of(setting))
    if not setting.shares or name in OF_COSINES | OF_VECTORS:
        return whole
    if all(term.tap("teacher") != EMBEDDING for term in whole.values()):
        return whole
    places = range(1, len(setting.shares) + 1)
    own = {place: terms_of(_only(setting, place)) for place in places}
    found: dict[str, Term] = {}
    for key, term in whole.items():
        if term.tap("teacher") != EMBEDDING:
            found[key] = term
            continue
        for place, share in zip(places, setting.shares, strict=True):
            mine = own[place][key]
            weight = _of_share(mine.weight, share)
            found[f"{key}@{place}"] = replace(mine, teacher_on=numbered(place), weight=weight)
    return found


def _only(setting: Setting, place: int) -> Setting:
    """The setting with one of the teachers' embeddings in the place of that of all."""
    assert setting.teacher is not None
    teacher = {**setting.teacher, EMBEDDING: setting.teacher[numbered(place)]}
    return replace(setting, teacher=teacher, shares=())


def _of_share(weight: float | Schedule, share: float) -> float | Schedule:
    if not callable(weight):
        return share * weight
    return lambda progress: share * weight(progress)
