"""How a set is cut into batches."""

import math
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor

from relatum import world
from relatum.data.augment import Augment
from relatum.data.resident import Resident
from relatum.data.seeds import generator
from relatum.types import Batch, Fault


@dataclass(frozen=True, eq=False)
class Batches:
    """Batches of a set, again each epoch. Epoch ``n`` is a function of ``(seed, n)`` alone.

    So a run that resumes at epoch 100 sees the batches that it would have seen, and two runs
    with batches of other sizes see one order and the same augmented images, on however many
    processes.

    Args:
        data: the set; batches are cut on its device.
        size: samples a batch.
        shuffle: in another order every epoch, or as the set lies.
        augment: what changes the images, in this order.
        seed: of order and augmentation.
        drop_last: leave out the last batch of an epoch when it is short.
        shared: give each process of a training its part of every batch, as even as can be:
            ``size`` is that of all parts together.

    Raises:
        Fault: an empty set, a size under one, no whole batch to keep, or a batch of fewer
            samples than there are processes to share it.

    Example:
        >>> data = Resident(torch.zeros(10, 1, 8, 8, dtype=torch.uint8), torch.arange(10))
        >>> [batch.indices.tolist() for batch in Batches(data, 4).epoch(0)]
        [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    """

    data: Resident
    size: int
    _: KW_ONLY
    shuffle: bool = False
    augment: tuple[Augment, ...] = ()
    seed: int = 0
    drop_last: bool = False
    shared: bool = False

    def __post_init__(self) -> None:
        if self.size < 1:
            raise Fault(f"a batch holds at least one sample, got a size of {self.size}")
        if not len(self.data):
            raise Fault("there is nothing to cut into batches: the set is empty")
        if self.drop_last and self.size > len(self.data):
            raise Fault(
                f"batches of {self.size:,} with drop_last leave nothing of {len(self.data):,}"
                " samples; use smaller batches or keep the last one"
            )
        if self.shared and self.shortest < world.size():
            raise Fault(
                f"a batch of {self.shortest} cannot be shared out among {world.size()} processes;"
                " use larger batches, drop the last one (--set drop_last=true), or start fewer"
            )

    def __len__(self) -> int:
        """Steps an epoch."""
        if self.drop_last:
            return len(self.data) // self.size
        return math.ceil(len(self.data) / self.size)

    @property
    def largest(self) -> int:
        """Samples of the largest batch, or of the largest part of it that a process has."""
        length = min(self.size, len(self.data))
        return max(world.shares(length)) if self.shared else length

    @property
    def shortest(self) -> int:
        """Samples of the shortest batch."""
        rest = 0 if self.drop_last else len(self.data) % self.size
        return rest or min(self.size, len(self.data))

    @property
    def samples(self) -> int:
        """Samples an epoch: all of the set, or those of whole batches."""
        return len(self) * self.size if self.drop_last else len(self.data)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, from a step on.

        All that is random is drawn here, on the CPU, for the whole epoch, and moved once;
        nothing is cut for the steps before ``start``, and the others do not notice.

        Args:
            number: of the epoch, from 0; it becomes the batches' ``view``.
            start: the first step, up to ``len(self)``, which gives none.
        """
        if number < 0 or not 0 <= start <= len(self):
            raise Fault(
                f"epochs count from 0 and steps from 0 to {len(self)};"
                f" got epoch {number}, step {start}"
            )
        order = self._order(number)
        parameters = [
            augment.draw(len(self.data), self._generator(number, f"augment {place}")).to(
                order.device
            )
            for place, augment in enumerate(self.augment)
        ]
        return self._cut(number, start, order, parameters)

    def _generator(self, number: int, purpose: str) -> torch.Generator:
        return generator(self.seed, "epoch", number, purpose)

    def _order(self, number: int) -> Tensor:
        device = self.data.images.device
        if not self.shuffle:
            return torch.arange(len(self.data), device=device)
        order = torch.randperm(len(self.data), generator=self._generator(number, "order"))
        return order.to(device)

    def _cut(
        self, number: int, start: int, order: Tensor, parameters: list[Tensor]
    ) -> Iterator[Batch]:
        for first in range(start * self.size, self.samples, self.size):
            length = min(self.size, self.samples - first)
            own = world.own(length) if self.shared else slice(0, length)
            part = slice(first + own.start, first + own.stop)
            indices = order[part]
            images = self.data.float(indices if self.shuffle else part)
            for augment, each in zip(self.augment, parameters, strict=True):
                images = augment.apply(images, each.index_select(0, indices))
            shares = world.shares(length) if self.shared else None
            yield Batch(images, self._labels(indices, part), indices, number, shares)

    def _labels(self, indices: Tensor, part: slice) -> Tensor | None:
        if self.data.labels is None:
            return None
        return self.data.labels.index_select(0, indices) if self.shuffle else self.data.labels[part]
