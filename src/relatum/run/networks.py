"""From a recipe to its two networks, tapped, and what may be asked of them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from relatum import models, world
from relatum.discovery import find_taps
from relatum.grammar import adopts
from relatum.methods import METHODS, Says, Setting
from relatum.models.foreign import published
from relatum.recipes.recipe import Recipe
from relatum.run.begun import begin
from relatum.run.sets import Sets
from relatum.run.trained import PRETRAINED, Trained, made_for, trained
from relatum.taps import Tapped, shapes
from relatum.teachers import Teacher
from relatum.types import Fault, Images, Input, Shapes, first_line
from relatum.weights import fingerprint

HALVES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Pair:
    """The two networks of a run.

    Attributes:
        student: the one that learns.
        student_name: its architecture.
        teacher: the one that it learns from, if there is one.
        setting: what may be asked of them.
        teacher_name: its architecture.
        teacher_sha256: of its weights.
        teacher_run: the folder of the run that trained it, where it was one.
        begin_sha256: of the weights that the student began with, where it did not at random.
    """

    student: Tapped
    teacher: Teacher | None
    setting: Setting
    student_name: str
    teacher_name: str = ""
    teacher_sha256: str = ""
    teacher_run: Path | None = None
    begin_sha256: str = ""


def pair_of(recipe: Recipe, sets: Sets, device: torch.device, stand_in: str | None = None) -> Pair:
    """Build, load and tap the networks of a recipe, and look at what they give.

    Args:
        recipe: names them.
        sets: the images that they will see.
        device: where to.
        stand_in: a model that takes the teacher's place, untrained, for a rehearsal.

    Raises:
        Fault: a network is unknown or does not fit the set, or the teacher's weights are
            missing, damaged or of another network.
    """
    if recipe.sync_batchnorm and world.size() > 1 and device.type != "cuda":
        raise Fault(f"sync_batchnorm works on GPUs alone, got --device {device}; leave it out")
    images = _some(sets)
    source, teacher = None, None
    if recipe.teacher is not None:
        source = trained(recipe.teacher, sets) if stand_in is None else _untrained(stand_in, sets)
        taps = _tapped(source.name, source.network, source.input, images).taps
        teacher = Teacher(source.network, taps, source.input)
    teacher_shapes = {} if teacher is None else shapes(teacher.tapped, images)
    torch.manual_seed(recipe.seed)  # again: the student is the same whoever teaches it
    student = _student(recipe, sets, images, teacher_shapes)
    begun = "" if recipe.begin is None else begin(student, recipe, sets)
    classes = len(sets.classes) if sets.classes and recipe.labels else None
    student_shapes = shapes(student, images)
    known = source is not None and source.classes is not None and bool(sets.classes)
    short = not recipe.drop_last and len(sets.train) % recipe.batch_size
    setting = Setting(
        student=student_shapes,
        teacher=teacher_shapes or None,
        student_says=_says(student, student_shapes, images, classes, recipe.student),
        teacher_says=_says(teacher.tapped, teacher_shapes, images) if teacher else None,
        samples=len(sets.train),
        classes=classes,
        same_classes=not known or (source is not None and source.classes == sets.classes),
        labels=sets.train.labels if recipe.labels else None,
        batch=None if short else min(recipe.batch_size, len(sets.train)),
        student_network=student,
        teacher_network=None if teacher is None else teacher.tapped,
    )
    pair = Pair(
        student=student,
        teacher=teacher,
        setting=setting,
        student_name=recipe.student.removesuffix(PRETRAINED),
        teacher_name="" if source is None else source.name,
        teacher_sha256="" if source is None else fingerprint(source.network),
        teacher_run=None if source is None else source.run,
        begin_sha256=begun,
    )
    if method := adopts(recipe.method):
        pair = _adopted(method, pair, recipe, sets)
    pair.student.to(device)
    if pair.teacher is not None:
        pair.teacher.network.to(HALVES.get(recipe.teacher_precision))
        if "teacher" not in recipe.shard:
            pair.teacher.to(device)
    return pair


def _adopted(method: str, pair: Pair, recipe: Recipe, sets: Sets) -> Pair:
    """The pair with the network in the student's place that a method puts there."""
    adopt = METHODS[method].adopt
    assert adopt is not None
    images = _some(sets)
    teacher_name = pair.teacher_name.removesuffix(PRETRAINED)
    name = f"{method}({pair.student_name},{teacher_name})"
    student = _tapped(name, adopt(pair.setting), student_input(recipe, sets), images)
    seen = shapes(student, images)
    says = _says(student, seen, images, pair.setting.classes, name)
    setting = replace(pair.setting, student=seen, student_says=says, student_network=student)
    return replace(pair, student=student, student_name=name, setting=setting)


def _student(recipe: Recipe, sets: Sets, images: Images, teacher: Shapes) -> Tapped:
    """A new student. Without classes of its own it gets as many outputs as its teacher has."""
    width = teacher["output"][-1] if teacher and len(teacher["output"]) == 2 else 1
    assert isinstance(width, int)
    made = made_for(sets, len(sets.classes) or width)
    network = models.create(recipe.student, **made)
    if recipe.dropout is not None:
        _set_dropout(network, recipe.dropout, recipe.student)
    if recipe.sync_batchnorm:
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    return _tapped(recipe.student, network, student_input(recipe, sets), images)


def student_input(recipe: Recipe, sets: Sets) -> Input:
    """The set's normalisation, or that of the published weights which a student begins with."""
    if recipe.student.endswith(PRETRAINED):
        own = published(recipe.student.removesuffix(PRETRAINED))[1]
        return Input(mean=own.mean, std=own.std)
    return sets.input


def _untrained(name: str, sets: Sets) -> Trained:
    network = models.create(name, **made_for(sets, max(len(sets.classes), 1)))
    return Trained(network, name, sets.input)


def about_network(recipe: Recipe, sets: Sets, pair: Pair) -> dict[str, str]:
    """What a student's weights say of themselves, so that the file alone is enough to use it."""
    width = pair.setting.student["output"][-1]
    assert isinstance(width, int)
    made = made_for(sets, len(sets.classes) or width)
    input = student_input(recipe, sets)
    return {
        "model": pair.student_name,
        **{name: str(value) for name, value in made.items()},
        "mean": " ".join(map(str, input.mean)),
        "std": " ".join(map(str, input.std)),
        "dataset": sets.name,
        "class_names": "\n".join(sets.classes),
    }


def tap(network: nn.Module, input: Input, images: Images) -> Tapped:
    """A network with its declared taps, or those found."""
    prepared = Tapped(network, {}, input).prepare(images)
    return Tapped(network, find_taps(network, prepared), input)


def _tapped(name: str, network: nn.Module, input: Input, images: Images) -> Tapped:
    """As ``tap``, with one line for a network that cannot be run on such images."""
    try:
        tapped = tap(network, input, images)
        shapes(tapped, images)
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        if isinstance(error, Fault):
            raise
        size = " by ".join(map(str, images.shape[1:]))
        raise Fault(f"{name} cannot be run on images of {size}: {first_line(error)}") from error
    return tapped


def _some(sets: Sets) -> Images:
    """Two images for a dry run, on the CPU."""
    count = min(2, len(sets.train))
    return (
        sets.train.take(torch.arange(count, device=sets.train.images.device))
        .to(torch.device("cpu"))
        .float(slice(0, count))
    )


def _set_dropout(network: nn.Module, probability: float, name: str) -> None:
    layers = [each for each in network.modules() if isinstance(each, nn.Dropout)]
    if not layers:
        raise Fault(f"dropout was set, but {name} has no dropout layer")
    for layer in layers:
        layer.p = probability


def _says(
    tapped: Tapped,
    given: Mapping[str, Any],
    images: Images,
    classes: int | None = None,
    name: str = "",
) -> Says:
    """What kind of thing a network puts out."""
    shape = tuple(given["output"])
    if shape[1:] == tuple(images.shape[1:]):
        return "reconstruction"
    if classes is None:
        return "embedding" if tapped.taps.get("embedding") == ("", "output") else "logits"
    if shape[1:] == (classes,):
        return "logits"
    if tapped.taps.get("embedding") == ("", "output"):
        return "embedding"
    raise Fault(
        f"the student {name} puts out {' by '.join(map(str, shape[1:]))} values, but the set has"
        f" {classes} classes; build it for {classes}, or train without labels (--no-labels)"
    )
