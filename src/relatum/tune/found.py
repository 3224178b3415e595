"""What a search found: the best recipe, written; the trials, as a table and as a picture."""

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relatum.recipes.recipe import Recipe
from relatum.run.claim import RECIPE
from relatum.tune.storage import optuna
from relatum.tune.study import Search, finished
from relatum.types import Fault
from relatum.weights import write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from optuna import Study
    from optuna.trial import FrozenTrial

BEST, FINAL, PICTURE = "best", "final", "tune.png"
ENOUGH = 8
"""Finished trials from which on it is said which of the things that were searched mattered."""
SHOWN = 5
"""Trials in the table."""


@dataclass(frozen=True)
class Found:
    """The outcome of a search.

    Attributes:
        best: the trial.
        values: what it tried, by name.
        recipe: the recipe with those, ready to be run.
        file: where that is written.
        ranked: the finished trials, the best first.
        mattered: the share of what differed that each thing explains, where there are enough
            trials to say; it is of the range that was searched, and says nothing of others.
    """

    best: "FrozenTrial"
    values: dict[str, Any]
    recipe: Recipe
    file: Path
    ranked: "tuple[FrozenTrial, ...]"
    mattered: dict[str, float]


def found(wanted: Search, study: "Study", out: Path, validation: float) -> Found:
    """Write what a search found into its folder.

    Args:
        wanted: what was searched.
        study: its trials.
        out: its folder; gets ``best/recipe.json`` and ``tune.png``.
        validation: the share that the recipe shall cut off from now on; at 0 there is nothing to
            watch on, so the recipe watches nothing either.

    Raises:
        Fault: no trial was trained to its end.
    """
    state = optuna().trial.TrialState
    complete = [each for each in finished(study) if each.state == state.COMPLETE]
    if not complete:
        raise Fault(f"none of {len(finished(study))} trials was trained to its end; {out} has why")
    sign = -1 if wanted.direction == "maximize" else 1
    ranked = sorted(complete, key=lambda each: (sign * (each.value or 0.0), each.number))
    recipe = wanted.recipe_of(ranked[0].params)
    unwatched: dict[str, Any] = {} if validation else {"watch": (), "best_by": None}
    recipe = recipe.but(validation=validation, **unwatched)
    file = out / BEST / RECIPE
    write(file, recipe.model_dump_json(indent=1).encode())
    mattered = _mattered(study, len(complete))
    write(out / PICTURE, _drawn(wanted, study, complete, mattered))
    values = wanted.rounded(ranked[0].params)
    return Found(ranked[0], values, recipe, file, tuple(ranked), mattered)


def _mattered(study: "Study", complete: int) -> dict[str, float]:
    if complete < ENOUGH:
        return {}
    importance = optuna().importance
    with contextlib.suppress(RuntimeError, ValueError):  # e.g. all trials reached the same
        evaluator = importance.FanovaImportanceEvaluator(seed=0)
        return dict(importance.get_param_importances(study, evaluator=evaluator))
    return {}


def _drawn(
    wanted: Search, study: "Study", complete: "list[FrozenTrial]", mattered: dict[str, float]
) -> bytes:
    """The history of the search, and what every thing that was searched did to it, as PNG."""
    from matplotlib.figure import Figure

    from relatum.report.canvas import drawing

    with drawing():
        count = 1 + len(wanted.space)
        columns = 2 if count == 4 else min(count, 3)
        rows = -(-count // columns)
        figure = Figure(figsize=(3.6 * columns, 2.8 * rows), layout="constrained")
        every = figure.subplots(rows, columns, squeeze=False).flatten()
        label = f"validation {wanted.metric}"
        _history(every[0], wanted, complete, label)
        for axes, each in zip(every[1:], wanted.space, strict=False):
            values = [wanted.rounded(trial.params)[each.name] for trial in complete]
            places: list[Any] = [str(v) for v in values] if each.choices else list(values)
            axes.scatter(places, [trial.value for trial in complete], s=16, color="#0072B2")
            if each.log:
                _by_factors(axes)
            share = (
                f" ({mattered[each.name]:.0%} of what differed)" if each.name in mattered else ""
            )
            axes.set_xlabel(each.name + share)
        for axes in every[count:]:
            axes.set_visible(False)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=144)
    return buffer.getvalue()


def _by_factors(axes: "Axes") -> None:
    """Factors on the axis below, its numbers written plainly: text is no formula here."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _history(axes: "Axes", wanted: Search, complete: "list[FrozenTrial]", label: str) -> None:
    """What each trial reached, and the best so far."""
    from matplotlib.ticker import MaxNLocator

    better = max if wanted.direction == "maximize" else min
    numbers = [trial.number for trial in complete]
    values = [trial.value or 0.0 for trial in complete]
    best = [better(values[: place + 1]) for place in range(len(values))]
    axes.scatter(numbers, values, s=16, color="#0072B2", label="trial")
    axes.step(numbers, best, where="post", color="#D55E00", label="best so far")
    axes.set_xlabel("trial")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel(label)
    axes.legend(frameon=False)
