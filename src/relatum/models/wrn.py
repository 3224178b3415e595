"""WRN, wide residual networks (Zagoruyko & Komodakis, BMVC 2016, arXiv 1605.07146), for 32 pixels.

A 3x3 stem of 16 channels and three stages of (depth - 4) / 6 pre-activation blocks; the second
and third stage halve the map; widths 16, 32, 64 times a factor. Batch norm and ReLU follow the
last block; the mean over that map (8x8 for images of 32 pixels) enters the linear classifier
``fc``.

Parameters bear the names that RepDistiller's networks give them, so its weights fit; counts and
multiply-adds below are for 3 x 32 x 32 images and 100 classes. The taps are those of
``relatum.models.stages``, in RepDistiller's convention: ``stem`` is the bare convolution and the
stages are **sums without a ReLU**, so they hold negative numbers; a preactivation is what the
batch norm behind a stage makes of it, which for all but the last is the first of the next stage.
"""

from itertools import pairwise

from torch import Tensor, nn

from relatum.models.initialise import he_fan_out
from relatum.models.stages import stage_taps
from relatum.taps import Tap, Taps
from relatum.types import Fault, Images, Logits


class PreactivationBlock(nn.Module):
    """Batch norm, ReLU, 3x3 convolution, twice, around which a shortcut leads.

    Where the width changes, the shortcut is a bare 1x1 convolution, and it too begins behind the
    first ReLU.
    """

    def __init__(self, entering: int, width: int, stride: int) -> None:
        super().__init__()
        self.widens = entering != width
        self.bn1 = nn.BatchNorm2d(entering)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(entering, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.convShortcut: nn.Module = nn.Identity()
        if self.widens:
            self.convShortcut = nn.Conv2d(entering, width, 1, stride, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps to maps: a sum, not activated."""
        active = self.relu1(self.bn1(maps))
        residual = self.conv2(self.relu2(self.bn2(self.conv1(active))))
        out: Tensor = residual + self.convShortcut(active if self.widens else maps)
        return out


class Group(nn.Module):
    """The blocks of one stage, under the name ``layer``."""

    def __init__(self, blocks: int, entering: int, width: int, stride: int) -> None:
        super().__init__()
        rest = (PreactivationBlock(width, width, 1) for _ in range(blocks - 1))
        self.layer = nn.Sequential(PreactivationBlock(entering, width, stride), *rest)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps to maps, not activated."""
        out: Tensor = self.layer(maps)
        return out


class WideResNet(nn.Module):
    """A WRN of any depth 6n + 4, without dropout.

    Args:
        depth: layers with weights, shortcuts not counted, the stem and the classifier counted.
        factor: how many times as wide as 16, 32, 64 the stages are.
        channels: of the images, which may have any size.
        classes: how many to tell apart.
    """

    taps: Taps
    norms: tuple[str, ...]

    def __init__(self, depth: int, factor: int, channels: int, classes: int) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 4, 6)
        if rest or blocks < 1:
            raise Fault(f"a WRN's depth is 6n + 4 (10, 16, 22, 28, 40 ...), got {depth}")
        widths = [16, 16 * factor, 32 * factor, 64 * factor]
        self.conv1 = nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)
        self.block1, self.block2, self.block3 = (
            Group(blocks, entering, width, stride)
            for (entering, width), stride in zip(pairwise(widths), (1, 2, 2), strict=True)
        )
        self.bn1 = nn.BatchNorm2d(widths[3])
        self.relu = nn.ReLU()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(widths[3], classes)
        he_fan_out(self)
        nn.init.zeros_(self.fc.bias)
        self.norms = ("block2.layer.0.bn1", "block3.layer.0.bn1", "bn1")
        self.taps = stage_taps(
            embedding=Tap("fc", "input"),
            stem=Tap("conv1"),
            stages=map(Tap, ("block1", "block2", "block3")),
            preactivations=map(Tap, self.norms),
            final=Tap("relu"),
        )

    def forward(self, images: Images) -> Logits:
        """Images, normalised, to logits."""
        maps = self.block3(self.block2(self.block1(self.conv1(images))))
        maps = self.relu(self.bn1(maps))
        logits: Tensor = self.fc(self.flatten(self.avgpool(maps)))
        return logits


def wrn_16_1(channels: int = 3, classes: int = 100) -> WideResNet:
    """Stages of 2 blocks, widths 16, 32, 64: 180,916 parameters, 26.7 million multiply-adds."""
    return WideResNet(16, 1, channels, classes)


def wrn_16_2(channels: int = 3, classes: int = 100) -> WideResNet:
    """Stages of 2 blocks, widths 32, 64, 128: 703,284 parameters, 101.1 million multiply-adds."""
    return WideResNet(16, 2, channels, classes)


def wrn_40_1(channels: int = 3, classes: int = 100) -> WideResNet:
    """Stages of 6 blocks, widths 16, 32, 64: 569,780 parameters, 83.3 million multiply-adds."""
    return WideResNet(40, 1, channels, classes)


def wrn_40_2(channels: int = 3, classes: int = 100) -> WideResNet:
    """Stages of 6 blocks, widths 32, 64, 128: 2,255,156 parameters, 327.6 million multiply-adds."""
    return WideResNet(40, 2, channels, classes)
