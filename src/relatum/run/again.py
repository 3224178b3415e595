"""Measure a finished run's student again, on its own set or another."""

from dataclasses import replace
from pathlib import Path

import torch

from relatum import models
from relatum.recipes.recipe import Recipe
from relatum.record import NAME, WEIGHTS, Record
from relatum.run import measure
from relatum.run.claim import BEST
from relatum.run.hearing import Hearing
from relatum.run.networks import pair_of
from relatum.run.sets import sets_of
from relatum.run.trained import input_from
from relatum.speed import settle
from relatum.taps import Tapped
from relatum.teacher_names import TeacherName, teachers_there
from relatum.types import Fault
from relatum.weights import about_weights, load_weights


def evaluate_again(
    folder: Path,
    *,
    dataset: str | None = None,
    data_root: Path | None = None,
    probes: tuple[str, ...] = (),
    best: bool = False,
    download: bool = False,
    device: torch.device | None = None,
    own_code: tuple[str, ...] = (),
) -> dict[str, float]:
    """The metrics of a trained student, on the test images.

    Args:
        folder: a finished run's.
        dataset: another set than it was trained on; its classes must be as many.
        data_root: where the set's files are.
        probes: what to fit on the frozen embedding, as recipes name it.
        best: take the best epoch by validation instead of the last.
        download: fetch the set if it is missing.
        device: where.
        own_code: names of networks (``module:name``) that the run may import; others than these
            it may not, for whoever wrote the record would say which code is run here.

    Raises:
        Fault: the run is not finished, its files are damaged or missing, its teacher is
            another one now, or it is of own code that ``own_code`` does not name.
    """
    device = device or torch.device("cpu")
    record = Record.load(folder)
    _check_code(record.recipe, folder, own_code)
    recipe: Recipe = record.recipe.but(
        dataset=dataset or record.recipe.dataset,
        data_root=str(data_root) if data_root else record.recipe.data_root,
        probes=probes,
        teacher=_teacher_of(record, folder, other=dataset not in (None, record.recipe.dataset)),
        begin=None,  # its own weights are loaded in a moment
    )
    weights = folder / (BEST if best else WEIGHTS)
    if best and not weights.exists():
        raise Fault(
            f"{folder} has no best epoch: no validation part was cut; train it with"
            " --set validation=0.1"
        )
    about = about_weights(weights)
    if recipe.student_size is None and about.get("size", "").isdecimal():
        recipe = recipe.but(student_size=int(about["size"]))  # what it was built for
    settle(recipe.speed, device)  # as when it was measured first
    sets = sets_of(recipe, device, download)
    outputs = int(about["classes"]) if about.get("classes", "").isdecimal() else None
    pair = pair_of(recipe, sets, device, student_classes=outputs)
    learnt = record.teacher.weights_sha256 if record.teacher else ""
    if pair.teacher is not None and learnt and pair.teacher_sha256 != learnt:
        raise Fault(f"{recipe.teacher} is not the teacher that {folder} learnt from any more")
    load_weights(pair.student.network, weights)
    input = input_from(about, weights) or pair.student.input
    student = Tapped(pair.student.network, pair.student.taps, input).to(device)
    hear = Hearing()
    found = measure.measure(student, pair.teacher, pair.setting, sets.test, hear=hear)
    if recipe.dataset == record.recipe.dataset:  # what the run left out has a reason
        found = {name: value for name, value in found.items() if name in record.metrics}
    elif not set(measure.OF_OUTPUT) & set(record.metrics):  # nothing taught it what to put out
        found = {name: each for name, each in found.items() if name not in measure.OF_OUTPUT}
    return found | measure.probe(student, recipe, sets, hear)


def _check_code(recipe: Recipe, folder: Path, named: tuple[str, ...]) -> None:
    """Refuse own code that nobody but a file has named."""
    networks = [recipe.student]
    for each in teachers_there(recipe.teacher) if recipe.teacher is not None else ():
        model, at, _ = each.text.partition("@")
        networks.extend([model] if at and each.table is None else [])
    needed = [each for each in dict.fromkeys(networks) if models.is_own(each)]
    if unknown := [each for each in named if each not in needed]:
        raise Fault(f"{folder} is a run of {' and '.join(networks)}, not of {unknown[0]}")
    if missing := [each for each in needed if each not in named]:
        raise Fault(
            f"{folder / NAME} names {' and '.join(missing)}, and a file may not say which code is"
            f" run; say it yourself, if you trust it: {','.join(needed)}@{folder}"
        )


def _teacher_of(record: Record, folder: Path, *, other: bool) -> str | None:
    """Where the teacher lies: as it was called, or else around the run, which may have moved.

    A table says nothing of another set's images: then there is nobody to compare with.
    """
    if record.recipe.teacher is None:
        return None
    named = teachers_there(record.recipe.teacher)
    if other and record.classes and any(each.table for each in named):
        return None
    return ",".join(str(replace(each, text=_found(each, folder))) for each in named)


def _found(teacher: TeacherName, folder: Path) -> str:
    if teacher.table is not None:
        place = str(teacher.table.path)
        return teacher.text.replace(place, _around(place, folder), 1)
    places = [Path(teacher.text), *(each / teacher.text for each in folder.resolve().parents)]
    whole = next((each for each in places if each.exists()), None)
    model, at, named = teacher.text.partition("@")
    if whole is not None or not at:  # a run's own folder may have an @, as of sp@stage2
        return str(whole or _around(teacher.text, folder))
    return model + at + _around(named, folder)


def _around(named: str, folder: Path) -> str:
    if Path(named).exists():
        return named
    around = [
        parent / each for parent in folder.resolve().parents for each in (named, Path(named).name)
    ]
    return next((str(path) for path in around if path.exists()), named)
