"""Several teachers of one run: networks and tables, heard together."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Size, nn

from relatum.data import ImageSet
from relatum.evaluate import Collected
from relatum.recipes.recipe import Recipe
from relatum.run.hearing import listen
from relatum.run.sets import Sets
from relatum.run.table_teacher import Known, TableTeacher
from relatum.several import EMBEDDING, OUTPUT, Teachers, joined, numbered, shares_of
from relatum.taps import Tapped
from relatum.teacher_names import teachers_of
from relatum.teachers import Teacher, TeacherFromMemory
from relatum.types import Captured, Fault, Shapes

Quick = Callable[[Teacher], Teacher]


@dataclass(frozen=True)
class Member:
    """One of several teachers.

    Attributes:
        teacher: a network, or a table.
        known: what is known of it.
        weight: how much it counts beside the others.
    """

    teacher: Teacher | TableTeacher
    known: Known
    weight: float


class SeveralTeachers:
    """Speaks of a run's images as several teachers do together (``relatum.several``).

    Args:
        members: two at least.

    Raises:
        Fault: they have neither all an embedding, nor all logits over the same classes.

    Attributes:
        members: the teachers.
        shares: what each counts, of 1.
        same_classes: whether all return logits over the same classes.
        known: what is known of them together.
        notes: what was decided by itself, in sentences.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = tuple(members)
        self.shares = shares_of([each.weight for each in members])
        each_known = [each.known for each in members]
        self.same_classes = _same_classes(each_known)
        shapes = _shapes(each_known, self.same_classes)
        named = [
            each.known.name + (f"={each.weight:g}" if each.weight != 1 else "") for each in members
        ]
        classes = {each.classes for each in each_known if each.classes is not None}
        self.known = Known(
            name=" + ".join(named),
            sha256=_sha256(each_known, self.shares),
            shapes=shapes,
            says="logits" if self.same_classes else "embedding",
            classes=classes.pop() if self.same_classes and classes else None,
        )
        self.notes = tuple(
            note
            for each in members
            if isinstance(each.teacher, TableTeacher)
            for note in each.teacher.notes
        )

    @property
    def tapped(self) -> Self:
        """Who is heard: it knows how to ask each of them about a set of the run."""
        return self

    @property
    def taps(self) -> frozenset[str]:
        """What they say together, by the names of taps."""
        return frozenset(self.known.shapes) - {OUTPUT}

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """Those of them that are networks."""
        return tuple(each.network for each in self._live())

    def _live(self) -> list[Teacher]:
        return [each.teacher for each in self.members if isinstance(each.teacher, Teacher)]

    def to(self, device: torch.device) -> Self:
        """Move the networks, and the rows of tables where they fit."""
        for each in self.members:
            each.teacher.to(device)
        return self

    def teaching(self, quick: Quick | None = None) -> Teachers:
        """Who teaches, by batches of the training part.

        Args:
            quick: makes a quicker copy of a network.
        """
        found: list[Teacher | TeacherFromMemory] = []
        for each in self.members:
            if isinstance(each.teacher, TableTeacher):
                found.append(each.teacher.teaching)
            else:
                found.append(each.teacher if quick is None else quick(each.teacher))
        return Teachers(*found, weights=self.shares, same_classes=self.same_classes)

    def about(self, data: ImageSet, on: Iterable[str]) -> Collected:
        """What they say together of one of the run's sets; nothing where a table lacks rows."""
        taps = (EMBEDDING,) if EMBEDDING in self.taps else ()
        wanted = (OUTPUT, *taps)
        said = [listen(each.teacher.tapped, data, wanted) for each in self.members]
        first = said[0]
        if not all(set(wanted) <= set(each.values) for each in said):
            return Collected({}, first.labels, first.indices)
        own = [
            Captured(each.values[OUTPUT], {tap: each.values[tap] for tap in taps}) for each in said
        ]
        together = joined(own, self.shares, self.same_classes)
        values: dict[str, torch.Tensor] = {}
        for name in on:
            value = together.read(name)
            assert isinstance(value, torch.Tensor)
            values[name] = value
        return Collected(values, first.labels, first.indices)


AnyTeacher = Teacher | TableTeacher | SeveralTeachers
"""Who teaches in a run."""
Live = Callable[[str], tuple[Teacher, Known]]
"""Loads a network by the text that names it."""


def teacher_of(text: str, live: Live, sets: Sets, dry: int) -> tuple[AnyTeacher, Known]:
    """The teacher that a recipe names, and what is known of it.

    Args:
        text: a network, a table, or several of them.
        live: loads a network.
        sets: the images of the run.
        dry: how many samples a dry batch has.

    Raises:
        Fault: one of them cannot be had, or they have nothing in common.
    """
    members: list[Member] = []
    for each in teachers_of(text):
        if each.table is None:
            members.append(Member(*live(each.text), each.weight))
        else:
            table = TableTeacher(each.table, sets, dry)
            members.append(Member(table, table.known, each.weight))
    if len(members) == 1:
        return members[0].teacher, members[0].known
    together = SeveralTeachers(members)
    return together, together.known


def networks_of(teacher: AnyTeacher | None) -> tuple[nn.Module, ...]:
    """The networks that a teacher consists of; a table has none."""
    if teacher is None:
        return ()
    return (teacher.network,) if isinstance(teacher, Teacher) else teacher.networks


def tapped_of(teacher: AnyTeacher | None) -> tuple[Tapped, ...]:
    """The same, each with its taps and its own size."""
    if isinstance(teacher, SeveralTeachers):
        live = (each.teacher for each in teacher.members)
        return tuple(each.tapped for each in live if isinstance(each, Teacher))
    return (teacher.tapped,) if isinstance(teacher, Teacher) else ()


def teaching_of(teacher: AnyTeacher, quick: Quick | None) -> Teacher | TeacherFromMemory | Teachers:
    """Who teaches, by batches of the training part."""
    if isinstance(teacher, TableTeacher):
        return teacher.teaching
    if isinstance(teacher, SeveralTeachers):
        return teacher.teaching(quick)
    return teacher if quick is None else quick(teacher)


def notes_of(teacher: AnyTeacher | None, recipe: Recipe) -> Iterator[str]:
    """What is to be known of a teacher that is more than one network, in sentences."""
    if isinstance(teacher, SeveralTeachers):
        shares = zip(teacher.members, teacher.shares, strict=True)
        counts = ", ".join(f"{each.known.name} {share:.3g}" for each, share in shares)
        yield f"several teachers, by what each counts: {counts}"
    elif not isinstance(teacher, TableTeacher):
        return
    yield from teacher.notes
    tables = isinstance(teacher, TableTeacher) or len(teacher.networks) < len(teacher.members)
    if tables and recipe.augment:
        yield "a table has one row for an image, however that is augmented"


def _sha256(known: Sequence[Known], shares: Sequence[float]) -> str:
    lines = (f"{each.sha256} {share!r}" for each, share in zip(known, shares, strict=True))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _same_classes(known: Sequence[Known]) -> bool:
    """Whether all return logits over the same classes, as far as that is known."""
    shapes = {tuple(each.shapes[OUTPUT]) for each in known}
    classes = {each.classes for each in known if each.classes is not None}
    return all(each.says == "logits" for each in known) and len(shapes) == 1 and len(classes) < 2


def _shapes(known: Sequence[Known], same_classes: bool) -> Shapes:
    found: dict[str, Size] = {}
    own = [each.shapes.get(EMBEDDING) for each in known]
    whole = [each for each in own if isinstance(each, Size)]
    if len(whole) == len(known):
        widths = [Size(each[1:]).numel() for each in whole]
        found[EMBEDDING] = Size((whole[0][0], sum(widths)))
        found |= {numbered(place): each for place, each in enumerate(whole, start=1)}
    output = known[0].shapes[OUTPUT] if same_classes else found.get(EMBEDDING)
    if not isinstance(output, Size):
        named = ", ".join(each.name for each in known)
        raise Fault(
            f"these teachers have nothing in common: {named}; give each an embedding, or each"
            " logits over the same classes"
        )
    return {**found, OUTPUT: output}
