"""A run's teacher that is one network."""

from dataclasses import replace
from typing import Self

import torch
from torch import Tensor

from relatum.data import ImageSet
from relatum.evaluate import Collected
from relatum.run.hearing import listen
from relatum.run.run_teacher import Known, Member, Speaks
from relatum.taps import Tapped
from relatum.teachers import CachedTeacher, Teacher


class NetworkTeacher:
    """Speaks of any images, by running.

    Args:
        live: the network, tapped.
        known: what is known of it.
    """

    members: tuple[Member, ...] = ()
    doubts: tuple[str, ...] = ()

    def __init__(self, live: Teacher, known: Known) -> None:
        self.live, self.known = live, known

    @property
    def tapped(self) -> Tapped:
        """Who is heard."""
        return self.live.tapped

    @property
    def networks(self) -> tuple[Tapped, ...]:
        """Itself."""
        return (self.live.tapped,)

    def notes(self, augmented: bool) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def about(self, data: ImageSet, on: tuple[str, ...], which: Tensor | None = None) -> Collected:
        """What it says of a set, or of some images of it."""
        if which is None:
            return listen(self.tapped, data, on)
        indices = which.to(data.device)
        # a subset counts its images anew
        return replace(listen(self.tapped, data.take(indices), on), indices=indices)

    def to(self, device: torch.device) -> Self:
        """Move it to a device."""
        self.live.to(device)
        return self

    def shard(self, device: torch.device) -> None:
        """Hold it in parts, one on each process of the training."""
        self.live.shard(device)

    def teaching(self, speaks: Speaks, reads: frozenset[str]) -> Teacher | CachedTeacher:
        """Who teaches, by batches of the training part."""
        return speaks(self.live, self.known, reads)
