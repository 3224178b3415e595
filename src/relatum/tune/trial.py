"""One trial: a recipe trained, and judged by the validation part; the test images stay unseen."""

import json
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from relatum.bench.attempt import foreseen, line_of
from relatum.bench.pool import Result, Tell
from relatum.bench.search import Heeding
from relatum.checkpoint import Interrupted, Stop
from relatum.fit import fit
from relatum.recipes.recipe import Recipe
from relatum.run import Silent
from relatum.run.balanced import balanced
from relatum.run.hearing import Hearing
from relatum.run.prepare import optimizer_of, prepare, recipe_of
from relatum.run.watch import Watch
from relatum.tally import NotFinite
from relatum.types import Fault, first_line
from relatum.weights import write

FILE = "trial.json"
Hopeless = Callable[[int, float], bool]
"""Told the epoch and what it reached, whether to give the trial up."""


@dataclass(frozen=True)
class Tried:
    """What became of a trial.

    Attributes:
        kind: trained to its end; given up early; it did not stay finite; it was asked to stop;
            or it failed.
        values: of the metric after each epoch of its last stage.
        reason: in a line, where it has no last value.
        trace: where it failed.
        seconds: that it took.
    """

    kind: Literal["done", "given up", "not finite", "stopped", "failed"]
    values: tuple[float, ...] = ()
    reason: str = ""
    trace: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Trying:
    """The task of one trial. What it gives is a ``Tried``, which its folder keeps.

    Attributes:
        recipe: what is tried.
        folder: for ``trial.json``, and nothing else.
        metric: by which it is judged.
        about: what the file shall say besides.
        pruned: the storage, the name of the study and the trial's id there, where the study may
            give it up.
    """

    recipe: Recipe
    folder: Path
    metric: str
    about: dict[str, Any]
    pruned: tuple[str, str, int] | None = None

    def __call__(self, device: torch.device, stop: Stop, tell: Tell) -> Result:
        """Train it; whatever it raises comes back as an outcome."""
        began = time.monotonic()
        values: list[float] = []
        hopeless = _hopeless(*self.pruned) if self.pruned else _never
        kind: Literal["done", "given up", "not finite", "stopped", "failed"] = "done"
        reason = trace = ""
        unsound = False
        try:
            stop.check()
            for value in validated(self.recipe, self.metric, device, stop):
                values.append(value)
                if len(values) < self.recipe.epochs and hopeless(len(values), value):
                    kind, reason = "given up", f"given up after epoch {len(values)}"
                    break
        except Interrupted:
            kind = "stopped"
        except NotFinite as error:
            kind, reason = "not finite", first_line(error)
        except (Exception, SystemExit) as error:
            kind, reason, trace = "failed", line_of(error), traceback.format_exc()
            unsound = not foreseen(error)
        tried = Tried(kind, tuple(values), reason, trace, time.monotonic() - began)
        if kind != "stopped":
            self._keep(tried)
        return Result(tried, unsound)

    def _keep(self, tried: Tried) -> None:
        found = {**self.about, "metric": self.metric, **asdict(tried)}
        found["recipe"] = self.recipe.model_dump(mode="json")
        write(self.folder / FILE, json.dumps(found, indent=1).encode())


def validated(recipe: Recipe, metric: str, device: torch.device, stop: Stop) -> Iterator[float]:
    """Train as a run does, and say after each epoch of the last stage what it reaches.

    Args:
        recipe: cuts a validation part.
        metric: as ``relatum.run.measure`` calls it.
        device: where.
        stop: asked after every step.

    Raises:
        NotFinite: a loss became infinite or not a number.
        Interrupted: it was asked to stop.
        Fault: something that the user can mend.
    """
    ready = prepare(recipe, device, stop=stop)
    watch = Watch(recipe.but(watch_test=False), ready.pair, ready.sets, Hearing())
    for stage in ready.stages:
        distiller, _ = ready.distiller(stage)
        balanced(stage, distiller, ready, recipe, Silent(), None)
        own = recipe_of(stage, recipe)
        for epoch in fit(
            distiller,
            ready.batches,
            optimizer_of(own, distiller),
            own.schedule_of(),
            own.epochs,
            precision=ready.speed.precision,
            microbatch=ready.microbatch,
            saver=Heeding(stop),
        ):
            if stage is ready.stages[-1]:
                found = watch.after(epoch.number, own.epochs, stage.objective)
                yield _of(found, metric, recipe)


def _of(found: dict[str, float], metric: str, recipe: Recipe) -> float:
    """The metric among what was measured."""
    if (name := f"validation_{metric}") not in found:
        has = ", ".join(each.removeprefix("validation_") for each in found) or "nothing"
        raise Fault(f"{recipe.method} is not judged by {metric}; the validation part has {has}")
    return found[name]


def _never(epoch: int, value: float) -> bool:
    return False


def _hopeless(storage: str, name: str, number: int) -> Hopeless:
    """Ask a study's pruner, from whatever process this is."""
    import optuna

    from relatum.tune.storage import opened, pruner

    study = optuna.load_study(study_name=name, storage=opened(storage), pruner=pruner())
    trial = optuna.trial.Trial(study, number)

    def ask(epoch: int, value: float) -> bool:
        trial.report(value, epoch)
        return trial.should_prune()

    return ask
