"""Trainings beside each other on the same batches: each is cut once, and the teacher asked once."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch

from relatum.any_teacher import AnyTeacher, is_teacher
from relatum.data import Batches
from relatum.distiller import Distiller
from relatum.fit import Source
from relatum.run.turns import Place, Turns
from relatum.types import Batch, Captured, Images

Wanted = frozenset[str] | None
"""The taps of a teacher that are read; ``None`` where its output is."""


class Beside:
    """What trainings of one seed, set and batch size have in common while they take turns.

    Every step's batch is cut and augmented by who comes first, and the teacher runs, once, to
    the last of all taps that any of those reads who wait for the same step. It is kept for that
    step alone. Nobody's numbers change: the batch is a function of the seed and the step, and
    what a tap gives does not depend on how far the network runs after it.

    Args:
        count: how many trainings.
        device: where they compute.
    """

    def __init__(self, count: int, device: torch.device) -> None:
        self._turns = Turns(count, device)
        self._batches: dict[int, Batches] = {}
        self._wanted: dict[int, tuple[str, Wanted]] = {}
        self._place: Place | None = None
        self._batch: Batch | None = None
        self._coming: Iterator[Batch] | None = None
        self._said: dict[str, tuple[Wanted, Captured]] = {}

    def start(self) -> None:
        """Let the first one begin."""
        self._turns.start()

    @contextmanager
    def seat(self, number: int) -> Iterator["Seat"]:
        """The place of one training, in a thread of its own, for as long as it lasts."""
        with self._turns.taken(number):
            try:
                yield Seat(self, number)
            finally:
                self._batches.pop(number, None)
                self._wanted.pop(number, None)
                if not self._batches:
                    self._forget()

    def begin(self, number: int, distiller: Distiller, batches: Batches, teacher: str) -> None:
        """A training, or another stage of it, begins with these batches."""
        for each in self._batches.values():
            assert _alike(each, batches), "trainings beside each other have the same batches"
        self._batches[number] = batches
        self._wanted.pop(number, None)
        live = distiller.teacher
        if is_teacher(live) and live.runs:  # a cached one has nothing to run
            self._wanted[number] = teacher, distiller.last_taps["teacher"]
            distiller.teacher = Hearing(live, self._hears(number, live))

    def batch(self, number: int, place: Place) -> tuple[Batch, float]:
        """The batch of a step, when it is this training's turn; the seconds that it waited."""
        waited = self._turns.wait(number, place)
        if self._place != place:
            epoch, step = place
            follows = self._place == (epoch, step - 1)
            if self._coming is None or not follows:
                self._coming = self._batches[number].epoch(epoch, step)
            self._forget(but_coming=True)
            self._batch, self._place = next(self._coming), place
        assert self._batch is not None
        return self._batch, waited

    def _hears(self, number: int, teacher: AnyTeacher) -> Callable[[Batch], Captured]:
        """How a training learns what its teacher says of a batch."""

        def hear(batch: Batch) -> Captured:
            name, own = self._wanted[number]
            if self._batch is None or batch.images is not self._batch.images:
                return _ask(teacher, batch, own)  # of what nobody else has, as part of a batch
            if name in self._said and _holds(self._said[name][0], own):
                return self._said[name][1]
            wanted = self._of_all(name, own)
            said = _ask(teacher, batch, wanted)
            self._said[name] = wanted, said
            return said

        return hear

    def _of_all(self, teacher: str, own: Wanted) -> Wanted:
        """What those want of a teacher who are at this step, or wait for it."""
        for number, (name, wanted) in self._wanted.items():
            if name == teacher and self._turns.places.get(number) == self._place:
                own = None if own is None or wanted is None else own | wanted
        return own

    def _forget(self, but_coming: bool = False) -> None:
        self._said.clear()
        self._batch = self._place = None
        if not but_coming:
            self._coming = None


class Seat:
    """One training's place beside the others."""

    def __init__(self, beside: Beside, number: int) -> None:
        self._beside, self._number = beside, number
        self._waited = 0.0

    def share(self, distiller: Distiller, batches: Batches, teacher: str) -> Source:
        """Have a training use what others have, and give them what it has.

        Args:
            distiller: what is trained; its teacher is asked through the others from now on.
            batches: equal to those of the others.
            teacher: the SHA-256 of its teacher's weights.

        Returns:
            The same batches, each of them when the turn has come.
        """
        self._beside.begin(self._number, distiller, batches, teacher)
        return _Shared(self, len(batches))

    def batch(self, place: Place) -> Batch:
        """The batch of a step, when the turn has come."""
        batch, waited = self._beside.batch(self._number, place)
        self._waited += waited
        return batch

    def waited(self) -> float:
        """Seconds for which others had their turns, since this was asked last."""
        waited, self._waited = self._waited, 0.0
        return waited


class Alone:
    """The place of a training that has nobody beside it."""

    def share(self, distiller: Distiller, batches: Batches, teacher: str) -> Source:
        """The batches as they are."""
        return batches

    def waited(self) -> float:
        """Not a moment."""
        return 0.0


@dataclass(frozen=True)
class _Shared:
    """The batches of a training, as its seat gives them."""

    seat: Seat
    steps: int

    def __len__(self) -> int:
        return self.steps

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """As the batches themselves give it."""
        for step in range(start, self.steps):
            yield self.seat.batch((number, step))


class Hearing:
    """A live teacher that is asked through others, who may have asked the same already.

    Args:
        live: the teacher, which speaks for itself of images of this training's own, as anchors.
        hear: what it says, or said, about a batch.
    """

    runs = replays = False  # it is cut short here, where it is known what others want of it

    def __init__(self, live: AnyTeacher, hear: Callable[[Batch], Captured]) -> None:
        self.live = live
        self.taps, self.has_output = live.taps, live.has_output
        self.encodes, self.views = live.encodes, live.views
        self._hear = hear

    def __call__(self, batch: Batch) -> Captured:
        """What it says, or said, about a batch."""
        return self._hear(batch)

    def encode(self, images: Images) -> Captured:
        """What it says about images of this training's own."""
        return self.live.encode(images)

    def until(self, names: Iterable[str]) -> AbstractContextManager[None]:
        """As far as all want who are at the same step."""
        return nullcontext()


def _holds(there: Wanted, wanted: Wanted) -> bool:
    return there is None or (wanted is not None and wanted <= there)


def _ask(teacher: AnyTeacher, batch: Batch, wanted: Wanted) -> Captured:
    with nullcontext() if wanted is None else teacher.until(wanted):
        return teacher(batch)


def _alike(one: Batches, other: Batches) -> bool:
    names = ("size", "shuffle", "augment", "seed", "drop_last", "shared", "views")
    same = all(getattr(one, name) == getattr(other, name) for name in names)
    return same and (len(one.data), one.data.shape) == (len(other.data), other.data.shape)
