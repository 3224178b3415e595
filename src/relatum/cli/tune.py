"""``relatum tune``: a search for weights, temperatures and rates, on the validation part alone."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relatum.cli import options, places, runs
from relatum.cli.trials import conclude, searched

if TYPE_CHECKING:
    import torch

    from relatum.checkpoint import Stop
    from relatum.recipes.recipe import Recipe

VALIDATION = 0.1
"""Share of the training images to choose by, where the recipe cuts none."""


def tune(
    context: typer.Context,
    dataset: options.Dataset = None,
    data: options.DatasetToo = None,
    search: Annotated[
        list[str] | None,
        typer.Option(
            "--search",
            help="What is searched: NAME=log(LOW,HIGH), NAME=LOW..HIGH or NAME=ONE|OTHER, where"
            " NAME is a field of the recipe, METHOD.weight, or METHOD.OPTION of its loss"
            " (sp.weight=log(1,1e4), kd.temperature=1..8). May be repeated.",
        ),
    ] = None,
    trials: Annotated[
        int, typer.Option(help="How many there shall be, those of before included.")
    ] = 20,
    workers: Annotated[int, typer.Option(help="Trials at once, each in a process of its own.")] = 1,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune", help="Give a trial up that is worse than the median at the same epoch."
        ),
    ] = False,
    storage: Annotated[
        str | None,
        typer.Option(
            help="Database of the search, as SQLAlchemy names it. [default: OUT/study.db]"
        ),
    ] = None,
    teacher: options.Teacher = None,
    student: options.Student = None,
    method: Annotated[str, typer.Option(help="As --method of 'distill', one.")] = "kd",
    labels: options.Labels = True,
    seed: Annotated[int, typer.Option(help="Of the search, and of every training.")] = 0,
    epochs: options.Epochs = None,
    samples: options.Samples = None,
    scale: options.Scale = 1.0,
    balance: options.Balance = None,
    recipe: Annotated[
        Path | None, typer.Option(help="Vary this recipe.json, instead of the options above.")
    ] = None,
    set_: options.Set = None,
    out: options.Out = None,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    data_root: options.DataRoot = None,
    skip_broken: options.SkipBroken = False,
    download: options.Download = False,
    device: options.Device = "auto",
    speed: options.Speed = None,
    precision: options.Precision = None,
    batch: options.Batch = None,
    microbatch: options.Microbatch = None,
    cache: options.Cache = None,
) -> None:
    """Search what a method is best run with, by its validation part after the last epoch.

    The test images are not looked at. Every trial is kept when it ends: killed or stopped, the
    same command with --resume goes on. At the end there is the best recipe, to be run with
    several seeds and tested once.
    """
    asked = runs.Asked.of(locals())
    from relatum.checkpoint import stop_on_signals
    from relatum.run.lock import hold
    from relatum.tune import Search
    from relatum.tune.claim import claim, clear
    from relatum.tune.judged import judged
    from relatum.tune.space import dimensions
    from relatum.tune.storage import optuna
    from relatum.types import Fault

    optuna()
    place = options.device_of(device)
    if workers < 1 or trials < 1:
        raise Fault(f"--workers and --trials are at least 1, got {workers} and {trials}")
    folder = out or _place(asked)
    asked = replace(asked, baseline=False, out=folder)
    base, teaching, own = _varied(asked)
    with stop_on_signals() as stop, hold(folder):
        claim(folder, resume, overwrite)
        space = dimensions(search or [], base)
        stand_in = None if teaching is None else teaching.student
        part = judged(base, space, place, download=download, stand_in=stand_in)
        wanted = Search(base, space, part.metric, part.direction, trials, seed, prune, storage)
        if overwrite:  # now that the new search is seen to be possible
            clear(folder, storage)
        if teaching is not None:
            _teach(teaching, folder, place, download, stop, overwrite)
        study = searched(wanted, folder, workers, place, stop, list(part.notes(own)))
        conclude(wanted, study, folder, base.validation if own else 0.0, part)


def _place(asked: runs.Asked) -> Path:
    """The folder of a search, where nobody names one: by the set, or the recipe's file."""
    if asked.recipe is None or asked.again is None:
        return places.of_set(asked.data, "tune-")
    stem = asked.recipe.stem
    return places.usual(stem, stem, asked.again.dataset, "tune-")


def _varied(asked: runs.Asked) -> "tuple[Recipe, Recipe | None, bool]":
    """What is varied, its teacher where none is given, and whether it cut its own validation part.

    Raises:
        Fault: something is unknown, or more than one method is named.
    """
    from relatum.grammar import split
    from relatum.types import Fault

    if asked.again is not None:
        own = bool(asked.again.validation)
        return asked.again.but(validation=asked.again.validation or VALIDATION), None, own
    if len(split(asked.method or "")) > 1:
        raise Fault(f"one method is tuned at a time, got {asked.method!r}")
    own = "validation" in asked.changes
    if not own:
        asked = replace(asked, set_=[*(asked.set_ or []), f"validation={VALIDATION}"])
    cells = runs.cells_of(asked)
    return cells[-1].recipe, cells[0].recipe if len(cells) > 1 else None, own


def _teach(
    teaching: "Recipe",
    out: Path,
    device: "torch.device",
    download: bool,
    stop: "Stop",
    overwrite: bool,
) -> None:
    """Train the teacher; a finished one is only read, or replaced."""
    from relatum.cli.display import shown
    from relatum.run import run

    with shown(1) as display:
        run(
            teaching,
            out / "teacher",
            label="teacher",
            device=device,
            resume=True,
            overwrite=overwrite,
            download=download,
            stop=stop,
            display=display,
        )
