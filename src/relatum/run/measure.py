"""What is measured of a student, by one set of functions for every method."""

from pathlib import Path

import torch
from torch import Tensor

from relatum import relations
from relatum.data import Batches, Resident
from relatum.evaluate import (
    accuracy,
    agreement,
    cka,
    kept,
    knn,
    linear_probe,
    parameters,
    relation_gap,
)
from relatum.grammar import adopts
from relatum.methods import Setting
from relatum.objective import Objective
from relatum.recipes.recipe import Recipe
from relatum.record import Record, Row, TeacherRecord
from relatum.run.hearing import LARGEST, Hear, Hearing, hear, listen
from relatum.run.networks import Pair
from relatum.run.sets import Sets
from relatum.sharding import load_full_state
from relatum.taps import Tapped
from relatum.teachers import Teacher
from relatum.weights import load_weights, state_of

RELATED = 2000
"""Test images whose relations are compared."""
VALIDATED = 500
"""Validation images whose relations are compared after every epoch, where there is no accuracy."""
OF_OUTPUT = ("top1", "top5", "agreement", "reconstruction")
"""Metrics of what the student itself returns: chance, where only its inside was taught."""
OWN = ("top1", "top5", "probe", "knn")
"""What a teacher's own run measured of it that need not be measured again."""
SHOWN = 50
"""Test images whose relation matrices are kept, to be looked at."""


def measure(
    student: Tapped,
    teacher: Teacher | None,
    setting: Setting,
    data: Resident,
    *,
    related: int = RELATED,
    hear: Hear = hear,
) -> dict[str, float]:
    """All that one pass over some images tells of a student, and its teacher beside it.

    Percent, but for gaps (0 to 1, less is better), ``cka`` (0 to 1, more is better) and
    ``reconstruction`` (mean squared error per pixel).

    Args:
        student: at rest while it is measured.
        teacher: compared with, if there is one.
        setting: what may be asked of the two.
        data: the images.
        related: how many of them, from the first, have their relations compared; none at 0.
        hear: a ``Hearing`` where the same is asked again.
    """
    said = hear(student, data)
    found: dict[str, float] = {}
    if setting.supervised and said.labels is not None:
        found |= accuracy(said.values["output"], said.labels)
    if setting.student_says == "reconstruction":
        found["reconstruction"] = _reconstruction(student, data, said.values["output"])
    if teacher is None:
        return found
    taught = hear(teacher.tapped, data)
    if setting.shares_classes:
        found["agreement"] = agreement(said.values["output"], taught.values["output"])
    if related and "embedding" in said.values and "embedding" in taught.values:
        ours, theirs = (each.values["embedding"][:related] for each in (said, taught))
        found |= {f"gap_{kind}": gap for kind, gap in relation_gap(ours, theirs).items()}
        found["cka"] = cka(ours, theirs)
    return found


def other_weights(pair: Pair, weights: Path, data: Resident, hear: Hearing) -> dict[str, float]:
    """What the student reaches with other weights, as of its best epoch; its own stay loaded."""
    student = pair.student
    own = state_of(student.network)
    load_weights(student.network, weights)
    hear.forget(student)
    found = measure(student, pair.teacher, pair.setting, data, hear=hear)
    hear.forget(student)
    load_full_state(student.network, own)
    return found


def measure_teacher(
    teacher: Teacher, setting: Setting, data: Resident, hear: Hear = hear
) -> dict[str, float]:
    """What the teacher itself reaches on the same images."""
    said = hear(teacher.tapped, data)
    logits = said.values["output"]
    if setting.classes is None or said.labels is None or logits.shape[1:] != (setting.classes,):
        return {}
    return accuracy(logits, said.labels)


def record_teacher(
    pair: Pair, recipe: Recipe, sets: Sets, hear: Hear = hear
) -> TeacherRecord | None:
    """Whom the student learnt from and what it reaches, by its own run where that was measured."""
    if pair.teacher is None:
        return None
    found = measure_teacher(pair.teacher, pair.setting, sets.test, hear)
    if pair.teacher_run is not None:
        before = Record.load(pair.teacher_run)
        if before.recipe.dataset == recipe.dataset:
            own = {name: before.metrics[name] for name in OWN if name in before.metrics}
            found = {**own, **found}
    if recipe.probes and not {"probe", "knn"} & set(found):
        found |= probe(pair.teacher.tapped, recipe, sets, hear)
    return TeacherRecord(
        name=pair.teacher_name,
        weights_sha256=pair.teacher_sha256,
        parameters=parameters(pair.teacher.network),
        metrics=found,
    )


def probe(tapped: Tapped, recipe: Recipe, sets: Sets, hear: Hear = hear) -> dict[str, float]:
    """What the recipe's probes find in a frozen embedding, of unaugmented images.

    The training images are heard for this alone, so what is said of them is not remembered.
    """
    found: dict[str, float] = {}
    if not recipe.probes or sets.train.labels is None or "embedding" not in tapped.taps:
        return found
    train, test = listen(tapped, sets.train, ("embedding",)), hear(tapped, sets.test)
    assert train.labels is not None
    assert test.labels is not None
    ours, theirs = train.values["embedding"], test.values["embedding"]
    if "linear" in recipe.probes:
        fitted = linear_probe(ours, train.labels, theirs, test.labels, seed=recipe.seed)
        found["probe"] = fitted.accuracy
    if "knn" in recipe.probes:
        found["knn"] = knn(ours, train.labels, theirs, test.labels)
    return found


def share_kept(student: dict[str, float], teacher: dict[str, float]) -> dict[str, float]:
    """How much of the teacher's performance the student keeps, by a measure that both have.

    A probe comes first: it reads networks with a trained classifier, a random one and none alike.
    """
    for name in ("probe", "top1", "knn"):
        if name in student and teacher.get(name):
            return {"kept": kept(student[name], teacher[name])}
    return {}


def validate(
    student: Tapped,
    teacher: Teacher | None,
    setting: Setting,
    recipe: Recipe,
    data: Resident,
    hear: Hear = hear,
) -> dict[str, float]:
    """What is measured after every epoch: cheap, but for what "best" needs."""
    by = chosen_by(setting, recipe)
    related = VALIDATED if by == "gap_cosine" else 0
    return measure(student, teacher, setting, data, related=related, hear=hear)


def watched(
    pair: Pair, objective: Objective, recipe: Recipe, data: Resident, hear: Hear = hear
) -> dict[str, float]:
    """Accuracy on the test images after an epoch: noted, and nothing is chosen by it."""
    if not (pair.setting.supervised and _taught_output(objective, recipe)):
        return {}
    said = hear(pair.student, data)
    assert said.labels is not None
    return {"test_top1": accuracy(said.values["output"], said.labels)["top1"]}


def best_on_test(rows: list[Row]) -> dict[str, float]:
    """The highest accuracy that was watched on the test images, as some papers report it.

    It is chosen on the images that it is measured on, so it is too high, and tables that rank
    methods leave it out.
    """
    seen = [row.metrics["test_top1"] for row in rows if "test_top1" in row.metrics]
    return {"best_on_test_top1": max(seen)} if seen else {}


def learnt(found: dict[str, float], objective: Objective, recipe: Recipe) -> dict[str, float]:
    """Without what is measured of the output, where nothing taught the student to give any."""
    if recipe.epochs and _taught_output(objective, recipe):
        return found
    return {name: value for name, value in found.items() if name not in OF_OUTPUT}


def _taught_output(objective: Objective, recipe: Recipe) -> bool:
    """A student that wears its teacher's classifier was taught by what enters that."""
    return objective.reads_output("student") or adopts(recipe.method) is not None


def chosen_by(setting: Setting, recipe: Recipe) -> str:
    """The metric that "best" is chosen by: accuracy, or else what the student is taught."""
    if setting.supervised:
        return "top1"
    return "reconstruction" if recipe.method == "none" else "gap_cosine"


def better(metric: str, one: float, other: float) -> bool:
    """Whether one value of a metric is better than another."""
    return one > other if metric == "top1" else one < other


def _reconstruction(student: Tapped, data: Resident, output: Tensor) -> float:
    """The mean over all pixels; images are prepared again, some at a time, and no network runs."""
    parts = Batches(data, min(LARGEST, len(data)))
    errors = [
        (output[each.indices.to(output.device)] - student.prepare(each.images)).square().mean()
        for each in parts.epoch(0)
    ]
    sizes = [min(parts.size, len(data) - first) for first in range(0, len(data), parts.size)]
    found: list[float] = torch.stack(errors).tolist()  # the device is waited for once
    return sum(error * size for error, size in zip(found, sizes, strict=True)) / len(data)


def shown_relations(
    student: Tapped, teacher: Teacher | None, data: Resident, hear: Hear = hear
) -> dict[str, Tensor]:
    """The cosine relations of fifty images to both networks, sorted by class, for pictures."""
    indices = _shown(data)
    found = {"indices": indices}
    if data.labels is not None:
        found["labels"] = data.labels.cpu()[indices]
    for name, tapped in (("student", student), ("teacher", teacher and teacher.tapped)):
        if isinstance(tapped, Tapped) and "embedding" in tapped.taps:
            embedding = hear(tapped, data).values["embedding"]
            found[name] = relations.cosine(embedding[indices.to(embedding.device)].float()).cpu()
    return found


def _shown(data: Resident) -> Tensor:
    if data.labels is None:
        return torch.arange(min(SHOWN, len(data)))
    labels = data.labels.cpu()
    present = torch.unique(labels)
    each = max(SHOWN // len(present), 1)
    places = [(labels == label).nonzero().flatten()[:each] for label in present[:SHOWN]]
    return torch.cat(places)


def best_row(rows: list[Row], metric: str) -> int | None:
    """The place of the best row by a metric on the validation part; the first of equals."""
    name = f"validation_{metric}"
    best: int | None = None
    for place, row in enumerate(rows):
        if name in row.metrics and (
            best is None or better(metric, row.metrics[name], rows[best].metrics[name])
        ):
            best = place
    return best
