"""The same small search for every arm: short trainings, judged on the validation part."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from relatum.checkpoint import Stop, write
from relatum.evaluate import collect, linear_probe
from relatum.fit import NotFinite, fit
from relatum.recipes.plan import Arm
from relatum.recipes.recipe import Recipe
from relatum.run.display import Display
from relatum.run.prepare import Prepared, optimizer_of, prepare
from relatum.run.run import PRECISIONS
from relatum.run.sets import evaluation_batches
from relatum.types import Fault

EPOCHS = 5
PROBED = 10_000
"""Training images that the cheap probe is fitted on."""


def search(
    arm: Arm,
    recipe: Recipe,
    file: Path,
    *,
    device: torch.device,
    stop: Stop,
    display: Display,
    epochs: int = EPOCHS,
) -> Recipe:
    """Try every setting of an arm for a few epochs, and take the best.

    Each is judged by a linear probe that is fitted on 10,000 training images and scored on the
    validation part; the test images are not touched. Scores are kept in a file, so a search
    that was stopped goes on.

    Args:
        arm: its settings are tried.
        recipe: what they change; its seed is that of the search.
        file: where the scores are kept.
        device: where to train.
        stop: asked between two settings.
        display: told what was found.
        epochs: how long each is trained.

    Raises:
        Fault: the recipe cuts no validation part, or no setting stayed finite.
    """
    if not arm.settings:
        return recipe
    if not recipe.validation:
        raise Fault(f"{arm.label}: a search needs a validation part (validation > 0)")
    known = _read(file)
    scores: list[float] = []
    for setting in arm.settings:
        tried = recipe.but(**setting, epochs=epochs)
        key = f"{_words(setting)} [{_fingerprint(tried)}]"
        if key not in known:
            stop.check()
            known[key] = _score(tried, arm, device)
            write(file, json.dumps(known, indent=1).encode())
        scores.append(known[key])
    best = max(range(len(scores)), key=scores.__getitem__)
    if scores[best] < 0:
        raise Fault(f"{arm.label}: no setting of the search stayed finite")
    words = f"{_words(arm.settings[best])} is best of {len(scores)}"
    display.note(f"{arm.label}: {words} ({scores[best]:.2f} %)")
    return recipe.but(**arm.settings[best])


def _read(file: Path) -> dict[str, float]:
    try:
        return dict(json.loads(file.read_text())) if file.exists() else {}
    except json.JSONDecodeError as error:
        raise Fault(f"{file} is damaged; delete it to search again") from error


def _fingerprint(recipe: Recipe) -> str:
    """Of all that a score depends on, wherever the files lie."""
    fields = recipe.model_dump_json(exclude={"teacher", "data_root"})
    return hashlib.sha256(fields.encode()).hexdigest()[:8]


def _words(setting: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in setting.items())


def _score(recipe: Recipe, arm: Arm, device: torch.device) -> float:
    """Accuracy of the cheap probe in percent; -1 when the training did not stay finite."""
    ready = prepare(recipe, device)
    try:
        for stage in ready.stages:
            distiller, _ = ready.distiller(stage, arm.alter)
            optimizer = optimizer_of(recipe, distiller)
            schedule = recipe.schedule_of()
            precision = PRECISIONS[recipe.precision]
            for _ in fit(
                distiller, ready.batches, optimizer, schedule, recipe.epochs, precision=precision
            ):
                pass
        return _probe(ready, recipe.seed)
    except NotFinite:
        return -1.0


def _probe(ready: Prepared, seed: int) -> float:
    sets, student = ready.sets, ready.pair.student
    assert sets.validation is not None
    if sets.train.labels is None or sets.validation.labels is None:
        raise Fault(f"{sets.name} has no labels to probe with")
    some = sets.train.take(torch.arange(min(PROBED, len(sets.train)), device=student.mean.device))
    fitted, judged = (
        collect(student, evaluation_batches(part).epoch(0), "embedding")
        for part in (some, sets.validation)
    )
    embedding = fitted.values["embedding"]
    if not embedding.isfinite().all():
        return -1.0
    assert fitted.labels is not None
    assert judged.labels is not None
    result = linear_probe(
        embedding, fitted.labels, judged.values["embedding"], judged.labels, seed=seed
    )
    return result.accuracy
