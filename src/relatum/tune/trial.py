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
from relatum.run.prepare import Prepared, optimizer_of, prepare, recipe_of
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
        values: of the metric after each epoch of its last stage that it was measured after.
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
        kind: Literal["done", "given up", "not finite", "stopped", "failed"] = "done"
        reason = trace = ""
        unsound = False
        try:
            stop.check()
            hopeless = _hopeless(*self.pruned) if self.pruned else _never
            for epoch, value in validated(self.recipe, self.metric, device, stop):
                values.append(value)
                if epoch < self.recipe.epochs and hopeless(epoch, value):
                    kind, reason = "given up", f"given up after epoch {epoch}"
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


def check(recipe: Recipe, ready: Prepared) -> None:
    """Look, before anything is trained, at whether a trial can be judged as the recipe wants.

    Raises:
        Fault: what it is to be judged by, or what is watched besides, cannot be measured.
    """
    objective = ready.stages[-1].objective
    watch = Watch(recipe, ready.pair, ready.sets, Hearing())
    watch.check(objective, lambda remark: None)
    for lacks, why in watch.lacking(objective):
        if lacks == recipe.best_by:
            raise Fault(f"no trial can be judged by {lacks}: {why}; choose another best_by")


def validated(
    recipe: Recipe, metric: str, device: torch.device, stop: Stop
) -> Iterator[tuple[int, float]]:
    """Train as a run does, and say after which epochs of the last stage it reaches what.

    These are all of them; fewer, and the last, where the recipe watches the metric less often.

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
                due = epoch.number % recipe.watch_every == 0 or epoch.number == own.epochs
                if due or _named(metric) in found:
                    yield epoch.number, _of(found, metric, recipe)


def _of(found: dict[str, float], metric: str, recipe: Recipe) -> float:
    """The metric among what was measured."""
    if (name := _named(metric)) not in found:
        has = ", ".join(each.removeprefix("validation_") for each in found) or "nothing"
        raise Fault(f"{recipe.method} is not judged by {metric}; the validation part has {has}")
    return found[name]


def _named(metric: str) -> str:
    """As a row has it."""
    return f"validation_{metric}"


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
