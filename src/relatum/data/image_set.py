"""What batches are cut from: images that lie somewhere, and can be had in any order."""

from typing import Protocol, Self, runtime_checkable

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from relatum.types import Images


@runtime_checkable
class ImageSet(Protocol):
    """Images of one size, and their labels: ``Resident`` holds them, ``Stored`` decodes them."""

    @property
    def images(self) -> UInt8[Tensor, "samples channel height width"]:
        """All of them, which a ``Stored`` refuses: ask ``pixels`` or ``float`` for some."""
        ...

    @property
    def labels(self) -> Int64[Tensor, " samples"] | None:
        """A class for each, on the device, or ``None``."""
        ...

    @property
    def names(self) -> tuple[str, ...] | None:
        """Of the files that they come from, or ``None``."""
        ...

    @property
    def places(self) -> Int64[Tensor, " samples"] | None:
        """Where each lies in the set that this is a part of; as they lie here, where ``None``."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the images come out."""
        ...

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        ...

    def __len__(self) -> int:
        """How many there are."""
        ...

    def to(self, device: torch.device | str) -> Self:
        """The same set on another device."""
        ...

    def take(self, indices: Int64[Tensor, " some"]) -> Self:
        """These samples, in this order."""
        ...

    def unlabelled(self) -> Self:
        """The same images without labels."""
        ...

    def pixels(
        self, which: Int64[Tensor, " some"] | slice
    ) -> UInt8[Tensor, "some channel height width"]:
        """These images as bytes."""
        ...

    def float(self, which: Int64[Tensor, " some"] | slice) -> Images:
        """These images as float32 in [0, 1]."""
        ...
