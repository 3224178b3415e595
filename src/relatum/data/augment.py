"""Augmentations of whole batches on the device, whose randomness is drawn a sample at a time.

The parameters of all samples are drawn on the CPU when an epoch begins, and batches only index
them: what happens to a sample does not depend on the batch that it lands in.
"""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from relatum.data.colour import Jitter
from relatum.data.resized_crop import ResizedCrop
from relatum.types import Fault, Images


class Augment(Protocol):
    """What an augmentation is: any object with these two methods."""

    def draw(self, samples: int, generator: torch.Generator) -> Tensor:
        """Parameters on the CPU whose first axis is the samples of the set."""

    def apply(self, images: Images, parameters: Tensor) -> Images:
        """Change a batch, given the parameters of just these images, on their device.

        It must loop over no samples and read no value back to the CPU.
        """


@dataclass(frozen=True)
class Crop:
    """Shift by up to ``padding`` pixels each way; black comes in from the side.

    Black is 0.0 before normalisation, as in torchvision's ``RandomCrop`` before ``ToTensor``.

    Args:
        padding: pixels on every side; 4 is what CIFAR's protocols use.
    """

    padding: int = 4

    def __post_init__(self) -> None:
        if self.padding < 1:
            raise Fault(f"a crop is padded by at least one pixel, got {self.padding}")

    def draw(self, samples: int, generator: torch.Generator) -> Tensor:
        """Row and column of the top left corner in the padded image."""
        return torch.randint(2 * self.padding + 1, (samples, 2), generator=generator)

    def apply(self, images: Images, parameters: Tensor) -> Images:
        """One gather out of the view of all windows, which takes no memory."""
        height, width = images.shape[-2:]
        padded = F.pad(images, (self.padding,) * 4)
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)
        places = torch.arange(len(images), device=images.device)
        return windows[places, :, parameters[:, 0], parameters[:, 1]]


@dataclass(frozen=True)
class Flip:
    """Mirror left and right with this probability."""

    probability: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise Fault(f"a probability lies between 0 and 1, got {self.probability}")

    def draw(self, samples: int, generator: torch.Generator) -> Tensor:
        """Whether each sample is mirrored."""
        return torch.rand(samples, generator=generator) < self.probability

    def apply(self, images: Images, parameters: Tensor) -> Images:
        """Mirror those chosen."""
        return torch.where(parameters.view(-1, 1, 1, 1), images.flip(-1), images)


AUGMENTS: dict[str, Callable[[], Augment]] = {
    "crop": Crop,
    "flip": Flip,
    "rrc": ResizedCrop,
    "jitter": Jitter,
}


def augmentations(names: tuple[str, ...]) -> tuple[Augment, ...]:
    """Augmentations by name, with their defaults, in this order.

    Example:
        >>> augmentations(("crop", "flip"))
        (Crop(padding=4), Flip(probability=0.5))
    """
    for name in names:
        if name not in AUGMENTS:
            near = get_close_matches(name, AUGMENTS, n=1, cutoff=0.0)
            raise Fault(
                f"no augmentation is called {name!r}; the nearest is {near[0]!r},"
                f" and there are {', '.join(AUGMENTS)}"
            )
    return tuple(AUGMENTS[name]() for name in names)
