"""An image set that lies whole on one device, as the bytes that it was published in."""

from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from relatum.data.image_set import ImageSet
from relatum.data.seeds import generator
from relatum.types import Fault, Images

Some = TypeVar("Some", bound=ImageSet)


@dataclass(frozen=True, eq=False)
class Resident:
    """Images as bytes, and their labels where there are any.

    Attributes:
        images: uint8, samples × channels × height × width.
        labels: an int64 class for each, or ``None``.
        names: of the files that they come from, as paths below the set's folder, or ``None``.
        places: where each lies in the set that this is a part of; as they lie here, where ``None``.

    Raises:
        Fault: another type or number of axes, or not one label, name or place for each image.

    Example:
        >>> data = Resident(torch.zeros(5, 1, 8, 8, dtype=torch.uint8), torch.arange(5))
        >>> len(data), data.shape
        (5, (1, 8, 8))
    """

    images: UInt8[Tensor, "samples channel height width"]
    labels: Int64[Tensor, " samples"] | None = None
    names: tuple[str, ...] | None = None
    places: Int64[Tensor, " samples"] | None = None

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise Fault(
                "images are uint8 with axes for samples, channels, height and width; got"
                f" {_words(self.images)}; scale floats in [0, 1] by 255, round and call .byte()"
            )
        for what, each in (("names", self.names), ("places", self.places)):
            if each is not None and len(each) != len(self.images):
                raise Fault(f"{len(self.images):,} images have {len(each):,} {what}; give each one")
        if self.labels is None:
            return
        if self.labels.dtype != torch.int64 or self.labels.ndim != 1:
            raise Fault(
                f"labels are int64, one class a sample; got {_words(self.labels)};"
                " call .long(), and .argmax(1) first on one-hot rows"
            )
        if len(self.labels) != len(self.images):
            raise Fault(
                f"{len(self.images):,} images have {len(self.labels):,} labels;"
                " every image needs one, or pass None for a set without labels"
            )
        if self.labels.device != self.images.device:
            raise Fault(
                f"images lie on {self.images.device} and labels on {self.labels.device};"
                " move both to one device"
            )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        _, channels, height, width = self.images.shape
        return channels, height, width

    @property
    def device(self) -> torch.device:
        """Where the images lie."""
        return self.images.device

    def to(self, device: torch.device | str) -> "Resident":
        """The same set on another device."""
        labels = None if self.labels is None else self.labels.to(device)
        return replace(self, images=self.images.to(device), labels=labels)

    def take(self, indices: Int64[Tensor, " some"]) -> "Resident":
        """These samples, in this order."""
        indices = indices.to(self.images.device)
        labels = None if self.labels is None else self.labels.index_select(0, indices)
        there = indices.cpu()
        names = None if self.names is None else tuple(self.names[each] for each in there.tolist())
        places = there if self.places is None else self.places[there]
        return Resident(self.images.index_select(0, indices), labels, names, places)

    def unlabelled(self) -> "Resident":
        """The same images without labels."""
        return replace(self, labels=None)

    def pixels(
        self, which: Int64[Tensor, " some"] | slice
    ) -> UInt8[Tensor, "some channel height width"]:
        """These images as bytes.

        Args:
            which: indices on the device of the images, or a slice, which copies no bytes.
        """
        return (
            self.images[which] if isinstance(which, slice) else self.images.index_select(0, which)
        )

    def float(self, which: Int64[Tensor, " some"] | slice) -> Images:
        """These images as float32 in [0, 1]: bytes divided by 255, as torchvision does it.

        Args:
            which: indices on the device of the images, or a slice.
        """
        return self.pixels(which) / 255


def cut(data: Some, share: float, seed: int) -> tuple[Some, Some]:
    """Part a set in two: the rest, and ``round(share × samples)`` of its samples.

    Classes keep their proportions as evenly as whole samples allow (largest remainders).
    Both parts keep the order of the set, lie on its device and share no sample.

    Args:
        data: what to part.
        share: of the second part, between 0 and 1.
        seed: which samples; the same seed gives the same parts on every machine.

    Raises:
        Fault: a share outside (0, 1), or so few samples that a part would be empty.

    Example:
        >>> train = Resident(torch.zeros(50, 1, 8, 8, dtype=torch.uint8), torch.arange(50) % 10)
        >>> rest, part = cut(train, share=0.2, seed=0)
        >>> len(rest), part.labels.bincount().tolist()
        (40, [1, 1, 1, 1, 1, 1, 1, 1, 1, 1])
    """
    if not 0 < share < 1:
        raise Fault(f"the share of a part lies between 0 and 1, got {share}")
    wanted = round(share * len(data))
    if not 0 < wanted < len(data):
        raise Fault(
            f"a share of {share} of {len(data)} samples leaves one part empty;"
            " use more samples or another share"
        )
    order = torch.randperm(len(data), generator=generator(seed, "cut"))
    if data.labels is None:
        chosen = order[:wanted]
    else:
        chosen = _stratified(order, data.labels.cpu()[order], wanted)
    inside = torch.zeros(len(data), dtype=torch.bool)
    inside[chosen] = True
    return data.take((~inside).nonzero()[:, 0]), data.take(inside.nonzero()[:, 0])


def _stratified(order: Tensor, labels: Tensor, wanted: int) -> Tensor:
    """The first of each class in this order, as many as its part of what is wanted."""
    classes, sizes = labels.unique(return_counts=True)  # type: ignore[no-untyped-call]
    # Whole numbers, so that no rounding decides who gets a sample more.
    quotas, remainders = sizes * wanted // len(order), sizes * wanted % len(order)
    missing = wanted - int(quotas.sum())
    quotas[remainders.argsort(descending=True, stable=True)[:missing]] += 1
    parts = [
        order[labels == each][:quota]
        for each, quota in zip(classes.tolist(), quotas.tolist(), strict=True)
    ]
    return torch.cat(parts)


def _words(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"
