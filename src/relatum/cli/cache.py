"""``relatum cache``: ask a teacher about every image once; trainings then run without it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relatum.cli import options

if TYPE_CHECKING:
    import torch

    from relatum.checkpoint import Stop
    from relatum.recipes.recipe import Recipe
    from relatum.run import Display

NOT_BESIDE_RECIPE = ("data", "teacher", "student", "method", "labels", "seeds", "seed")


def cache(
    context: typer.Context,
    out: Annotated[
        Path, typer.Option(help="Folder of the cache; it may hold those of other teachers too.")
    ],
    data: options.Data = "digits",
    teacher: Annotated[
        str | None,
        typer.Option(help="A run's folder, a weights file, MODEL@FILE: as of 'distill', trained."),
    ] = None,
    student: Annotated[
        str | None, typer.Option(help="The network that will learn. [default: the set's]")
    ] = None,
    method: Annotated[
        str,
        typer.Option(help="As of 'distill': what they read of the teacher is stored, and no more."),
    ] = "kd,sp,rrkd,rrd",
    labels: Annotated[bool, typer.Option(help="Use the labels for training.")] = True,
    seeds: options.Seeds = None,
    seed: options.Seed = None,
    views: Annotated[
        int | None,
        typer.Option(min=1, help="In how many ways each image is augmented, if at all."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how much room it takes, and write nothing.")
    ] = False,
    recipe: Annotated[
        Path | None, typer.Option(help="Of this recipe.json, instead of the options above.")
    ] = None,
    set_: options.Set = None,
    data_root: options.DataRoot = None,
    download: options.Download = False,
    device: options.Device = "auto",
    speed: options.Speed = None,
    precision: options.Precision = None,
    batch: options.Batch = None,
) -> None:
    """Store what a teacher says of every training image, and of every view of it.

    Only what the methods read is stored: a vector a sample is small, whole maps are not
    (--dry-run says). Trainings given the folder (--cache) then run without the teacher. What is
    there is not computed again; a command that was killed goes on where it was.
    """
    from relatum.checkpoint import Interrupted, stop_on_signals
    from relatum.cli.display import shown
    from relatum.grammar import split

    shared: dict[str, object] = {
        "data_root": str(data_root) if data_root else None,
        "speed": speed,
        "precision": precision,
        "batch_size": batch,
        "views": views,
    }
    elsewhere = {"cache": "--out", "views": "--views"}
    if recipe is not None:
        options.refuse_beside(context, "recipe", *NOT_BESIDE_RECIPE)
        changes = options.changes_of(set_, elsewhere)
        every = [[_recipe(recipe, changes, shared)]]
    else:
        own = {name: f"--{name}" for name in ("seed", "method", "teacher", "labels")}
        changes = options.changes_of(set_, elsewhere | own)
        named = {"labels": labels, "teacher": teacher}
        numbers = options.seeds_of(seeds, seed, (0, 1, 2))
        every = _recipes(data, student, split(method), numbers, named | shared | changes)
    place = options.device_of(device)
    with stop_on_signals() as stop, shown(1) as display:
        try:
            lines = [
                line
                for each in every
                for line in _fill(each, out, place, download, dry_run, stop, display)
            ]
        except Interrupted as error:
            typer.echo(f"relatum: {error}; the same command goes on with what is stored", err=True)
            raise SystemExit(128 + error.signum) from error
    if not dry_run:
        lines.append(f"{out}: use it by --cache {out}{_settings(every[0][0])}")
    for line in lines:
        typer.echo(line)


def _settings(recipe: "Recipe") -> str:
    """What a training must be told to see the images that the cache knows."""
    from relatum.recipes.standard import standard

    usual = standard(recipe.dataset, student=recipe.student)[1].augment
    told = f" --set views={recipe.views}" if recipe.augment and recipe.views else ""
    if recipe.augment != usual:
        told += f" --set augment={','.join(recipe.augment) or '[]'}"
    return told


def _recipe(path: Path, changes: dict[str, object], shared: dict[str, object]) -> "Recipe":
    from relatum.recipes.recipe import Recipe

    given = {name: value for name, value in shared.items() if value is not None}
    return Recipe.read(path).but(**{**given, **changes, "cache": None})


def _recipes(
    data: str,
    student: str | None,
    methods: list[str],
    seeds: tuple[int, ...],
    fields: dict[str, object],
) -> "list[list[Recipe]]":
    """Those that share a cache, for each cache: seeds have one of their own if they draw views."""
    from relatum.recipes.standard import standard
    from relatum.types import Fault

    given = {name: value for name, value in fields.items() if value is not None}
    if "teacher" not in given:
        raise Fault("a cache is of a trained teacher; name it: --teacher")
    learning = standard(data, student=student)[1].but(**given)
    numbers = seeds if learning.augment else seeds[:1]
    return [[learning.but(method=name, seed=number) for name in methods] for number in numbers]


def _fill(
    recipes: "list[Recipe]",
    out: Path,
    device: "torch.device",
    download: bool,
    dry_run: bool,
    stop: "Stop",
    display: "Display",
) -> list[str]:
    """Ask for all that some recipes read, in one go; what to say of it."""
    from relatum.cache import in_words, remember, sizes
    from relatum.run.prepare import prepare
    from relatum.run.remembered import words_of
    from relatum.teacher_names import teachers_there
    from relatum.types import Fault

    first = recipes[0]
    if all(each.table is not None for each in teachers_there(first.teacher or "none")):
        raise Fault(f"{first.teacher} holds what it says itself, so there is nothing to store")
    if first.augment and first.views is None:
        raise Fault(
            f"{', '.join(first.augment)} make another image every epoch; fix in how many ways each"
            " is augmented (--views 4), or augment nothing (--set augment=[])"
        )
    wanted: list[set[str]] = []
    for each in recipes:
        # the compiler would take longer than the teacher; what they say differs by rounding alone
        own = each.but(speed="fast") if each.speed == "max" else each
        ready = prepare(own, device, download)
        wanted = wanted or [set() for _ in ready.speakers]
        for names, speaker in zip(wanted, ready.speakers, strict=True):
            names |= speaker.names
    if not any(wanted):
        raise Fault("these methods read nothing of a teacher, so there is nothing to store")
    batches, precision = ready.batches, ready.speed.precision
    many = f", {batches.views or 1} views, seed {first.seed}" if first.augment else ""
    lines: list[str] = []
    for names, speaker in zip(wanted, ready.speakers, strict=True):
        found = sizes(speaker.teacher, batches, names, precision)
        if not dry_run:
            remember(
                speaker.teacher,
                batches,
                names,
                words_of(own, speaker, batches, ready.speed),
                out,
                precision=precision,
                stop=stop,
                progress=display,
            )
        lines += [
            f"{speaker.known.name} on {len(batches.data):,} images{many}",
            *(f"  {name:<16} {in_words(size):>12} a view" for name, size in found.items()),
            f"  {'in all':<16} {in_words((batches.views or 1) * sum(found.values())):>12}",
        ]
    return lines
