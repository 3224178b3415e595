"""The same small search for every arm: short trainings, judged on the validation part."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from relatum.checkpoint import Stop
from relatum.evaluate import linear_probe
from relatum.fit import Position, fit
from relatum.recipes.plan import Arm, name_of
from relatum.recipes.recipe import Recipe
from relatum.record import WEIGHTS
from relatum.run.display import Display
from relatum.run.hearing import listen
from relatum.run.prepare import Prepared, optimizer_of, prepare, recipe_of
from relatum.tally import NotFinite
from relatum.types import Fault
from relatum.weights import write

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
    epochs: int,
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
        Fault: the recipe cuts no validation part.
        NotFinite: no setting stayed finite.
        Interrupted: it was asked to stop.
    """
    if not arm.settings:
        return recipe
    if not recipe.validation:
        raise Fault(f"{arm.label}: a search needs a validation part (validation > 0)")
    known = _read(file)
    scores: list[float] = []
    for setting in arm.settings:
        tried = recipe.but(**setting, epochs=epochs)
        key = f"{_words(setting)} [{_fingerprint(tried, name_of(arm.alter))}]"
        if key not in known:
            stop.check()
            known[key] = _score(tried, arm, device, stop)
            write(file, json.dumps(known, indent=1).encode())
        scores.append(known[key])
    best = max(range(len(scores)), key=scores.__getitem__)
    if scores[best] < 0:
        raise NotFinite(f"no setting of the search stayed finite for {arm.label}")
    words = f"{_words(arm.settings[best])} is best of {len(scores)}"
    display.note(f"{arm.label}: {words} ({scores[best]:.2f} %)")
    return recipe.but(**arm.settings[best])


def _read(file: Path) -> dict[str, float]:
    try:
        return dict(json.loads(file.read_text())) if file.exists() else {}
    except json.JSONDecodeError as error:
        raise Fault(f"{file} is damaged; delete it to search again") from error


def _fingerprint(recipe: Recipe, altered: str) -> str:
    """Of all that a score depends on, wherever the files lie: the teacher's weights included."""
    fields = recipe.model_dump_json(exclude={"teacher", "data_root"}) + altered
    digest = hashlib.sha256(fields.encode())
    if recipe.teacher is not None and (weights := Path(recipe.teacher) / WEIGHTS).exists():
        digest.update(weights.read_bytes())
    return digest.hexdigest()[:8]


def _words(setting: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in setting.items()
    )


class Heeding:
    """Keeps no checkpoint of a short training, but stops it when asked to."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop

    def due(self) -> bool:
        """Whether somebody asked to stop."""
        return self._stop.signum is not None

    def save(self, position: Position) -> None:
        """Stop, if so."""
        self._stop.check()

    def epoch_ended(self, position: Position) -> None:
        """Stop, if so."""
        self._stop.check()


def _score(recipe: Recipe, arm: Arm, device: torch.device, stop: Stop) -> float:
    """Accuracy of the cheap probe in percent; -1 when the training did not stay finite."""
    ready = prepare(recipe, device)
    try:
        for stage in ready.stages:
            distiller, _ = ready.distiller(stage, arm.alter)
            own = recipe_of(stage, recipe)
            optimizer = optimizer_of(own, distiller)
            schedule = own.schedule_of()
            for _ in fit(
                distiller,
                ready.batches,
                optimizer,
                schedule,
                own.epochs,
                precision=ready.speed.precision,
                saver=Heeding(stop),
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
    fitted, judged = (listen(student, part, ("embedding",)) for part in (some, sets.validation))
    embedding = fitted.values["embedding"]
    if not embedding.isfinite().all():
        return -1.0
    assert fitted.labels is not None
    assert judged.labels is not None
    result = linear_probe(
        embedding, fitted.labels, judged.values["embedding"], judged.labels, seed=seed
    )
    return result.accuracy
