"""What is measured of a student, by one set of functions for every method."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from relatum.data import Batches, ImageSet
from relatum.data.chosen import evenly
from relatum.evaluate import (
    Collected,
    Retrieval,
    accuracy,
    agreement,
    cka,
    kept,
    knn,
    linear_probe,
    macs,
    neighbours,
    parameters,
    relation_gap,
    retrieval,
)
from relatum.grammar import adopts
from relatum.methods import Says, Setting
from relatum.objective import Objective
from relatum.recipes.recipe import Recipe
from relatum.record import Record, TeacherRecord
from relatum.run.hearing import LARGEST, Hear, Heard, Hearing, hear, listen
from relatum.run.networks import Pair
from relatum.run.run_teacher import RunTeacher, networks_of, tapped_of
from relatum.run.sets import Sets
from relatum.sharding import load_full_state, sharded
from relatum.taps import Tapped
from relatum.weights import load_weights, state_of

RELATED = 2000
"""Test images whose relations are compared."""
NEAR = 2000
"""Images whose neighbours are compared, evenly spread over all."""
OF_OUTPUT = ("top1", "top5", "agreement", "reconstruction")
"""Metrics of what the student itself returns: chance, where only its inside was taught."""
OWN = ("top1", "top5", "probe", "knn")
"""What a teacher's own run measured of it that need not be measured again."""


def measure(
    student: Tapped,
    teacher: RunTeacher | None,
    setting: Setting,
    data: ImageSet,
    *,
    related: int = RELATED,
    near: int = NEAR,
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
        near: among how many of them, evenly spread, neighbours are compared; none at 0.
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
    if setting.shares_classes and "output" in taught.values:
        found["agreement"] = agreement(said.values["output"], taught.values["output"])
    if "embedding" in said.values and "embedding" in taught.values:
        ours, theirs = (each.values["embedding"] for each in (said, taught))
        found |= _related(ours[:related], theirs[:related]) if related else {}
        rows = evenly(len(ours), near)
        found |= neighbours(ours[rows], theirs[rows]) if len(rows) > 1 else {}
    return found


def _related(ours: Tensor, theirs: Tensor) -> dict[str, float]:
    gaps = relation_gap(ours, theirs)
    return {**{f"gap_{kind}": gap for kind, gap in gaps.items()}, "cka": cka(ours, theirs)}


def other_weights(pair: Pair, weights: Path, data: ImageSet, hear: Hearing) -> dict[str, float]:
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
    teacher: RunTeacher, says: Says | None, setting: Setting, data: ImageSet, hear: Hear = hear
) -> dict[str, float]:
    """What a teacher itself reaches on the same images, where it says logits over their classes.

    An embedding may be as wide as there are classes.
    """
    if says != "logits":
        return {}
    said = hear(teacher.tapped, data)
    logits = said.values.get("output")
    if setting.classes is None or said.labels is None or logits is None:
        return {}
    return accuracy(logits, said.labels) if logits.shape[1:] == (setting.classes,) else {}


def measure_members(pair: Pair, data: ImageSet, hear: Hear = hear) -> tuple[TeacherRecord, ...]:
    """What each of several teachers reaches by itself; nothing where there is one."""
    if pair.teacher is None:
        return ()
    return tuple(
        TeacherRecord(
            name=each.known.name,
            weights_sha256=each.known.sha256,
            parameters=sum(map(parameters, networks_of(each.teacher))),
            macs=_work(each.teacher, data.shape),
            metrics=measure_teacher(each.teacher, each.known.says, pair.setting, data, hear),
            share=each.share,
        )
        for each in pair.teacher.members
    )


def record_teacher(
    pair: Pair, recipe: Recipe, sets: Sets, hear: Hear = hear
) -> TeacherRecord | None:
    """Whom the student learnt from and what it reaches, by its own run where that was measured."""
    if pair.teacher is None:
        return None
    says = pair.setting.teacher_says
    found = measure_teacher(pair.teacher, says, pair.setting, sets.test, hear)
    if pair.teacher_run is not None:
        before = Record.load(pair.teacher_run)
        if before.recipe.dataset == recipe.dataset:
            own = {name: before.metrics[name] for name in OWN if name in before.metrics}
            found = {**own, **found}
    known = {"probe", "knn"} & set(found)
    wanted = tuple(each for each in recipe.probes if each == "retrieval" or not known)
    found |= probe(pair.teacher.tapped, recipe.but(probes=wanted), sets, hear)
    return TeacherRecord(
        name=pair.teacher_name,
        weights_sha256=pair.teacher_sha256,
        parameters=sum(map(parameters, networks_of(pair.teacher))),
        macs=_work(pair.teacher, sets.shape),
        members=measure_members(pair, sets.test, hear),
        metrics=found,
    )


def _work(teacher: RunTeacher, shape: tuple[int, int, int]) -> int:
    """Multiply-accumulates an image; 0 of a table, and of a network that is held in parts."""
    networks = tapped_of(teacher)
    if any(map(sharded, networks)):
        return 0
    return sum(macs(each, shape) for each in networks)


def probe(tapped: Heard, recipe: Recipe, sets: Sets, hear: Hear = hear) -> dict[str, float]:
    """What the recipe's probes find in a frozen embedding, of unaugmented images.

    The training images are heard for this alone, so what is said of them is not remembered.
    """
    found: dict[str, float] = {}
    if not recipe.probes or "embedding" not in tapped.taps:
        return found
    test = hear(tapped, sets.test)
    if "embedding" not in test.values:  # a table that lacks those images
        return found
    kinds = tuple(each for each in recipe.probes if each != "retrieval")
    if kinds and sets.train.labels is not None and test.labels is not None:
        train = listen(tapped, sets.train, ("embedding",))
        found |= fitted(train, test, kinds, recipe.seed)
    if "retrieval" in recipe.probes and test.labels is not None:
        found |= ranked(retrieval(test.values["embedding"], test.labels))
    return found


def fitted(train: Collected, test: Collected, kinds: Sequence[str], seed: int) -> dict[str, float]:
    """What classifiers, fitted on one set's embeddings, reach on another's."""
    assert train.labels is not None
    assert test.labels is not None
    ours, theirs = train.values["embedding"], test.values["embedding"]
    found: dict[str, float] = {}
    if "linear" in kinds:
        probed = linear_probe(ours, train.labels, theirs, test.labels, seed=seed)
        found["probe"] = probed.accuracy
    if "knn" in kinds:
        found["knn"] = knn(ours, train.labels, theirs, test.labels)
    return found


def ranked(found: Retrieval) -> dict[str, float]:
    """What a ranking found, by the names of a record."""
    return {
        "map": found.mean_average_precision,
        "map_at_r": found.mean_average_precision_at_r,
        **{f"recall_{nearest}": found.recall(nearest) for nearest in (1, 5, 10)},
    }


def share_kept(student: dict[str, float], teacher: dict[str, float]) -> dict[str, float]:
    """How much of the teacher's performance the student keeps, by a measure that both have.

    A probe comes first: it reads networks with a trained classifier, a random one and none alike.
    """
    for name in ("probe", "top1", "knn"):
        if name in student and teacher.get(name):
            return {"kept": kept(student[name], teacher[name])}
    return {}


def learnt(found: dict[str, float], objective: Objective, recipe: Recipe) -> dict[str, float]:
    """Without what is measured of the output, where nothing taught the student to give any."""
    if recipe.epochs and taught_output(objective, recipe):
        return found
    return {name: value for name, value in found.items() if name not in OF_OUTPUT}


def taught_output(objective: Objective, recipe: Recipe) -> bool:
    """Whether what the student itself returns is taught: where it wears its teacher's classifier,
    by what enters that."""
    return objective.reads_output("student") or adopts(recipe.method) is not None


def _reconstruction(student: Tapped, data: ImageSet, output: Tensor) -> float:
    """The mean over all pixels; images are prepared again, some at a time, and no network runs."""
    parts = Batches(data, min(LARGEST, len(data)))
    errors = [
        (output[each.indices.to(output.device)] - student.prepare(each.images)).square().mean()
        for each in parts.epoch(0)
    ]
    sizes = [min(parts.size, len(data) - first) for first in range(0, len(data), parts.size)]
    found: list[float] = torch.stack(errors).tolist()  # the device is waited for once
    return sum(error * size for error, size in zip(found, sizes, strict=True)) / len(data)
