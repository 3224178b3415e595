"""Random crops that are resized: what networks for photographs are trained with."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from relatum.types import Fault, Images

TRIES = 10
"""Rectangles that are tried for each image, as in torchvision."""


@dataclass(frozen=True)
class ResizedCrop:
    """Cut out a rectangle of any place, size and proportions, and resize it to the whole image.

    As torchvision's ``RandomResizedCrop``: a share of the area, uniform in ``scale``; proportions,
    uniform in their logarithm; ten tries, and if none fits the whole image in the nearest
    proportions that it has. It differs in this: rectangles begin between pixels, not on them; and
    it cuts from the square that the set is stored as, not from the whole file, so the set's
    ``image_size`` is what bounds the detail. A crop is never larger than what comes out, so it is
    only ever enlarged (bilinear), and needs no antialias.

    Args:
        scale: share of the area, least and most; 0.08 to 1 is ImageNet's (Szegedy et al. 2015).
        ratio: width over height, least and most.
    """

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise Fault(f"a crop has a share of the area, over 0 and up to 1; got {self.scale}")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise Fault(f"proportions go from the least to the most, over 0; got {self.ratio}")

    def draw(self, samples: int, generator: torch.Generator) -> Tensor:
        """Of each rectangle the left end, the top, the width and the height, as shares."""
        tried = torch.rand(samples, TRIES, 2, generator=generator)
        placed = torch.rand(samples, 2, generator=generator)
        area = self.scale[0] + (self.scale[1] - self.scale[0]) * tried[..., 0]
        low, high = (math.log(each) for each in self.ratio)
        ratio = (low + (high - low) * tried[..., 1]).exp()
        sizes = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()], -1)
        fits = (sizes <= 1).all(-1)
        first = fits.int().argmax(1)  # the first that fits, or the first of all
        size = sizes[torch.arange(samples), first]
        middle = min(max(1.0, self.ratio[0]), self.ratio[1])
        whole = torch.tensor([min(middle, 1.0), min(1 / middle, 1.0)])
        size = torch.where(fits.any(1, keepdim=True), size, whole)
        centred = torch.where(fits.any(1, keepdim=True), placed, torch.full_like(placed, 0.5))
        return torch.cat([centred * (1 - size), size], 1)

    def apply(self, images: Images, parameters: Tensor) -> Images:
        """One sampling of all rectangles, each at the points that its own pixels have."""
        height, width = images.shape[-2:]
        across = (torch.arange(width, device=images.device) + 0.5) / width
        down = (torch.arange(height, device=images.device) + 0.5) / height
        left, top, wide, high = (each[:, None] for each in parameters.to(images.dtype).unbind(1))
        # Shares of the image run from 0 to 1 and grid_sample's from -1 to 1, both between edges.
        columns, rows = (left + wide * across) * 2 - 1, (top + high * down) * 2 - 1
        grid = torch.stack(
            [
                columns[:, None, :].expand(-1, height, -1),
                rows[:, :, None].expand(-1, -1, width),
            ],
            -1,
        )
        return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
