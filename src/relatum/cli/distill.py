"""``relatum distill``: a teacher, a student alone, and the same student distilled."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relatum.cli import options, profiling, tracking

if TYPE_CHECKING:
    from torch import device

    from relatum.bench import Cell, Failure
    from relatum.record import Record


NOT_BESIDE_RECIPE = (*("data", "teacher", "student", "method", "baseline", "labels"),)


def distill(
    context: typer.Context,
    data: options.Data = "digits",
    teacher: Annotated[
        str | None,
        typer.Option(
            help="A run's folder, a weights file, MODEL@FILE (RepDistiller's and mdistiller's"
            " checkpoints too), table:FILE of embeddings, several of these with weights (A,B=2),"
            " or a model to train first. [default: the set's]"
        ),
    ] = None,
    student: Annotated[
        str | None, typer.Option(help="The network that learns. [default: the set's]")
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            help="Methods, joined by commas; '+' joins terms, '=' weighs, '@' names the tap:"
            " sp=3000+my_file:MyLoss@maps=25."
        ),
    ] = "kd,sp,rrkd,rrd",
    baseline: Annotated[
        bool, typer.Option(help="Also train the student alone, to compare with.")
    ] = True,
    labels: Annotated[bool, typer.Option(help="Use the labels for training.")] = True,
    seeds: options.Seeds = None,
    seed: options.Seed = None,
    epochs: Annotated[int | None, typer.Option(help="[default: the set's]")] = None,
    scale: options.Scale = 1.0,
    balance: options.Balance = None,
    recipe: Annotated[
        Path | None, typer.Option(help="Run this recipe.json again, instead of the options above.")
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
    sync_batchnorm: options.SyncBatchnorm = False,
    cache: options.Cache = None,
    patience: options.Patience = options.PATIENCE,
    track: tracking.Track = None,
    profile: profiling.Profile = False,
    profile_steps: profiling.Steps = None,
) -> None:
    """Distil a student from a teacher with several methods, side by side with the student alone.

    Without options: scikit-learn's digits, a teacher trained first, the methods kd, sp, rrkd
    and rrd, and three seeds; a table and a report at the end. Started by torchrun, all processes
    train each student together, as one would.
    """
    place = options.device_of(device)
    shared: dict[str, object] = {
        "data_root": str(data_root) if data_root else None,
        "skip_broken": skip_broken or None,
        "speed": speed,
        "precision": precision,
        "epochs": epochs,
        "batch_size": batch,
        "microbatch": microbatch,
        "sync_batchnorm": sync_batchnorm or None,
    }
    if recipe is not None:
        options.refuse_beside(context, "recipe", *NOT_BESIDE_RECIPE)
    elsewhere = ("seed", "method", "teacher", "labels") if recipe is None else ()
    changes = options.changes_of(set_, ("scale", *elsewhere))
    changes |= {} if cache is None else {"cache": str(cache)}
    changes |= {} if balance is None else {"balance": balance}
    made: _Wanted | None = None
    if recipe is None:
        numbers = options.seeds_of(seeds, seed, (0, 1, 2))
        folder = out or Path("runs") / data.rstrip("/").split("/")[-1].replace(":", "-")
        made = _Wanted(data, teacher, student, method, baseline, labels, scale)
    with profiling.profiling(profile, profile_steps), options.company(place, patience) as company:
        if made is None:
            assert recipe is not None
            several = None if seeds is None and seed is None else options.seeds_of(seeds, seed, ())
            cells = _again(recipe, changes, shared, scale, several)
            folder = out or Path("runs") / f"{cells[0].label}-again"
        else:
            cells = _cells(made, changes, shared, numbers, folder, download)
            source = context.get_parameter_source("method")
            if source is not None and source.name == "DEFAULT":
                cells = _able(cells, folder, company, place, download)
        cells = tracking.logged(cells, track)
        train = context.obj or options.train  # doctor looks at the runs instead
        records, failures = train(
            cells, folder, company, place, resume=resume, overwrite=overwrite, download=download
        )
    if company.first:
        conclude(folder, records, failures)


class _Wanted:
    """What was asked for, before it is a list of runs."""

    def __init__(
        self,
        data: str,
        teacher: str | None,
        student: str | None,
        method: str,
        baseline: bool,
        labels: bool,
        scale: float,
    ) -> None:
        from relatum.grammar import split

        self.data, self.teacher, self.student = data, teacher, student
        self.labels, self.scale = labels, scale
        self.methods = split(method)
        self.baseline = baseline and labels and "none" not in self.methods


def _cells(
    wanted: _Wanted,
    changes: dict[str, object],
    shared: dict[str, object],
    seeds: tuple[int, ...],
    out: Path,
    download: bool,
) -> "list[Cell]":
    """A teacher, unless one is given, and every method with every seed."""
    import torch

    from relatum.bench import Cell
    from relatum.bench.experiment import folder_of, of_one_size
    from relatum.recipes.standard import standard
    from relatum.run.sets import sets_of
    from relatum.run.sizes import settled
    from relatum.types import Fault

    source = wanted.teacher
    train_one = source is None or _begins_anew(source)
    named = source if train_one else None
    teaching, learning = standard(wanted.data, teacher=named, student=wanted.student)
    teaching = options.changed(teaching, **shared).scaled(wanted.scale)
    learning = options.changed(learning, labels=wanted.labels, **shared)
    learning = learning.but(**changes).scaled(wanted.scale)
    cells: list[Cell] = []
    alone = learning.but(teacher=None if train_one else source)
    if train_one:
        alike = {"dataset", "data_root", "image_size", "memory", "skip_broken"}
        alike |= {"speed", "precision"}
        alike |= {"validation", "split_seed", "samples"}
        same = {name: getattr(learning, name) for name in alike}
        teaching = teaching.but(seed=seeds[0], student_size=learning.teacher_size, **same)
    first = settled([alone, teaching] if train_one else [alone])[0]
    labelled = bool(sets_of(first, torch.device("cpu"), download).classes)
    if train_one and not labelled:
        raise Fault(
            f"{wanted.data} has no labels to train a teacher by; give a trained one: --teacher"
        )
    names = ["none", *wanted.methods] if wanted.baseline and labelled else wanted.methods
    if train_one:
        cells.append(Cell("teacher", "teacher", teaching))
        own_code = f"{teaching.student}@" if ":" in teaching.student else ""
        source = f"{own_code}{out / 'teacher'}"
    for number in seeds:
        for name in names:
            # the student alone has the teacher too: it does not learn from it, but is compared
            recipe = learning.but(method=name, seed=number, teacher=source)
            if name == "none":
                recipe = recipe.but(balance=None)
            cells.append(Cell(f"{folder_of(name)}/seed-{number}", name, recipe))
    return of_one_size(cells)


def _able(
    cells: "list[Cell]", out: Path, company: options.Company, device: "device", download: bool
) -> "list[Cell]":
    """Without those of the usual methods that the pair cannot have; says which."""
    from relatum.bench.serving import serving

    kept, unable = serving(cells, out, device=device, download=download)
    if company.first:
        for label, why in unable.items():
            typer.echo(f"{label} is left out: {why.partition(';')[0]}", err=True)
    return kept


def _begins_anew(teacher: str) -> bool:
    """Whether a teacher is the name of a model, and so is to be trained first."""
    from relatum.models import MODELS
    from relatum.models.foreign import PRETRAINED, is_foreign

    if Path(teacher).exists() or teacher.endswith(PRETRAINED):
        return False
    return teacher in MODELS or (is_foreign(teacher) and not set(teacher) & set("@,"))


def _again(
    path: Path,
    changes: dict[str, object],
    shared: dict[str, object],
    scale: float,
    seeds: tuple[int, ...] | None,
) -> "list[Cell]":
    """The run of a recipe, with its own seed or with these."""
    from relatum.bench import Cell
    from relatum.bench.experiment import folder_of
    from relatum.recipes.recipe import Recipe

    recipe: Recipe = options.changed(Recipe.read(path), **shared).but(**changes).scaled(scale)
    label = recipe.method
    return [
        Cell(f"{folder_of(label)}/seed-{number}", label, recipe.but(seed=number))
        for number in ((recipe.seed,) if seeds is None else seeds)
    ]


def conclude(folder: Path, records: "list[Record]", failures: "list[Failure]") -> None:
    """The table, the report's place, and a word on what failed."""
    from rich.console import Console

    from relatum.report.page import write_reports
    from relatum.report.table import summarise
    from relatum.types import Fault

    if records:
        console = Console()
        console.print(summarise(records).rich())
        console.print(f"report: {write_reports(folder)}", highlight=False, soft_wrap=True)
    if failures:
        first = failures[0]
        raise Fault(
            f"{len(failures)} of {len(failures) + len(records)} runs failed;"
            f" {first.cell.folder}: {first.reason}"
        )
