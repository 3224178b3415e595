"""What a run asks of its teacher, whatever kind that is."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import torch
from torch import Tensor, nn

from relatum.any_teacher import AnyTeacher
from relatum.data import ImageSet
from relatum.evaluate import Collected
from relatum.methods import Says
from relatum.run.hearing import Heard
from relatum.taps import Tapped
from relatum.teachers import CachedTeacher, Teacher
from relatum.types import Shapes

VARIES = "a table has one row for an image, however that is augmented"
"""What is to be known of a teacher that sees no augmentation."""


@dataclass(frozen=True)
class Known:
    """What is known of a teacher before it says anything.

    Attributes:
        name: what records call it.
        sha256: of its weights, or of its table.
        shapes: of its output and taps on a dry batch.
        says: what its output is.
        classes: what its logits mean, where that is known.
        run: the folder of the run that trained it, where it was one.
    """

    name: str
    sha256: str
    shapes: Shapes
    says: Says
    classes: tuple[str, ...] | None = None
    run: Path | None = None


Speaks = Callable[[Teacher, Known, frozenset[str]], Teacher | CachedTeacher]
"""What speaks in the steps of a training for a network of which that is known and these names are
read: itself, a quicker copy, or what either said once."""


class RunTeacher(Protocol):
    """A network, a table, several of both: and any kind that has all this."""

    @property
    def known(self) -> Known:
        """What is known of it."""
        ...

    @property
    def tapped(self) -> Heard:
        """Who is heard of a whole set."""
        ...

    @property
    def networks(self) -> tuple[Tapped, ...]:
        """The networks that it consists of."""
        ...

    @property
    def members(self) -> "tuple[Member, ...]":
        """The teachers that it consists of; none, where it is one."""
        ...

    @property
    def doubts(self) -> tuple[str, ...]:
        """What is wrong with it and can be mended, in sentences."""
        ...

    def about(self, data: ImageSet, on: tuple[str, ...], which: Tensor | None = None) -> Collected:
        """What it says of one of the run's sets; no values where it knows nothing of it.

        Args:
            data: the set.
            on: names of taps.
            which: the images that are asked about, by their indices on the CPU; all of them.

        Returns:
            What it says of them in this order, with their labels and their indices in the set.
        """
        ...

    def notes(self, augmented: bool) -> tuple[str, ...]:
        """What is to be known of it, in sentences; of augmented images, where it teaches those."""
        ...

    def to(self, device: torch.device) -> Self:
        """Move it to a device."""
        ...

    def shard(self, device: torch.device) -> None:
        """Hold its networks in parts, one on each process of the training; move what is no
        network."""
        ...

    def teaching(self, speaks: Speaks, reads: frozenset[str]) -> AnyTeacher:
        """Who teaches, by batches of the training part.

        Args:
            speaks: given each of its networks, says what speaks for that.
            reads: the names of all that is read of it.
        """
        ...


@dataclass(frozen=True)
class Member:
    """One of several teachers.

    Attributes:
        teacher: of any kind.
        share: what it counts, of 1.
    """

    teacher: RunTeacher
    share: float

    @property
    def known(self) -> Known:
        """What is known of it."""
        return self.teacher.known


def tapped_of(teacher: RunTeacher | None) -> tuple[Tapped, ...]:
    """The networks that a teacher consists of, tapped; a table has none."""
    return () if teacher is None else teacher.networks


def networks_of(teacher: RunTeacher | None) -> tuple[nn.Module, ...]:
    """The bare networks that a teacher consists of."""
    return tuple(each.network for each in tapped_of(teacher))
