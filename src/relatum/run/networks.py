"""From a recipe to its two networks, tapped, and what may be asked of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from relatum import models
from relatum.checkpoint import about_weights, fingerprint, first_line, load_weights
from relatum.discovery import find_taps
from relatum.methods import Says, Setting
from relatum.recipes.recipe import Recipe
from relatum.record import NAME
from relatum.run.sets import Sets
from relatum.taps import Tapped, shapes
from relatum.teachers import Teacher
from relatum.types import Fault, Images, Input

WEIGHTS = "student.safetensors"


@dataclass(frozen=True)
class Pair:
    """The two networks of a run.

    Attributes:
        student: the one that learns.
        teacher: the one that it learns from, if there is one.
        setting: what may be asked of them.
        teacher_name: its architecture.
        teacher_sha256: of its weights.
        teacher_run: the folder of the run that trained it, where it was one.
    """

    student: Tapped
    teacher: Teacher | None
    setting: Setting
    teacher_name: str = ""
    teacher_sha256: str = ""
    teacher_run: Path | None = None


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
    images = _some(sets)
    network = models.create(recipe.student, **_made_for(sets))
    if recipe.dropout is not None:
        _set_dropout(network, recipe.dropout, recipe.student)
    student = _tapped(recipe.student, network, sets.input, images).to(device)
    teacher, name, run = None, "", None
    if recipe.teacher is not None:
        if stand_in is None:
            bare, name, input, run = load_teacher(recipe.teacher, sets)
        else:
            bare, name, input = models.create(stand_in, **_made_for(sets)), stand_in, sets.input
        teacher = Teacher(bare, _tapped(name, bare, input, images).taps, input).to(device)
    classes = len(sets.classes) if sets.classes and recipe.labels else None
    student_shapes = shapes(student, images)
    teacher_shapes = {} if teacher is None else shapes(teacher.tapped, images)
    teacher_says = None if teacher is None else _says(teacher.tapped, teacher_shapes, images)
    setting = Setting(
        student=student_shapes,
        teacher=teacher_shapes or None,
        student_says=_says(student, student_shapes, images, classes, recipe.student),
        teacher_says=teacher_says,
        samples=len(sets.train),
        classes=classes,
    )
    sha256 = "" if teacher is None else fingerprint(teacher.network)
    return Pair(student, teacher, setting, name, sha256, run)


def about_network(recipe: Recipe, sets: Sets) -> dict[str, str]:
    """What a student's weights say of themselves, so that the file alone is enough to use it."""
    made = {name: str(value) for name, value in _made_for(sets).items()}
    return {
        "model": recipe.student,
        **made,
        "mean": " ".join(map(str, sets.input.mean)),
        "std": " ".join(map(str, sets.input.std)),
        "dataset": sets.name,
        "class_names": "\n".join(sets.classes),
    }


def load_teacher(text: str, sets: Sets) -> tuple[nn.Module, str, Input, Path | None]:
    """A trained network by the text that names it: its name, input and run come along.

    Args:
        text: a run's folder, a file of weights that a run saved, ``MODEL@WEIGHTS``, or the
            name of a model with weights of its own (``timm/NAME:pretrained``).
        sets: the images that it will see.

    Raises:
        Fault: there is no such thing, or it is of another network.
    """
    name, at, weights = text.partition("@")
    path = Path(text)
    if path.is_dir():
        if not (path / WEIGHTS).exists():
            raise Fault(f"{path} holds no trained network ({WEIGHTS} is missing): let it finish")
        return _from_file(path / WEIGHTS)
    if path.is_file():
        return _from_file(path)
    if at:
        network = models.create(name, **_made_for(sets))
        load_weights(network, Path(weights))
        return network, name, sets.input, None
    if text.endswith(":pretrained"):
        network = models.create(text, **_made_for(sets))
        return network, text, _own_input(network) or sets.input, None
    raise Fault(
        f"the teacher {text!r} is no folder of a run and no file; train one with"
        f" 'relatum teach --model {text}', or give its weights as {text}@FILE"
    )


def _from_file(path: Path) -> tuple[nn.Module, str, Input, Path | None]:
    about = about_weights(path)
    try:
        sizes = {name: int(about[name]) for name in ("channels", "size", "classes")}
        mean, std = (tuple(map(float, about[name].split())) for name in ("mean", "std"))
        name = about["model"]
    except (KeyError, ValueError):
        raise Fault(f"{path} does not say which network it is of; name it: MODEL@{path}") from None
    network = models.create(name, **sizes)
    load_weights(network, path)
    run = path.parent if (path.parent / NAME).exists() else None
    return network, name, Input(mean=mean, std=std), run


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


def _made_for(sets: Sets) -> dict[str, int]:
    channels, height, width = sets.shape
    if height != width:
        raise Fault(f"{sets.name}: images must be square here, got {height} by {width}")
    return {"channels": channels, "size": height, "classes": max(len(sets.classes), 1)}


def _set_dropout(network: nn.Module, probability: float, name: str) -> None:
    layers = [each for each in network.modules() if isinstance(each, nn.Dropout)]
    if not layers:
        raise Fault(f"dropout was set, but {name} has no dropout layer")
    for layer in layers:
        layer.p = probability


def _own_input(network: nn.Module) -> Input | None:
    """What a timm network says of its own input."""
    own: Any = getattr(network, "pretrained_cfg", None)
    if not isinstance(own, Mapping):
        return None
    _, height, width = own["input_size"]
    return Input((height, width), tuple(own["mean"]), tuple(own["std"]))


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
