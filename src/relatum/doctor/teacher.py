"""What is looked at of a teacher: whether it is right, and, where not, what would make it so."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from relatum.data import ImageSet
from relatum.doctor.few import differs, guesses
from relatum.doctor.finding import Finding, ok, problem, unseen, warning
from relatum.doctor.images import drawn, some
from relatum.evaluate import Collected
from relatum.report.words import counted
from relatum.run.hearing import listen
from relatum.run.networks import Pair
from relatum.run.run_teacher import RunTeacher, networks_of
from relatum.run.sets import Sets
from relatum.run.trained import PRETRAINED, input_from, weights_of
from relatum.taps import Tapped
from relatum.teacher_names import teachers_there
from relatum.weights import about_weights

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


def examine_teacher(pair: Pair, sets: Sets, named: str | None = None) -> Iterator[Finding]:
    """The checks of a teacher that is a network, or a table; of several, each by itself.

    What may be changed for what they find is found on images that nothing is reported of: those
    of the validation part, and where there is none, of the training part.

    Args:
        pair: the networks.
        sets: the images.
        named: as the recipe names the teacher: where its file says how its images are normalised,
            no other way is tried.
    """
    if pair.teacher is None:
        return
    teachers = [each.teacher for each in pair.teacher.members] or [pair.teacher]
    texts = [each.text for each in teachers_there(named)] if named else [""] * len(teachers)
    for text, each in zip(texts, teachers, strict=True):
        yield from _examine(each, recorded(text), pair.setting.classes, sets)


def recorded(text: str) -> bool:
    """Whether what a text names says itself how its images are to be normalised."""
    if text.endswith(PRETRAINED):
        return True
    weights = weights_of(text) if text else None
    if weights is None or weights.suffix != ".safetensors":
        return False
    return input_from(about_weights(weights), weights) is not None


def _examine(
    teacher: RunTeacher, known: bool, classes: int | None, sets: Sets
) -> Iterator[Finding]:
    """The checks of one of them, whose normalisation may be known."""
    name, says = teacher.known.name, teacher.known.says
    whole = sets.train if sets.validation is None else sets.validation
    part = "training" if sets.validation is None else "validation"
    said = _said(teacher, whole)
    labels, count = said.labels, len(said.indices)
    logits = said.values.get("output") if says == "logits" else None
    for doubt in teacher.doubts:
        way = "mend the table, or take those images out"
        yield warning("teacher's table", f"{name}: {doubt}", way)
    if "embedding" in said.values:
        yield _spread(said.values["embedding"].float())
    if logits is None or labels is None or classes is None or logits.shape[1:] != (classes,):
        width = "a reconstruction" if says == "reconstruction" else "an embedding"
        width = width if logits is None else f"{'x'.join(map(str, logits.shape[1:]))} outputs"
        yield unseen(
            "teacher's accuracy",
            f"{name} gives {width}, and there are {classes or 'no'} classes to use:"
            " it cannot be compared",
        )
        return
    hits = _hits(logits, labels)
    right, chance = float(hits.float().mean()), _chance(labels)
    text = f"{name}: {right:.1%} of {count} {part} images, chance is {chance:.1%}"
    better: dict[str, float] = {}
    if teacher.networks and not known and right + MUCH <= 1:
        ways = {"the set's own mean and deviation": (sets.input.mean, sets.input.std)}
        better |= _others(teacher.networks[0], some(whole), hits, {**ways, **NORMALISATIONS})
    better |= _permuted(logits, labels, sets.classes)
    yield _judged(text, right, chance, count, better, known=known)


def _said(teacher: RunTeacher, whole: ImageSet) -> Collected:
    """What it says of some images of a part, of which a table knows rows alone."""
    on = ("output", *(("embedding",) * ("embedding" in teacher.tapped.taps)))
    return teacher.about(whole, on, drawn(whole))


def examine_rest(pair: Pair) -> Finding:
    """Whether the teacher can move: a gradient, a mode in which its statistics would."""
    networks = networks_of(pair.teacher)
    learning = [
        name
        for network in networks
        for name, each in network.named_parameters()
        if each.requires_grad
    ]
    awake = [
        name or "itself"
        for network in networks
        for name, each in network.named_modules()
        if each.training
    ]
    if learning or awake:
        tensors = f"{counted(len(learning), 'tensor')} of parameters learn"
        what = f"{tensors}, {len(awake)} modules are in training mode"
        return problem("teacher at rest", f"{what} ({(learning + awake)[0]})", "freeze it")
    return ok("teacher at rest", "frozen, in eval mode")


def _judged(
    text: str, right: float, chance: float, count: int, better: dict[str, float], *, known: bool
) -> Finding:
    """What to think of a teacher that is right so often, and would be more often otherwise."""
    check, guessing = "teacher's accuracy", guesses(right, chance, count)
    if better:
        best = max(better, key=better.__getitem__)
        way = f"with {best} it would be {better[best]:.1%}: see which it was trained with"
        return (problem if guessing else warning)(check, text, way)
    weights = "see that these are its weights, that its classes are this set's"
    seen = "that its images are normalised and sized as when it was trained"
    if guessing:
        tried = "they are as its file says" if known else "none of the usual normalisations helps"
        return problem(check, text, f"it guesses: {weights}, and {seen}; {tried}")
    if guessing is None:
        told = f"{text}; {counted(count, 'image')} cannot tell whether it guesses"
        return warning(check, told, f"{weights}, and {seen}; more labelled images would tell")
    return ok(check, text)


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


def _hits(logits: Tensor, labels: Tensor) -> Tensor:
    """About which of the images it is right."""
    return (logits.argmax(1) == labels.to(logits.device)).cpu()


def _chance(labels: Tensor) -> float:
    """What always naming the most frequent class would reach."""
    return float(labels.bincount().max()) / len(labels)


def _others(tapped: Tapped, data: ImageSet, hits: Tensor, ways: Normalisations) -> dict[str, float]:
    """Other normalisations with which more are right, and how much that is."""
    found: dict[str, float] = {}
    for name, (mean, std) in ways.items():
        if len(mean) not in (1, data.shape[0]):
            continue
        with _normalised(tapped, mean, std):
            said = listen(tapped, data, ("output",))
        assert said.labels is not None
        other = _hits(said.values["output"], said.labels)
        if _better(other, hits, MUCH):
            found[name] = float(other.float().mean())
    return found


def _better(other: Tensor, hits: Tensor, much: float) -> bool:
    """Whether another way is right about more of the same images, and not by chance."""
    gained, lost = int((other & ~hits).sum()), int((hits & ~other).sum())
    return gained - lost > much * len(hits) and differs(gained, lost)


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
    hits, other = said[judged] == labels[judged], order[said[judged]] == labels[judged]
    moved = [each for each in range(count) if order[each] != each]
    if not moved or not _better(other, hits, 3 * MUCH):
        return {}
    found = float(other.float().mean())
    first = moved[0]
    example = f"its {classes[first]} is this set's {classes[int(order[first])]}"
    return {f"its classes in another order ({example})": found}
