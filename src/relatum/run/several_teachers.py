"""Several teachers of one run: networks and tables, heard together."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Size, Tensor

from relatum.data import ImageSet
from relatum.evaluate import Collected
from relatum.run.run_teacher import Known, Member, RunTeacher, Speaks
from relatum.run.sets import Sets
from relatum.run.table_teacher import TableTeacher
from relatum.run.trained import weights_of
from relatum.several import EMBEDDING, OUTPUT, Teachers, joined, numbered, shares_of
from relatum.taps import Tapped
from relatum.teacher_names import TeacherName, teachers_there
from relatum.types import Captured, Fault, Shapes


class SeveralTeachers:
    """Speaks of a run's images as several teachers do together (``relatum.several``).

    Args:
        teachers: two at least.
        weights: what each counts beside the others.

    Raises:
        Fault: they have neither all an embedding, nor all logits over the same classes.

    Attributes:
        members: the teachers.
        shares: what each counts, of 1.
        same_classes: whether all return logits over the same classes.
        known: what is known of them together.
    """

    def __init__(self, teachers: Sequence[RunTeacher], weights: Sequence[float]) -> None:
        self.shares = shares_of(weights)
        self.members = tuple(map(Member, teachers, self.shares))
        each_known = [each.known for each in teachers]
        self.same_classes = _same_classes(each_known)
        shapes = _shapes(each_known, self.same_classes)
        named = [
            each.name + (f"={weight:g}" if weight != 1 else "")
            for each, weight in zip(each_known, weights, strict=True)
        ]
        classes = {each.classes for each in each_known if each.classes is not None}
        self.known = Known(
            name=" + ".join(named),
            sha256=_sha256(each_known, self.shares),
            shapes=shapes,
            says="logits" if self.same_classes else "embedding",
            classes=classes.pop() if self.same_classes and classes else None,
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
    def networks(self) -> tuple[Tapped, ...]:
        """Those of them that are networks."""
        return tuple(tapped for each in self.members for tapped in each.teacher.networks)

    @property
    def doubts(self) -> tuple[str, ...]:
        """What is wrong with one of them."""
        return tuple(doubt for each in self.members for doubt in each.teacher.doubts)

    @property
    def counts(self) -> str:
        """What each counts."""
        counts = ", ".join(f"{each.known.name} {each.share:.3g}" for each in self.members)
        return f"several teachers, by what each counts: {counts}"

    def notes(self, augmented: bool) -> tuple[str, ...]:
        """What is to be known of each."""
        own = [note for each in self.members for note in each.teacher.notes(augmented)]
        return tuple(dict.fromkeys(own))

    def to(self, device: torch.device) -> Self:
        """Move the networks, and the rows of tables where they fit."""
        for each in self.members:
            each.teacher.to(device)
        return self

    def shard(self, device: torch.device) -> None:
        """Hold each network in parts."""
        for each in self.members:
            each.teacher.shard(device)

    def teaching(self, speaks: Speaks, reads: frozenset[str]) -> Teachers:
        """Who teaches, by batches of the training part."""
        own = {OUTPUT} & reads | ({EMBEDDING} if reads - {OUTPUT} else set())
        found = [each.teacher.teaching(speaks, frozenset(own)) for each in self.members]
        # what one said once has no output where nothing reads that
        same = self.same_classes and all(each.has_output for each in found)
        return Teachers(*found, weights=self.shares, same_classes=same)

    def about(self, data: ImageSet, on: tuple[str, ...], which: Tensor | None = None) -> Collected:
        """What they say together of one of the run's sets, or of some images of it; nothing where
        a table lacks rows."""
        taps = (EMBEDDING,) if EMBEDDING in self.taps else ()
        wanted = (OUTPUT, *taps)
        said = [each.teacher.about(data, wanted, which) for each in self.members]
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


Live = Callable[[str], RunTeacher]
"""Loads a network by the text that names it."""


def teacher_of(text: str, live: Live, sets: Sets, dry: int) -> RunTeacher:
    """The teacher that a recipe names.

    Args:
        text: a network, a table, or several of them.
        live: loads a network.
        sets: the images of the run.
        dry: how many samples a dry batch has.

    Raises:
        Fault: one of them cannot be had or is there twice, or they have nothing in common.
    """
    named = teachers_there(text)
    _refuse_twins(named)
    found: list[RunTeacher] = [
        live(each.text) if each.table is None else TableTeacher(each.table, sets, dry)
        for each in named
    ]
    if len(found) == 1:
        return found[0]
    return SeveralTeachers(found, [each.weight for each in named])


def _refuse_twins(named: Sequence[TeacherName]) -> None:
    """Refuse one that is there twice by two names, as ``te`` and ``./te``."""
    found: dict[object, str] = {}
    for each in named:
        if (other := found.setdefault(_place(each), each.text)) is not each.text:
            raise Fault(f"the teachers {other!r} and {each.text!r} are one: weigh it instead")


def _place(named: TeacherName) -> object:
    """Where a teacher lies, and of a table what is read of it; its name where it is in no file."""
    if named.table is not None:
        return named.table.path.resolve(), named.table.columns
    weights = weights_of(named.text)
    return named.text if weights is None else weights.resolve()


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
