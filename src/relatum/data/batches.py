"""How a set is cut into batches."""

import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import KW_ONLY, dataclass, field

import torch
from torch import Tensor

from relatum import world
from relatum.data.augment import Augment
from relatum.data.buffers import Buffers
from relatum.data.image_set import ImageSet
from relatum.data.seeds import generator
from relatum.data.stored import Stored
from relatum.types import Batch, Fault, Images


@dataclass(frozen=True, eq=False)
class Batches:
    """Batches of a set, again each epoch. Epoch ``n`` is a function of ``(seed, n)`` alone.

    So a run that resumes at epoch 100 sees the batches that it would have seen, and two runs
    with batches of other sizes see one order and the same augmented images, on however many
    processes.

    Args:
        data: the set; batches are cut on its device. Of a ``Stored`` those that follow are decoded
            while one is used, and have the same bits as of a ``Resident``.
        size: samples a batch.
        shuffle: in another order every epoch, or as the set lies.
        augment: what changes the images, in this order.
        seed: of order and augmentation.
        drop_last: leave out the last batch of an epoch when it is short.
        shared: give each process of a training its part of every batch, as even as can be:
            ``size`` is that of all parts together.
        views: augment each sample in so many ways, drawn once, which epochs take in turn; in
            another way every epoch where it is ``None``.

    Raises:
        Fault: an empty set, a size under one, no whole batch to keep, a batch of fewer samples
            than there are processes to share it, or views of a set that nothing augments.

    Example:
        >>> from relatum.data import Resident
        >>> data = Resident(torch.zeros(10, 1, 8, 8, dtype=torch.uint8), torch.arange(10))
        >>> [batch.indices.tolist() for batch in Batches(data, 4).epoch(0)]
        [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    """

    data: ImageSet
    size: int
    _: KW_ONLY
    shuffle: bool = False
    augment: tuple[Augment, ...] = ()
    seed: int = 0
    drop_last: bool = False
    shared: bool = False
    views: int | None = None
    _buffers: Buffers = field(default_factory=Buffers, init=False, repr=False)

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
        if self.views is not None and (self.views < 1 or not self.augment):
            raise Fault(
                f"views are ways of augmenting a sample, one at least: got {self.views}, and"
                f" {len(self.augment)} augmentations; leave views out where nothing is augmented"
            )

    def __len__(self) -> int:
        """Steps an epoch."""
        if self.drop_last:
            return len(self.data) // self.size
        return math.ceil(len(self.data) / self.size)

    @property
    def resident(self) -> bool:
        """Whether the images lie in memory, so that to cut a batch is nothing but tensors."""
        return not isinstance(self.data, Stored)

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
            number: of the epoch, from 0.
            start: the first step, up to ``len(self)``, which gives none.
        """
        drawn = self.drawn(number, start)
        if isinstance(self.data, Stored):
            return self._decoded(self.data, list(drawn), number)
        return (each.cut() for each in drawn)

    def _decoded(self, data: Stored, drawn: list["Drawn"], number: int) -> Iterator[Batch]:
        order = self._order(number)  # on the CPU, so that nothing waits for the device
        wanted = (order[each.part] for each in drawn)
        with closing(data.ahead(wanted, self._buffers)) as every:
            # by map, so that nothing here holds a batch, or its bytes, while the next is made
            yield from map(Drawn.cut, drawn, map(self._buffers.scaled, every))

    def drawn(self, number: int, start: int = 0) -> Iterator["Drawn"]:
        """As ``epoch``, for who cuts the batches by itself (``relatum.replay``)."""
        if number < 0 or not 0 <= start <= len(self):
            raise Fault(
                f"epochs count from 0 and steps from 0 to {len(self)};"
                f" got epoch {number}, step {start}"
            )
        return self._parts(self.plan(number), start)

    def plan(self, number: int) -> "Plan":
        """All that is random in one epoch."""
        order, view = self._order(number).to(self.data.device), self.view(number)
        # named apart, so that the views of a seed are not its first epochs
        of = ("epoch", number) if self.views is None else ("view", view)
        parameters = (
            augment.draw(len(self.data), generator(self.seed, *of, f"augment {place}"))
            for place, augment in enumerate(self.augment)
        )
        return Plan(number, order, tuple(each.to(order.device) for each in parameters), view)

    def view(self, number: int) -> int:
        """Which of a sample's augmented images an epoch shows: what its batches are marked by.

        The epochs from 1 on show views 0, 1, … in turn, all samples the same one: each sample's
        views are drawn apart, so that is as mixed as if every sample began with another.
        """
        return number if self.views is None else (number - 1) % self.views

    def cut(
        self,
        plan: "Plan",
        indices: Tensor,
        part: slice | None = None,
        shares: tuple[int, ...] | None = None,
        images: Images | None = None,
    ) -> Batch:
        """These samples, changed as the plan of an epoch has it.

        Args:
            plan: of the epoch.
            indices: of the samples, on the device of the set.
            part: where they lie in the set, if they lie there one after the other: no byte is
                then copied.
            shares: of all processes of the training, where they share the batch.
            images: as floats, where somebody has them already.
        """
        if images is None:
            images = self.data.float(indices if part is None else part)
        for augment, each in zip(self.augment, plan.parameters, strict=True):
            images = augment.apply(images, each.index_select(0, indices))
        return Batch(images, self._labels(indices, part), indices, plan.view, shares)

    def _generator(self, number: int, purpose: str) -> torch.Generator:
        return generator(self.seed, "epoch", number, purpose)

    def _order(self, number: int) -> Tensor:
        if not self.shuffle:
            return torch.arange(len(self.data))
        return torch.randperm(len(self.data), generator=self._generator(number, "order"))

    def _parts(self, plan: "Plan", start: int) -> Iterator["Drawn"]:
        for first in range(start * self.size, self.samples, self.size):
            length = min(self.size, self.samples - first)
            own = world.own(length) if self.shared else slice(0, length)
            part = slice(first + own.start, first + own.stop)
            yield Drawn(self, plan, part, world.shares(length) if self.shared else None)

    def _labels(self, indices: Tensor, part: slice | None) -> Tensor | None:
        if self.data.labels is None:
            return None
        labels = self.data.labels
        return labels.index_select(0, indices) if part is None else labels[part]


@dataclass(frozen=True, eq=False, slots=True)
class Plan:
    """What is drawn for one epoch, on the device of the set.

    Attributes:
        number: of the epoch.
        order: of the samples.
        parameters: of every augmentation, for all samples.
        view: which of the samples' augmented images these are.
    """

    number: int
    order: Tensor
    parameters: tuple[Tensor, ...]
    view: int

    def tensors(self) -> tuple[Tensor, ...]:
        """What ``Batches.cut`` reads of it: in two epochs of the same batches of one shape."""
        return self.parameters


@dataclass(frozen=True, eq=False, slots=True)
class Drawn:
    """A batch that was drawn, and not yet cut out of its set.

    Attributes:
        source: what it is drawn from.
        plan: of its epoch.
        part: where its samples lie in the order of the epoch.
        shares: as of ``Batch``.
    """

    source: Batches
    plan: Plan
    part: slice
    shares: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return int(self.part.stop - self.part.start)

    @property
    def whole(self) -> int:
        """As of ``Batch``."""
        return len(self) if self.shares is None else sum(self.shares)

    @property
    def indices(self) -> Tensor:
        """Its samples: a part of the plan's order, no copy of it."""
        return self.plan.order[self.part]

    def cut(self, images: Images | None = None) -> Batch:
        """The batch itself, out of its images where somebody has them already."""
        part = None if self.source.shuffle else self.part
        return self.source.cut(self.plan, self.indices, part, self.shares, images)
