"""A recipe's teacher that is asked once: what of it is read, and what its words depend on."""

from collections.abc import Iterable
from pathlib import Path

from relatum.cache import Identity, Progress, identity_of, remember
from relatum.checkpoint import Stop
from relatum.data import Batches
from relatum.methods import Stage
from relatum.recipes.recipe import Recipe
from relatum.run.networks import Pair
from relatum.speed import Speed
from relatum.teachers import CachedTeacher, Teacher


def read_by(stages: Iterable[Stage]) -> frozenset[str]:
    """What the stages of a method read of the teacher: taps, and ``"output"``."""
    found: set[str] = set()
    for stage in stages:
        objective = stage.objective
        if objective.accepts("teacher"):
            found |= objective.reads("teacher")
            found |= {"output"} if objective.reads_output("teacher") else set()
    return frozenset(found)


def words_of(
    recipe: Recipe, pair: Pair, teacher: Teacher, batches: Batches, pace: Speed
) -> Identity:
    """What the words of a recipe's teacher depend on."""
    precision = str(pace.precision).removeprefix("torch.")
    if teacher is not pair.teacher:
        precision += ", norms folded"
    if batches.data.device.type != "cpu":
        precision += f", on {batches.data.device.type}"
    if recipe.teacher_precision != "own":
        precision += f", weights in {recipe.teacher_precision}"
    return identity_of(
        batches,
        teacher=pair.teacher_name,
        weights=pair.teacher_sha256,
        input=teacher.tapped.input,
        precision=precision,
    )


def remembering(
    recipe: Recipe,
    pair: Pair,
    teacher: Teacher,
    batches: Batches,
    stages: Iterable[Stage],
    pace: Speed,
    stop: Stop | None = None,
    progress: Progress | None = None,
) -> CachedTeacher | Teacher:
    """The teacher from a recipe's cache, which is filled first; itself, where nothing reads it.

    Raises:
        Fault: as ``relatum.cache.remember``.
        Interrupted: likewise.
    """
    assert recipe.cache is not None
    names = read_by(stages)
    if not names:
        return teacher
    return remember(
        teacher,
        batches,
        names,
        words_of(recipe, pair, teacher, batches, pace),
        Path(recipe.cache),
        precision=pace.precision,
        stop=stop,
        progress=progress,
    )
