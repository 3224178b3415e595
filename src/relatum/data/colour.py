"""Random changes of colour, of whole batches."""

from dataclasses import dataclass

import torch
from torch import Tensor

from relatum.types import Fault, Images

LUMA = (0.2989, 0.587, 0.114)
"""How bright red, green and blue are, as in torchvision (ITU-R 601)."""


@dataclass(frozen=True)
class Jitter:
    """Change brightness, contrast and saturation, each by a factor of its own.

    As torchvision's ``ColorJitter`` without hue, but always in this order, not in a random one.
    Grey images (one channel) keep their saturation.

    Args:
        brightness: factors are uniform in 1 ± this; 0.4 of each is what ImageNet's recipes use.
        contrast: likewise, away from the mean grey of the image.
        saturation: likewise, away from the grey of each pixel.
    """

    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation"):
            if not 0 <= getattr(self, name) <= 1:
                raise Fault(f"{name} changes by 0 to 1, got {getattr(self, name)}")

    def draw(self, samples: int, generator: torch.Generator) -> Tensor:
        """The three factors of each sample."""
        spread = torch.tensor([self.brightness, self.contrast, self.saturation])
        return 1 + spread * (2 * torch.rand(samples, 3, generator=generator) - 1)

    def apply(self, images: Images, parameters: Tensor) -> Images:
        """One change after the other; what leaves [0, 1] is cut off, as in torchvision."""
        brightness, contrast, saturation = parameters.to(images.dtype)[..., None, None].unbind(1)
        images = (images * brightness[:, None]).clamp(0, 1)
        mean = _grey(images).mean((2, 3), keepdim=True)
        images = (mean + (images - mean) * contrast[:, None]).clamp(0, 1)
        if images.shape[1] != len(LUMA):
            return images
        grey = _grey(images)
        return (grey + (images - grey) * saturation[:, None]).clamp(0, 1)


def _grey(images: Images) -> Tensor:
    """How bright each pixel is, in one channel."""
    if images.shape[1] != len(LUMA):
        return images.mean(1, keepdim=True)
    red, green, blue = images.unbind(1)
    return (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue)[:, None]
