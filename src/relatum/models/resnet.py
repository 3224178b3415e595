"""Residual networks for images of 32 pixels (He et al. 2016), as the CRD benchmark has them.

A 3x3 stem and three stages of (depth - 2) / 6 basic blocks; the second and third stage halve
the map; widths 16, 32, 64, in the wide "x4" family 64, 128, 256 behind a stem of 32. Where a
shape changes the shortcut is a 1x1 convolution with batch norm. ReLU follows the sum; the mean
over the last map (8x8 for images of 32 pixels) enters the linear classifier ``fc``.

Parameters bear the names that RepDistiller's networks give them, so its weights fit.
Parameters and multiply-adds below are for 3 x 32 x 32 images and 100 classes. The taps are those
of ``relatum.models.stages``: stem and stages after their ReLU, preactivations before it.
"""

from torch import Tensor, nn

from relatum.models.initialise import he_fan_out
from relatum.models.stages import stage_taps
from relatum.taps import Tap, Taps
from relatum.types import Fault, Images, Logits

NARROW = (16, 16, 32, 64)
WIDE = (32, 64, 128, 256)


class Block(nn.Module):
    """Two 3x3 convolutions around which a shortcut leads; every ReLU runs once."""

    def __init__(self, entering: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(entering, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or entering != width:
            self.downsample = nn.Sequential(
                nn.Conv2d(entering, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )
        self.relu2 = nn.ReLU()

    def forward(self, maps: Tensor) -> Tensor:
        """Maps to maps, after the sum's ReLU."""
        residual = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(maps)))))
        out: Tensor = self.relu2(residual + self.downsample(maps))
        return out


class ResNet(nn.Module):
    """A CIFAR ResNet of any depth 6n + 2.

    Args:
        depth: layers with weights, shortcuts not counted.
        widths: channels of the stem and of the three stages.
        channels: of the images, which may have any size.
        classes: how many to tell apart.

    The ``norms`` are those of each last block's residual branch, which the shortcut joins.
    """

    taps: Taps
    norms: tuple[str, ...]

    def __init__(
        self, depth: int, widths: tuple[int, int, int, int], channels: int, classes: int
    ) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 2, 6)
        if rest or blocks < 1:
            raise Fault(f"a CIFAR ResNet's depth is 6n + 2 (8, 14, 20, 26 ...), got {depth}")
        stem, first, second, third = widths
        self.conv1 = nn.Conv2d(channels, stem, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU()
        self.layer1 = _stage(blocks, stem, first, 1)
        self.layer2 = _stage(blocks, first, second, 2)
        self.layer3 = _stage(blocks, second, third, 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(third, classes)
        he_fan_out(self)
        stages = ("layer1", "layer2", "layer3")
        last = [f"{stage}.{blocks - 1}" for stage in stages]
        self.taps = stage_taps(
            embedding=Tap("fc", "input"),
            stem=Tap("relu"),
            stages=map(Tap, stages),
            preactivations=(Tap(f"{block}.relu2", "input") for block in last),
        )
        self.norms = tuple(f"{block}.bn2" for block in last)

    def forward(self, images: Images) -> Logits:
        """Images, normalised, to logits."""
        maps = self.relu(self.bn1(self.conv1(images)))
        maps = self.layer3(self.layer2(self.layer1(maps)))
        logits: Tensor = self.fc(self.flatten(self.avgpool(maps)))
        return logits


def _stage(blocks: int, entering: int, width: int, stride: int) -> nn.Sequential:
    rest = (Block(width, width, 1) for _ in range(blocks - 1))
    return nn.Sequential(Block(entering, width, stride), *rest)


def resnet8(channels: int = 3, classes: int = 100) -> ResNet:
    """Stages of 1 block, widths 16, 32, 64: 83,892 parameters."""
    return ResNet(8, NARROW, channels, classes)


def resnet14(channels: int = 3, classes: int = 100) -> ResNet:
    """Stages of 2 blocks, widths 16, 32, 64: 181,108 parameters."""
    return ResNet(14, NARROW, channels, classes)


def resnet20(channels: int = 3, classes: int = 100) -> ResNet:
    """Stages of 3 blocks, widths 16, 32, 64: 278,324 parameters, 40.8 million multiply-adds."""
    return ResNet(20, NARROW, channels, classes)


def resnet32(channels: int = 3, classes: int = 100) -> ResNet:
    """Stages of 5 blocks, widths 16, 32, 64: 472,756 parameters, 69.1 million multiply-adds."""
    return ResNet(32, NARROW, channels, classes)


def resnet44(channels: int = 3, classes: int = 100) -> ResNet:
    """Stages of 7 blocks, widths 16, 32, 64: 667,188 parameters."""
    return ResNet(44, NARROW, channels, classes)


def resnet56(channels: int = 3, classes: int = 100) -> ResNet:
    """Stages of 9 blocks, widths 16, 32, 64: 861,620 parameters, 125.8 million multiply-adds."""
    return ResNet(56, NARROW, channels, classes)


def resnet110(channels: int = 3, classes: int = 100) -> ResNet:
    """Stages of 18 blocks, widths 16, 32, 64: 1,736,564 parameters, 253.2 million multiply-adds."""
    return ResNet(110, NARROW, channels, classes)


def resnet8x4(channels: int = 3, classes: int = 100) -> ResNet:
    """Stages of 1 block, widths 64, 128, 256: 1,233,540 parameters, 177.1 million multiply-adds."""
    return ResNet(8, WIDE, channels, classes)


def resnet32x4(channels: int = 3, classes: int = 100) -> ResNet:
    """Stages of 5 blocks, widths 64, 128, 256: 7,433,860 parameters, 1.08 billion multiply-adds."""
    return ResNet(32, WIDE, channels, classes)
