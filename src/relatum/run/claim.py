"""Whose a folder is: what a run leaves in its own, and when another may write there."""

from collections.abc import Iterator
from pathlib import Path

from relatum.cost_file import NAME as COST
from relatum.recipes.recipe import Recipe
from relatum.record import NAME, WEIGHTS, Record, TeacherRecord
from relatum.run.pictured import PICTURED
from relatum.run.profiled import FILES as PROFILED
from relatum.run.trained import weights_of
from relatum.several import shares_of
from relatum.tables import read
from relatum.teacher_names import TeacherName, teachers_there
from relatum.types import Fault
from relatum.weights import known_fingerprints, write

RECIPE, METRICS, CHECKPOINT = "recipe.json", "metrics.jsonl", "checkpoint.pt"
BEST, RELATIONS = "best.safetensors", "relations.safetensors"
TRACKING = "tracking.json"
"""By what trackers know the run, so that a run that is gone on with is one to them too."""
FILES = (
    *(RECIPE, METRICS, CHECKPOINT, WEIGHTS, BEST, RELATIONS, PICTURED, NAME, "report.html"),
    # what a report drew from the pictures, what the networks cost, and --profile
    *(TRACKING, "maps.safetensors", COST, *PROFILED),
)
"""All that a run may leave."""
MOVABLE = ("data_root", "cache", "teacher", "begin", "shard", "microbatch", "memory")
"""Fields of a recipe that a run may be gone on with otherwise: those that name places (what lies
there may have moved, and is known by its sum) and those that make room in memory."""


def claim(recipe: Recipe, folder: Path, resume: bool, overwrite: bool) -> Record | None:
    """Make sure that a folder is this run's to write in; a finished run is given back.

    Raises:
        Fault: there is a run, and nobody said what to do with it; or it is of another recipe,
            or learnt from another teacher.
    """
    there = any((folder / name).exists() for name in FILES)
    if overwrite:
        return None
    if there and not resume:
        raise Fault(
            f"{folder} holds a run already; go on with it by --resume, replace it by --overwrite,"
            " or choose another --out"
        )
    if (folder / RECIPE).exists():
        before = Recipe.read(folder / RECIPE)
        moved = {name: getattr(recipe, name) for name in MOVABLE}
        for name, value in before.but(**moved).model_dump().items():
            if value != getattr(recipe, name):
                why = f"{name}: {value!r} there, {getattr(recipe, name)!r} asked for"
                raise Fault(f"{folder} holds a run of another recipe ({why}); {_way_out(name)}")
    if not (folder / NAME).exists():
        return None
    record = Record.load(folder)
    for what in _otherwise(recipe, record):
        raise Fault(
            f"{folder} holds a run that {what}; delete that folder, or choose another --out"
        )
    return record


def _way_out(name: str) -> str:
    """What to do where a field of the recipe is another."""
    if name not in ("epochs", "scale", "milestones"):
        return "choose another --out"
    return (
        "its learning rate's schedule spans those epochs, so it cannot go on to others; choose"
        " another --out (there --set begin=RUN begins with a run's weights)"
    )


def _otherwise(recipe: Recipe, record: Record) -> Iterator[str]:
    """What a finished run did otherwise than a recipe asks, as far as files that are there say."""
    named = teachers_there(recipe.teacher) if recipe.teacher else ()
    told = record.teacher
    known = () if told is None else told.members or (told,)
    if len(named) != len(known):
        yield "learnt from other teachers"
        return
    for each, of in zip(named, known, strict=True):
        if _is_another(each, of):
            yield f"learnt from another {'teacher' if each.table is None else 'table'}"
    shares = shares_of([each.weight for each in named]) if named else ()
    if shares != tuple(of.share for of in known):
        yield "weighed its teachers otherwise"
    if recipe.begin and _differs(recipe.begin, record.begin_sha256):
        yield "began with other weights"


def _is_another(named: TeacherName, told: TeacherRecord) -> bool:
    if named.table is None:
        return _differs(named.text, told.weights_sha256)
    there = named.table.path.is_file()
    return there and read(named.table).sha256 != told.weights_sha256


def _differs(text: str, known: str) -> bool:
    """Whether a file of weights is there, and is another than it was."""
    weights = weights_of(text)
    return weights is not None and bool(known) and known not in known_fingerprints(weights)


def clear(recipe: Recipe, folder: Path, overwrite: bool) -> None:
    """Write a run's recipe into its folder, which is cleared of what is not wanted and of what a
    killed process left half written."""
    for name in FILES:
        if overwrite:
            (folder / name).unlink(missing_ok=True)
        for path in folder.glob(f".{name}.*"):
            path.unlink(missing_ok=True)
    write(folder / RECIPE, recipe.model_dump_json(indent=1).encode())
