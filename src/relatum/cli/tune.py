"""``relatum tune``: a search for weights, temperatures and rates, on the validation part alone."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relatum.cli import options
from relatum.cli.trials import conclude, searched

if TYPE_CHECKING:
    import torch

    from relatum.checkpoint import Stop
    from relatum.recipes.recipe import Recipe
    from relatum.tune.study import Search

VALIDATION = 0.1
"""Share of the training images to choose by, where the recipe cuts none."""
NOT_BESIDE_RECIPE = ("data", "teacher", "student", "method", "labels")


def tune(
    context: typer.Context,
    data: Annotated[
        str, typer.Argument(help="A set (relatum list datasets) or a folder of images.")
    ] = "digits",
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
    teacher: Annotated[
        str | None, typer.Option(help="As --teacher of 'distill'. [default: the set's]")
    ] = None,
    student: Annotated[
        str | None, typer.Option(help="The network that learns. [default: the set's]")
    ] = None,
    method: Annotated[str, typer.Option(help="As --method of 'distill', one.")] = "kd",
    labels: Annotated[bool, typer.Option(help="Use the labels for training.")] = True,
    seed: Annotated[int, typer.Option(help="Of the search, and of every training.")] = 0,
    epochs: Annotated[int | None, typer.Option(help="[default: the set's]")] = None,
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
    from relatum.checkpoint import stop_on_signals
    from relatum.run.lock import hold
    from relatum.tune.claim import claim, clear
    from relatum.tune.storage import optuna
    from relatum.types import Fault

    optuna()
    place = options.device_of(device)
    if workers < 1 or trials < 1:
        raise Fault(f"--workers and --trials are at least 1, got {workers} and {trials}")
    shared: dict[str, object] = {
        "data_root": str(data_root) if data_root else None,
        "speed": speed,
        "precision": precision,
        "epochs": epochs,
        "batch_size": batch,
        "microbatch": microbatch,
    }
    changes = options.changes_of(set_, ("scale", "seed", "method", "teacher", "labels"))
    changes |= {} if cache is None else {"cache": str(cache)}
    changes |= {} if balance is None else {"balance": balance}
    if recipe is not None:
        options.refuse_beside(context, "recipe", *NOT_BESIDE_RECIPE)
    name = recipe.stem if recipe else data.rstrip("/").split("/")[-1].replace(":", "-")
    folder = out or Path("runs") / f"tune-{name}"
    asked = _Asked(data, teacher, student, method, labels, scale, seed, recipe)
    base, whole = asked.recipe(changes, shared, folder, download)
    with stop_on_signals() as stop, hold(folder):
        claim(folder, resume, overwrite)
        wanted = asked.search(base, search, trials, prune, storage, place, download)
        if overwrite:  # now that the new search is seen to be possible
            clear(folder)
        asked.teach(folder, place, download, stop, overwrite)
        cut = f"{base.validation:.0%} of the training images are cut off to choose by"
        study = searched(wanted, folder, workers, place, stop, "" if whole else cut)
        conclude(wanted, study, folder, base.validation if whole else 0.0)


class _Asked:
    """What was asked for, before it is a recipe."""

    def __init__(
        self,
        data: str,
        teacher: str | None,
        student: str | None,
        method: str,
        labels: bool,
        scale: float,
        seed: int,
        recipe: Path | None,
    ) -> None:
        from relatum.types import Fault

        self._data, self._teacher, self._student = data, teacher, student
        self._method, self._labels, self._scale = method, labels, scale
        self._seed, self._file = seed, recipe
        self._teaching: Recipe | None = None
        if recipe is None:
            from relatum.grammar import split

            if len(split(method)) > 1:
                raise Fault(f"one method is tuned at a time, got {method!r}")

    def recipe(
        self, changes: dict[str, object], shared: dict[str, object], out: Path, download: bool
    ) -> "tuple[Recipe, bool]":
        """What is varied, and whether it cut its own validation part."""
        from relatum.cli.distill import _cells, _Wanted
        from relatum.recipes.recipe import Recipe

        if self._file is not None:
            made: Recipe = options.changed(Recipe.read(self._file), **shared).but(**changes)
            made = made.scaled(self._scale)
            return made.but(validation=made.validation or VALIDATION), bool(made.validation)
        own = "validation" in changes
        changes = {"validation": VALIDATION, **changes}
        wanted = _Wanted(
            self._data,
            self._teacher,
            self._student,
            self._method,
            False,
            self._labels,
            self._scale,
        )
        cells = _cells(wanted, changes, shared, (self._seed,), out, download)
        if len(cells) > 1:
            self._teaching = cells[0].recipe
        return cells[-1].recipe, own

    def search(
        self,
        base: "Recipe",
        texts: list[str] | None,
        trials: int,
        prune: bool,
        storage: str | None,
        device: "torch.device",
        download: bool,
    ) -> "Search":
        """The search, once its ends are seen to be possible."""
        from relatum.run.prepare import prepare
        from relatum.run.watch import better, chosen_by
        from relatum.tune.space import applied, dimensions
        from relatum.tune.study import Search
        from relatum.tune.trial import check
        from relatum.types import Fault

        if not base.validation:
            raise Fault("a search chooses by a validation part: --set validation=0.1 cuts one")
        if not base.epochs:
            raise Fault("a search trains, and the recipe has no epochs; give it some: --epochs 10")
        space = dimensions(texts or [], base)
        stand_in = self._teaching.student if self._teaching else None
        metric = ""
        for end in (0, 1):
            tried = applied(base, {each.name: each.ends[end] for each in space})
            ready = prepare(tried.but(cache=None), device, download, stand_in)
            for stage in ready.stages:
                ready.distiller(stage)
            check(tried, ready)
            metric = chosen_by(ready.pair.setting, base)
        return Search(
            recipe=base,
            space=space,
            metric=metric,
            direction="maximize" if better(metric, 1.0, 0.0) else "minimize",
            trials=trials,
            seed=self._seed,
            prune=prune,
            storage=storage,
        )

    def teach(
        self, out: Path, device: "torch.device", download: bool, stop: "Stop", overwrite: bool
    ) -> None:
        """Train the teacher, where none was given; a finished one is only read, or replaced."""
        if self._teaching is None:
            return
        from relatum.cli.display import shown
        from relatum.run import run

        with shown(1) as display:
            run(
                self._teaching,
                out / "teacher",
                label="teacher",
                device=device,
                resume=True,
                overwrite=overwrite,
                download=download,
                stop=stop,
                display=display,
            )
