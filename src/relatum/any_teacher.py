"""What a training asks of a teacher, whatever kind that is."""

from collections.abc import Collection, Iterable
from contextlib import AbstractContextManager
from typing import Protocol, TypeGuard

from relatum.types import Batch, Captured, Images

ASKED = ("taps", "has_output", "runs", "encodes", "replays", "views", "until", "encode")
"""By what a teacher is told from a function that says something of a batch and no more."""


class AnyTeacher(Protocol):
    """A network, what one said once, a table, several of these: and any kind that has all this."""

    @property
    def taps(self) -> Collection[str]:
        """The names of what it says."""
        ...

    @property
    def has_output(self) -> bool:
        """Whether it says what a network returns, too."""
        ...

    @property
    def runs(self) -> bool:
        """Whether a network runs when it is called, which may be cut short, or shared."""
        ...

    @property
    def encodes(self) -> bool:
        """Whether it says something of images that are of no set, as of fixed anchors."""
        ...

    @property
    def replays(self) -> bool:
        """Whether a call is a function of tensors on the device, which a CUDA graph can hold."""
        ...

    @property
    def views(self) -> int:
        """In how many ways each sample was augmented of which it speaks from memory; else 1."""
        ...

    def __call__(self, batch: Batch) -> Captured:
        """What it says about a batch."""
        ...

    def encode(self, images: Images) -> Captured:
        """What it says about images in [0, 1]; a fault, where it ``encodes`` none."""
        ...

    def until(self, names: Iterable[str]) -> AbstractContextManager[None]:
        """Run no further than to the last of these taps, for a while."""
        ...


def is_teacher(teacher: object) -> TypeGuard[AnyTeacher]:
    """Whether it can be asked all that."""
    return all(hasattr(teacher, name) for name in ASKED)
