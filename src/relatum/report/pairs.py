"""Which runs may stand in one table: those of one protocol; and in which part of it, by pair."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from relatum.recipes.benchmark import PAIRS, Pair, benchmark
from relatum.recipes.recipe import Recipe
from relatum.record import Record, Unfinished
from relatum.report.rows import ALONE, TEACHER

FIELDS = (
    *("dataset", "image_size", "labels", "samples", "validation", "augment"),
    *("epochs", "scale", "batch_size", "drop_last", "momentum", "nesterov", "weight_decay"),
    *("schedule", "milestones", "speed", "precision"),
)
"""What the students of one table have in common. Their learning rate belongs to the network."""
NAMED = ("drop_last",)
"""In these published code differs, so that neither choice is a departure: tables name it."""
NOBODY = ""
"""The teacher of students that were only trained alone."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """How the students of a table were trained, and what they were measured on.

    Attributes:
        recipe: that of one of them.
        images: how many in the training, validation and test part.
        begun: whether students began with trained weights.
    """

    recipe: Recipe
    images: tuple[tuple[str, int], ...]
    begun: bool

    @classmethod
    def of(cls, record: Record) -> "Protocol":
        """That of a run."""
        images = tuple(sorted(record.samples.items()))
        return cls(record.recipe, images, record.recipe.begin is not None)

    @property
    def terms(self) -> dict[str, Any]:
        """All that runs of one table have in common, by name."""
        held = {name: getattr(self.recipe, name) for name in FIELDS}
        return {**held, "images": self.images, "begun": self.begun}

    @property
    def title(self) -> str:
        """In a line.

        Example:
            >>> Protocol(benchmark("cifar100", None, "vgg8", "none"), (), False).title
            'cifar100: 240 epochs of batches of 64, short last batch dropped, crop and flip'
        """
        recipe = self.recipe
        cut = f", {100 * recipe.validation:g} % cut for validation" if recipe.validation else ""
        drawn = f", {recipe.samples:,} training images" if recipe.samples else ""
        return (
            f"{recipe.dataset}: {recipe.epochs} epochs of batches of {recipe.batch_size},"
            f" short last batch {recipe.last_batch},"
            f" {' and '.join(recipe.augment) or 'no augmentation'}{drawn}{cut}"
        )

    @property
    def departures(self) -> list[str]:
        """In what it is not the set's own protocol, which published numbers keep to.

        Example:
            >>> short = benchmark("cifar100", None, "vgg8", "none", scale=0.05)
            >>> Protocol(short, (), False).departures[:2]
            ['epochs 12 (not 240)', 'scale 0.05 (not 1.0)']
        """
        own = benchmark(self.recipe.dataset, None, self.recipe.student, ALONE)
        return [
            f"{name.replace('_', ' ')} {_said(here)} (not {_said(there)})"
            for name in (*FIELDS, "learning_rate")
            if name not in NAMED
            and (here := getattr(self.recipe, name)) != (there := getattr(own, name))
        ]


def by_protocol(records: Sequence[Record]) -> list[list[Record]]:
    """Runs of students that may stand in one table, together; in the order of the first ones."""
    held: dict[str, list[Record]] = {}
    for record in records:
        if record.label != TEACHER:
            held.setdefault(repr(Protocol.of(record).terms), []).append(record)
    return list(held.values())


def apart(protocols: Sequence[Protocol]) -> list[str]:
    """In what several protocols differ, a line for each.

    Example:
        >>> whole = benchmark("cifar100", None, "vgg8", "none")
        >>> apart([Protocol(each, (), False) for each in (whole, whole.but(batch_size=128))])
        ['batch size 64', 'batch size 128']
    """
    terms = [protocol.terms for protocol in protocols]
    names = [name for name in terms[0] if any(each[name] != terms[0][name] for each in terms)]
    return [
        ", ".join(f"{name.replace('_', ' ')} {_said(each[name])}" for name in names)
        for each in terms
    ]


def _said(value: Any) -> str:
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(_said(each) for each in value)
    return str(value)


def by_pair(records: Sequence[Record], asked: Sequence[Pair] = ()) -> dict[Pair, list[Record]]:
    """The students' runs of every pair, the benchmark's pairs first and in its order.

    A student that was trained alone and knows no teacher belongs to every pair that it is in.

    Args:
        records: finished runs; those of teachers are passed over.
        asked: pairs that are there even without a run.
    """
    students = [record for record in records if record.label != TEACHER]
    taught = [pair for pair in [*asked, *map(pair_of, students)] if pair.teacher]
    known = {pair.student for pair in taught}
    lone = [
        Pair(NOBODY, each.recipe.student) for each in students if each.recipe.student not in known
    ]
    found = dict.fromkeys([*(pair for pair in PAIRS if pair in taught), *taught, *lone])
    return {pair: _of(pair, students) for pair in found}


def pair_of(run: Record | Unfinished) -> Pair:
    """Who taught whom in a run."""
    if isinstance(run, Unfinished):
        return Pair(run.teacher or NOBODY, run.student)
    return Pair(run.teacher.name if run.teacher else NOBODY, run.recipe.student)


def belongs(run: Record | Unfinished, pair: Pair) -> bool:
    """Whether a run is one of a pair's: its own, or that of its student alone."""
    found = pair_of(run)
    return found == pair or (run.label == ALONE and found == Pair(NOBODY, pair.student))


def _of(pair: Pair, students: Sequence[Record]) -> list[Record]:
    """A pair's runs; those of the student alone are its own ones where it has any."""
    found = [record for record in students if belongs(record, pair)]
    own = [record for record in found if pair_of(record) == pair]
    if any(record.label == ALONE for record in own):
        return own
    return found
