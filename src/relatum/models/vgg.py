"""VGG with batch norm (Simonyan & Zisserman, ICLR 2015, arXiv 1409.1556), for images of 32 pixels.

Five blocks of 3x3 convolutions (with bias), each followed by batch norm and ReLU; a max-pool
halves the map behind each of the first three, and behind the fourth too for images of 64 pixels
or more. The mean over the last map (4x4 for images of 32 pixels) enters the linear
``classifier``: the two hidden layers of the original are not there.

Parameters bear the names that RepDistiller's networks give them, so its weights fit; counts and
multiply-adds below are for 3 x 32 x 32 images and 100 classes. The taps are those of
``relatum.models.stages``: the first block is the stem, the other four are the stages, after the
ReLU; preactivations are what the last batch norm of a block gives that ReLU.
"""

from torch import Tensor, nn

from relatum.models.initialise import he_fan_out, narrow_normal
from relatum.models.stages import stage_taps
from relatum.taps import Tap, Taps
from relatum.types import Images, Logits

WIDTHS = (64, 128, 256, 512, 512)
FOURTH_POOL_FROM = 64


class VGG(nn.Module):
    """A VGG of five blocks.

    Args:
        depths: convolutions in each block.
        channels: of the images.
        size: their height and width, in pixels, 8 or more: from 64 on the map is halved a fourth
            time. RepDistiller asks at every forward whether the height is 64.
        classes: how many to tell apart.
    """

    taps: Taps
    norms: tuple[str, ...]

    def __init__(
        self, depths: tuple[int, int, int, int, int], channels: int, size: int, classes: int
    ) -> None:
        super().__init__()
        self.block0 = _block(depths[0], channels, WIDTHS[0])
        self.block1 = _block(depths[1], WIDTHS[0], WIDTHS[1])
        self.block2 = _block(depths[2], WIDTHS[1], WIDTHS[2])
        self.block3 = _block(depths[3], WIDTHS[2], WIDTHS[3])
        self.block4 = _block(depths[4], WIDTHS[3], WIDTHS[4])
        self.relu0, self.relu1, self.relu2, self.relu3, self.relu4 = (nn.ReLU() for _ in depths)
        self.pool0, self.pool1, self.pool2 = (nn.MaxPool2d(2) for _ in range(3))
        self.pool3 = nn.MaxPool2d(2) if size >= FOURTH_POOL_FROM else nn.Identity()
        self.pool4 = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(WIDTHS[-1], classes)
        he_fan_out(self)
        narrow_normal(self.classifier)
        stages = range(1, len(depths))
        self.taps = stage_taps(
            embedding=Tap("classifier", "input"),
            stem=Tap("relu0"),
            stages=(Tap(f"relu{place}") for place in stages),
            preactivations=(Tap(f"relu{place}", "input") for place in stages),
        )
        self.norms = tuple(f"block{place}.{3 * depths[place] - 2}" for place in stages)

    def forward(self, images: Images) -> Logits:
        """Images, normalised, to logits."""
        maps = self.pool0(self.relu0(self.block0(images)))
        maps = self.pool1(self.relu1(self.block1(maps)))
        maps = self.pool2(self.relu2(self.block2(maps)))
        maps = self.pool3(self.relu3(self.block3(maps)))
        maps = self.pool4(self.relu4(self.block4(maps)))
        logits: Tensor = self.classifier(self.flatten(maps))
        return logits


def _block(depth: int, entering: int, width: int) -> nn.Sequential:
    """Convolutions with batch norm and ReLU between them; the last ReLU is the network's."""
    layers: list[nn.Module] = []
    for place in range(depth):
        layers.append(nn.Conv2d(width if place else entering, width, 3, padding=1))
        layers += [nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def vgg8(channels: int = 3, size: int = 32, classes: int = 100) -> VGG:
    """One convolution a block: 3,965,028 parameters, 96.2 million multiply-adds."""
    return VGG((1, 1, 1, 1, 1), channels, size, classes)


def vgg11(channels: int = 3, size: int = 32, classes: int = 100) -> VGG:
    """1, 1, 2, 2, 2 convolutions: 9,277,284 parameters."""
    return VGG((1, 1, 2, 2, 2), channels, size, classes)


def vgg13(channels: int = 3, size: int = 32, classes: int = 100) -> VGG:
    """Two convolutions a block: 9,462,180 parameters, 284.9 million multiply-adds."""
    return VGG((2, 2, 2, 2, 2), channels, size, classes)


def vgg16(channels: int = 3, size: int = 32, classes: int = 100) -> VGG:
    """2, 2, 3, 3, 3 convolutions: 14,774,436 parameters."""
    return VGG((2, 2, 3, 3, 3), channels, size, classes)


def vgg19(channels: int = 3, size: int = 32, classes: int = 100) -> VGG:
    """2, 2, 4, 4, 4 convolutions: 20,086,692 parameters."""
    return VGG((2, 2, 4, 4, 4), channels, size, classes)
