"""Whose a folder is: what a run leaves in its own, and when another may write there."""

from functools import lru_cache
from pathlib import Path

from relatum.recipes.recipe import Recipe
from relatum.record import NAME, Record
from relatum.run.pictured import PICTURED
from relatum.run.profiled import FILES as PROFILED
from relatum.run.trained import WEIGHTS, weights_of
from relatum.tables import read
from relatum.teacher_names import table_of
from relatum.types import Fault
from relatum.weights import fingerprints_of, write

RECIPE, METRICS, CHECKPOINT = "recipe.json", "metrics.jsonl", "checkpoint.pt"
BEST, RELATIONS = "best.safetensors", "relations.safetensors"
TRACKING = "tracking.json"
"""By what trackers know the run, so that a run that is gone on with is one to them too."""
FILES = (
    *(RECIPE, METRICS, CHECKPOINT, WEIGHTS, BEST, RELATIONS, PICTURED, NAME, "report.html"),
    # what a report drew from the pictures, what the networks cost, and --profile
    *(TRACKING, "maps.safetensors", "cost.json", *PROFILED),
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
                raise Fault(
                    f"{folder} holds a run of another recipe ({name}: {value!r} there,"
                    f" {getattr(recipe, name)!r} asked for); choose another --out"
                )
    if not (folder / NAME).exists():
        return None
    record = Record.load(folder)
    learnt = record.teacher.weights_sha256 if record.teacher else ""
    for text, known, what in (
        (recipe.teacher, learnt, "learnt from another teacher"),
        (recipe.begin, record.begin_sha256, "began with other weights"),
    ):
        weights = weights_of(text) if text else None
        if weights is not None and known and known not in _fingerprints(weights):
            raise Fault(
                f"{folder} holds a run that {what}; delete it or replace it by --overwrite, or"
                " choose another --out"
            )
    table = table_of(recipe.teacher) if recipe.teacher else None
    if table is not None and table.path.is_file() and read(table).sha256 != learnt:
        raise Fault(
            f"{folder} holds a run that learnt from another table; delete it or replace it by"
            " --overwrite, or choose another --out"
        )
    return record


def clear(recipe: Recipe, folder: Path, overwrite: bool) -> None:
    """Write a run's recipe into its folder, which is cleared of what is not wanted and of what a
    killed process left half written."""
    for name in FILES:
        if overwrite:
            (folder / name).unlink(missing_ok=True)
        for path in folder.glob(f".{name}.*"):
            path.unlink(missing_ok=True)
    write(folder / RECIPE, recipe.model_dump_json(indent=1).encode())


def _fingerprints(path: Path) -> frozenset[str]:
    """Of a file of weights, computed once for as long as the file stays the same."""
    about = path.stat()
    return _known(path, about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=64)
def _known(path: Path, changed: int, size: int) -> frozenset[str]:
    return fingerprints_of(path)
