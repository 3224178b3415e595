"""Who speaks for a recipe's teacher in the steps: its networks, quicker copies, or a cache of what
they said; what of them is read, and what their words depend on."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from relatum.any_teacher import AnyTeacher
from relatum.cache import Identity, Progress, identity_of, remember
from relatum.checkpoint import Stop
from relatum.data import Batches
from relatum.methods import Stage
from relatum.recipes.recipe import Recipe
from relatum.run.run_teacher import Known, RunTeacher
from relatum.run.sets import Sets
from relatum.speed import Speed
from relatum.teachers import CachedTeacher, Teacher


@dataclass(frozen=True, eq=False)
class Speaker:
    """A network of a teacher, as it speaks in the steps of a training.

    Attributes:
        teacher: itself, or a quicker copy.
        known: what is known of it.
        names: of all that is read of it.
        quick: whether it is a copy.
    """

    teacher: Teacher
    known: Known
    names: frozenset[str]
    quick: bool


def who_teaches(
    recipe: Recipe,
    teacher: RunTeacher | None,
    sets: Sets,
    batches: Batches,
    stages: Iterable[Stage],
    pace: Speed,
    *,
    keeps: bool,
    stop: Stop | None = None,
    progress: Progress | None = None,
) -> tuple[AnyTeacher | None, tuple[Speaker, ...]]:
    """Who teaches by batches of the training part, and the networks that this consists of.

    Args:
        recipe: at which speed, and with which cache.
        teacher: of the run.
        sets: the images.
        batches: of the training.
        stages: which say what is read.
        pace: what may be given up for time.
        keeps: whether the recipe's cache is filled, and read.
        stop: asked while it is filled.
        progress: told how far that is.

    Raises:
        Fault: as ``relatum.cache.remember``.
        Interrupted: likewise.
    """
    speakers: list[Speaker] = []

    def speaks(live: Teacher, known: Known, names: frozenset[str]) -> Teacher | CachedTeacher:
        own = _quick(recipe, live, sets, pace)
        speaker = Speaker(own, known, names, quick=own is not live)
        speakers.append(speaker)
        return remembering(recipe, speaker, batches, pace, stop, progress) if keeps else own

    found = None if teacher is None else teacher.teaching(speaks, read_by(stages))
    return found, tuple(speakers)


def _quick(recipe: Recipe, teacher: Teacher, sets: Sets, pace: Speed) -> Teacher:
    """A quicker copy, at a speed that wants one. What is in parts, or in a precision of its own,
    stays as it is."""
    asked_for = "teacher" in recipe.shard or recipe.teacher_precision != "own"
    if not pace.quick or asked_for:
        return teacher
    compiled = pace.compiled and recipe.cache is None  # to fill a cache is no work of hours
    return teacher.quick(sets.train.float(slice(0, 2)), pace.precision, compiled=compiled)


def read_by(stages: Iterable[Stage]) -> frozenset[str]:
    """What the stages of a method read of the teacher: taps, and ``"output"``."""
    found: set[str] = set()
    for stage in stages:
        objective = stage.objective
        if objective.accepts("teacher"):
            found |= objective.reads("teacher")
            found |= {"output"} if objective.reads_output("teacher") else set()
    return frozenset(found)


def words_of(recipe: Recipe, speaker: Speaker, batches: Batches, pace: Speed) -> Identity:
    """What the words of a recipe's teacher depend on."""
    precision = str(pace.precision).removeprefix("torch.")
    if speaker.quick:
        precision += ", norms folded"
    if batches.data.device.type != "cpu":
        precision += f", on {batches.data.device.type}"
    if recipe.teacher_precision != "own":
        precision += f", weights in {recipe.teacher_precision}"
    return identity_of(
        batches,
        teacher=speaker.known.name,
        weights=speaker.known.sha256,
        input=speaker.teacher.tapped.input,
        precision=precision,
    )


def remembering(
    recipe: Recipe,
    speaker: Speaker,
    batches: Batches,
    pace: Speed,
    stop: Stop | None = None,
    progress: Progress | None = None,
) -> CachedTeacher | Teacher:
    """The network from a recipe's cache, which is filled first; itself, where nothing reads it.

    Raises:
        Fault: as ``relatum.cache.remember``.
        Interrupted: likewise.
    """
    assert recipe.cache is not None
    if not speaker.names:
        return speaker.teacher
    return remember(
        speaker.teacher,
        batches,
        speaker.names,
        words_of(recipe, speaker, batches, pace),
        Path(recipe.cache),
        precision=pace.precision,
        stop=stop,
        progress=progress,
    )
