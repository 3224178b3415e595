"""What is looked at of a teacher: whether it is right, and, where not, what would make it so."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from relatum.data import ImageSet
from relatum.doctor.finding import Finding, ok, problem, warning
from relatum.doctor.images import drawn, some
from relatum.evaluate import Collected
from relatum.methods import Says
from relatum.run.hearing import listen
from relatum.run.networks import Pair
from relatum.run.sets import Sets
from relatum.run.several_teachers import SeveralTeachers
from relatum.run.table_teacher import TableTeacher
from relatum.taps import Tapped
from relatum.teachers import Teacher

Normalisations = Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]]
"""Mean and deviation, by what they are called."""
NORMALISATIONS: Normalisations = {
    "ImageNet's mean and deviation": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "mean 0.5 and deviation 0.5": ((0.5,), (0.5,)),
    "no normalisation": ((0.0,), (1.0,)),
    "CLIP's mean and deviation": (
        (0.48145466, 0.4578275, 0.40821073),
        (0.26862954, 0.26130258, 0.27577711),
    ),
    "bytes from 0 to 255": ((0.0,), (1 / 255,)),
}
"""What networks were trained with that are found in the wild."""
MUCH = 0.05
"""By how much more of the images another way must be right to be worth a word."""
ALIKE = 0.999
"""Mean cosine of two images' embeddings from which on a teacher tells none apart."""


def examine_teacher(pair: Pair, sets: Sets) -> Iterator[Finding]:
    """The checks of a teacher that is a network, or a table; of several, each by itself.

    What may be changed for what they find is found on images that nothing is reported of: those
    of the validation part, and where there is none, of the training part.
    """
    teacher, classes = pair.teacher, pair.setting.classes
    if isinstance(teacher, SeveralTeachers):
        for each in teacher.members:
            yield from _examine(each.teacher, each.known.name, each.known.says, classes, sets)
    elif teacher is not None:
        yield from _examine(teacher, pair.teacher_name, pair.setting.teacher_says, classes, sets)


def _examine(
    teacher: Teacher | TableTeacher, name: str, says: Says | None, classes: int | None, sets: Sets
) -> Iterator[Finding]:
    """The checks of one of them."""
    whole = sets.train if sets.validation is None else sets.validation
    part = "training" if sets.validation is None else "validation"
    said = _said(teacher, whole)
    labels, count = said.labels, len(said.indices)
    logits = said.values.get("output") if says == "logits" else None
    if isinstance(teacher, TableTeacher):
        for zeros in teacher.zeros:
            way = "mend the table, or take those images out"
            yield warning("teacher's table", f"{name}: {zeros}", way)
    if "embedding" in said.values:
        yield _spread(said.values["embedding"].float())
    if logits is None or labels is None or classes is None or logits.shape[1:] != (classes,):
        width = "a reconstruction" if says == "reconstruction" else "an embedding"
        width = width if logits is None else "x".join(map(str, logits.shape[1:]))
        yield ok(
            "teacher's accuracy",
            f"{name} gives {width}, and there are {classes or 'no'} classes to use:"
            " it cannot be looked at",
        )
        return
    right = _right(logits, labels)
    chance = _chance(labels)
    text = f"{name}: {right:.1%} of {count} {part} images, chance is {chance:.1%}"
    better: dict[str, float] = {}
    if isinstance(teacher, Teacher):
        ways = {"the set's own mean and deviation": (sets.input.mean, sets.input.std)}
        better |= _others(teacher.tapped, some(whole), right, {**ways, **NORMALISATIONS})
    better |= _permuted(logits, labels, sets.classes)
    yield _judged(text, right, chance, count, better)


def _said(teacher: Teacher | TableTeacher, whole: ImageSet) -> Collected:
    """What it says of some images of a part, of which a table knows rows alone."""
    on = ("output", *(("embedding",) * ("embedding" in teacher.tapped.taps)))
    if isinstance(teacher, TableTeacher):
        return teacher.about(whole, on, drawn(whole))
    return listen(teacher.tapped, some(whole), on)


def examine_rest(pair: Pair) -> Finding:
    """Whether the teacher can move: a gradient, a mode in which its statistics would."""
    assert isinstance(pair.teacher, Teacher)
    network = pair.teacher.network
    learning = [name for name, each in network.named_parameters() if each.requires_grad]
    awake = [name or "itself" for name, each in network.named_modules() if each.training]
    if learning or awake:
        what = f"{len(learning)} parameters learn, {len(awake)} modules are in training mode"
        return problem("teacher at rest", f"{what} ({(learning + awake)[0]})", "freeze it")
    return ok("teacher at rest", "frozen, in eval mode")


def _judged(
    text: str, right: float, chance: float, count: int, better: dict[str, float]
) -> Finding:
    """What to think of a teacher that is right so often, and would be more often otherwise."""
    spread = (chance * (1 - chance) / count) ** 0.5
    guesses = right < chance + 3 * spread
    if better:
        best = max(better, key=better.__getitem__)
        way = f"with {best} it would be {better[best]:.1%}: see which it was trained with"
        return (problem if guesses else warning)("teacher's accuracy", text, way)
    if guesses:
        way = (
            "it guesses: see that these are its weights, that its classes are this set's, and that"
            " its images are normalised and sized as when it was trained; none of the usual"
            " normalisations helps"
        )
        return problem("teacher's accuracy", text, way)
    return ok("teacher's accuracy", text)


def _spread(embedding: Tensor) -> Finding:
    """Whether the embeddings of different images differ."""
    check = "teacher's embedding"
    flat = embedding.flatten(1)
    if not bool(flat.isfinite().all()):
        return problem(
            check, "it holds numbers that are not finite", "see that its weights are whole"
        )
    if (count := len(flat)) < 2:
        return ok(check, f"{flat.shape[1]} wide, of one image alone")
    unit = torch.nn.functional.normalize(flat, dim=1)
    alike = float((unit.sum(0).square().sum() - count) / (count * (count - 1)))
    text = f"{flat.shape[1]} wide, mean cosine of two images {alike:.3f}"
    if alike > ALIKE or float(flat.std(0).max()) == 0:
        way = "it tells no two images apart: there is nothing to learn from its relations"
        return problem(check, text, way)
    return ok(check, text)


def _right(logits: Tensor, labels: Tensor) -> float:
    return float((logits.argmax(1) == labels.to(logits.device)).float().mean())


def _chance(labels: Tensor) -> float:
    """What always naming the most frequent class would reach."""
    return float(labels.bincount().max()) / len(labels)


def _others(tapped: Tapped, data: ImageSet, right: float, ways: Normalisations) -> dict[str, float]:
    """Other normalisations with which more would be right, and how much that would be."""
    found: dict[str, float] = {}
    for name, (mean, std) in ways.items():
        if len(mean) not in (1, data.shape[0]):
            continue
        with _normalised(tapped, mean, std):
            said = listen(tapped, data, ("output",))
        assert said.labels is not None
        found[name] = _right(said.values["output"], said.labels)
    return {name: share for name, share in found.items() if share > right + MUCH}


@contextmanager
def _normalised(tapped: Tapped, mean: tuple[float, ...], std: tuple[float, ...]) -> Iterator[None]:
    """Have a network see its images otherwise, for a while."""
    before = tapped.mean, tapped.std
    like = tapped.mean
    tapped.mean, tapped.std = (
        torch.tensor(each, device=like.device, dtype=like.dtype).view(1, -1, 1, 1)
        for each in (mean, std)
    )
    try:
        yield
    finally:
        tapped.mean, tapped.std = before


def _permuted(logits: Tensor, labels: Tensor, classes: tuple[str, ...]) -> dict[str, float]:
    """Its classes in another order, fitted on every second image and judged on the others."""
    said, labels = logits.argmax(1).cpu(), labels.cpu()
    count = logits.shape[1]
    table = torch.zeros(count, count, dtype=torch.long)
    fitted = torch.arange(len(labels)) % 2 == 0
    judged = ~fitted
    if not bool(judged.any()):
        return {}
    table.index_put_((said[fitted], labels[fitted]), torch.ones(()).long(), accumulate=True)
    rows, columns = linear_sum_assignment(-table.numpy())
    order = torch.empty(count, dtype=torch.long)
    order[torch.from_numpy(rows)] = torch.from_numpy(columns)
    right = float((said[judged] == labels[judged]).float().mean())
    found = float((order[said[judged]] == labels[judged]).float().mean())
    moved = [each for each in range(count) if order[each] != each]
    if not moved or found <= right + 3 * MUCH:
        return {}
    first = moved[0]
    example = f"its {classes[first]} is this set's {classes[int(order[first])]}"
    return {f"its classes in another order ({example})": found}
