"""From a recipe to its two networks, tapped, and what may be asked of them."""

import json
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
from relatum.recipes.recipe import Recipe
from relatum.run.begun import begin
from relatum.run.network_teacher import NetworkTeacher
from relatum.run.places import named_places, with_places
from relatum.run.run_teacher import Known, RunTeacher, networks_of
from relatum.run.sets import Sets
from relatum.run.several_teachers import teacher_of
from relatum.run.sizes import student_size, teacher_size
from relatum.run.student import new_student, outputs_of, student_input
from relatum.run.trained import PRETRAINED, Trained, made_for, trained
from relatum.taps import Tap, Tapped, shapes
from relatum.teacher_names import several
from relatum.teachers import Teacher
from relatum.types import Fault, Images, Input, first_line
from relatum.weights import fingerprint

HALVES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Pair:
    """The two networks of a run.

    Attributes:
        student: the one that learns.
        student_name: its architecture.
        student_classes: how many outputs it was built for; 0 where it ends in its embedding.
        teacher: the one that it learns from, if there is one.
        setting: what may be asked of them.
        teacher_name: its architecture.
        teacher_sha256: of its weights.
        teacher_run: the folder of the run that trained it, where it was one.
        begin_sha256: of the weights that the student began with, where it did not at random.
    """

    student: Tapped
    teacher: RunTeacher | None
    setting: Setting
    student_name: str
    student_classes: int
    teacher_name: str = ""
    teacher_sha256: str = ""
    teacher_run: Path | None = None
    begin_sha256: str = ""


def pair_of(
    recipe: Recipe,
    sets: Sets,
    device: torch.device,
    stand_in: str | None = None,
    *,
    student_classes: int | None = None,
) -> Pair:
    """Build, load and tap the networks of a recipe, and look at what they give.

    Args:
        recipe: names them.
        sets: the images that they will see.
        device: where to.
        stand_in: a model that takes the teacher's place, untrained, for a rehearsal.
        student_classes: how many outputs the student has, where its weights say so.

    Raises:
        Fault: a network is unknown or does not fit the set, or the teacher's weights are
            missing, damaged or of another network.
    """
    if recipe.sync_batchnorm and world.size() > 1 and device.type != "cuda":
        raise Fault(f"sync_batchnorm works on GPUs alone, got --device {device}; leave it out")
    images = _some(sets)
    teacher = _teacher(recipe, sets, images, stand_in)
    known = None if teacher is None else teacher.known
    torch.manual_seed(recipe.seed)  # again: the student is the same whoever teaches it
    outputs = outputs_of(recipe, sets, known) if student_classes is None else student_classes
    network = new_student(recipe, sets, outputs)
    student = _tapped(recipe.student, network, student_input(recipe, sets), images)
    student = with_places(student, _places(recipe), "student", images)
    begun = "" if recipe.begin is None else begin(student, recipe, sets)
    classes = len(sets.classes) if sets.classes and recipe.labels else None
    student_shapes = shapes(student, images)
    named = known is not None and known.classes is not None and bool(sets.classes)
    short = not recipe.drop_last and len(sets.train) % recipe.batch_size
    setting = Setting(
        student=student_shapes,
        teacher=None if known is None else known.shapes,
        student_says=_says(student, student_shapes, images, classes, recipe.student),
        teacher_says=None if known is None else known.says,
        samples=len(sets.train),
        classes=classes,
        same_classes=not named or (known is not None and known.classes == sets.classes),
        labels=sets.train.labels if recipe.labels else None,
        batch=None if short else min(recipe.batch_size, len(sets.train)),
        student_network=student,
        teacher_network=_network(teacher),
        shares=() if teacher is None else tuple(each.share for each in teacher.members),
    )
    pair = Pair(
        student=student,
        teacher=teacher,
        setting=setting,
        student_name=recipe.student.removesuffix(PRETRAINED),
        student_classes=outputs,
        teacher_name="" if known is None else known.name,
        teacher_sha256="" if known is None else known.sha256,
        teacher_run=None if known is None else known.run,
        begin_sha256=begun,
    )
    if method := adopts(recipe.method):
        pair = _adopted(method, pair, recipe, sets)
    pair.student.to(device)
    for network in networks_of(teacher):
        network.to(HALVES.get(recipe.teacher_precision))
    if teacher is not None and "teacher" not in recipe.shard:
        teacher.to(device)
    return pair


def _network(teacher: RunTeacher | None) -> Tapped | None:
    """The network that a teacher is, where it is one."""
    heard = None if teacher is None else teacher.tapped
    return heard if isinstance(heard, Tapped) else None


def _teacher(recipe: Recipe, sets: Sets, images: Images, stand_in: str | None) -> RunTeacher | None:
    """The teacher of a recipe, if it has one."""
    if recipe.teacher is None:
        return None
    size, places = teacher_size(recipe), _places(recipe)
    if stand_in is not None:
        own = student_size(recipe.but(student=stand_in, begin=None, student_size=None))
        return _live(_untrained(stand_in, sets, recipe.teacher_size or own), images, places)

    def live(text: str) -> RunTeacher:
        return _live(trained(text, sets, size), images, places)

    return teacher_of(recipe.teacher, live, sets, len(images))


def _places(recipe: Recipe) -> tuple[str, ...]:
    """What the method names of both networks, where both are networks."""
    return () if several(recipe.teacher) else named_places(recipe.method)


def _live(source: Trained, images: Images, places: tuple[str, ...]) -> NetworkTeacher:
    """A network as a teacher."""
    tapped = _tapped(source.name, source.network, source.input, images)
    tapped = with_places(tapped, places, "teacher", images)
    taps = dict(tapped.taps)
    tapped.only(set())  # these hooks go, the teacher has its own
    teacher = Teacher(source.network, taps, source.input)
    given = shapes(teacher.tapped, images)
    says = _says(teacher.tapped, given, images)
    sha256 = fingerprint(source.network)
    known = Known(source.name, sha256, given, says, source.classes, source.run)
    return NetworkTeacher(teacher, known)


def _adopted(method: str, pair: Pair, recipe: Recipe, sets: Sets) -> Pair:
    """The pair with the network in the student's place that a method puts there."""
    adopt = METHODS[method].adopt
    assert adopt is not None
    images = _some(sets)
    _refuse_two_sizes(method, pair, images)
    teacher_name = pair.teacher_name.removesuffix(PRETRAINED)
    name = f"{method}({pair.student_name},{teacher_name})"
    student = _tapped(name, adopt(pair.setting), student_input(recipe, sets), images)
    seen = shapes(student, images)
    says = _says(student, seen, images, pair.setting.classes, name)
    setting = replace(pair.setting, student=seen, student_says=says, student_network=student)
    return replace(pair, student=student, student_name=name, setting=setting)


def _untrained(name: str, sets: Sets, size: int | None) -> Trained:
    network = models.create(name, **made_for(sets, max(len(sets.classes), 1), size))
    input = sets.input if size is None else replace(sets.input, size=(size, size))
    return Trained(network, name, input)


def _refuse_two_sizes(method: str, pair: Pair, images: Images) -> None:
    """A network of the parts of two can be built again from one size alone."""
    teacher = pair.setting.teacher_network
    if teacher is None:
        return
    sizes = [each.input.size or tuple(images.shape[-2:]) for each in (pair.student, teacher)]
    if sizes[0] != sizes[1]:
        raise Fault(
            f"{method} joins two networks, and here the student sees {sizes[0][0]} pixels and the"
            f" teacher {sizes[1][0]}; let both see as many (--set student_size={sizes[1][0]})"
        )


def about_network(recipe: Recipe, sets: Sets, pair: Pair) -> dict[str, str]:
    """What a student's weights say of themselves, so that the file alone is enough to use it."""
    made = made_for(sets, pair.student_classes, student_size(recipe))
    input = student_input(recipe, sets)
    return {
        "model": pair.student_name,
        **{name: str(value) for name, value in made.items()},
        "input_size": str(made["size"]),
        "mean": " ".join(map(str, input.mean)),
        "std": " ".join(map(str, input.std)),
        "dataset": sets.name,
        "class_names": json.dumps(sets.classes, ensure_ascii=False) if sets.classes else "",
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
        size = " by ".join(map(str, (images.shape[1], *(input.size or images.shape[2:]))))
        raise Fault(f"{name} cannot be run on images of {size}: {first_line(error)}") from error
    return tapped


def _some(sets: Sets) -> Images:
    """Two images for a dry run, on the CPU."""
    count = min(2, len(sets.train))
    return (
        sets.train.take(torch.arange(count, device=sets.train.device))
        .to(torch.device("cpu"))
        .float(slice(0, count))
    )


def _says(
    tapped: Tapped,
    given: Mapping[str, Any],
    images: Images,
    classes: int | None = None,
    name: str = "",
) -> Says:
    """What kind of thing a network puts out."""
    shape = tuple(given["output"])
    if shape[1:] == (images.shape[1], *(tapped.input.size or images.shape[2:])):
        return "reconstruction"
    if classes is None:
        return "embedding" if tapped.taps.get("embedding") == Tap("") else "logits"
    if shape[1:] == (classes,):
        return "logits"
    if tapped.taps.get("embedding") == Tap(""):
        return "embedding"
    raise Fault(
        f"the student {name} puts out {' by '.join(map(str, shape[1:]))} values, but the set has"
        f" {classes} classes; build it for {classes}, or train without labels (--no-labels)"
    )
