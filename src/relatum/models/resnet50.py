"""ResNet-50 for images of 32 pixels (He et al. 2016), the benchmark's ``ResNet50``.

Not torchvision's: the stem is a 3x3 convolution of 64 channels with stride 1, and no max-pool
follows. Four stages of 3, 4, 6, 3 bottlenecks, widths 256, 512, 1024, 2048; all but the first
halve the map. Where a shape changes the shortcut is a 1x1 convolution with batch norm. ReLU
follows the sum; the mean over the last map (4x4 for images of 32 pixels) enters the linear
classifier ``linear``.

Parameters bear the names that RepDistiller's network gives them, so its weights fit. The taps
are those of ``relatum.models.stages``: stem and stages after their ReLU, preactivations before it.
"""

from torch import Tensor, nn

from relatum.models.initialise import he_fan_out
from relatum.models.stages import stage_taps
from relatum.taps import Tap, Taps
from relatum.types import Images, Logits

EXPANSION = 4


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions around which a shortcut leads; every ReLU runs once."""

    def __init__(self, entering: int, inner: int, stride: int) -> None:
        super().__init__()
        width = EXPANSION * inner
        self.conv1 = nn.Conv2d(entering, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(inner, width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or entering != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(entering, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )
        self.relu3 = nn.ReLU()

    def forward(self, maps: Tensor) -> Tensor:
        """Maps to maps, after the sum's ReLU."""
        narrow = self.relu1(self.bn1(self.conv1(maps)))
        residual = self.bn3(self.conv3(self.relu2(self.bn2(self.conv2(narrow)))))
        out: Tensor = self.relu3(residual + self.shortcut(maps))
        return out


class BottleneckResNet(nn.Module):
    """A ResNet of four stages of bottlenecks.

    Args:
        blocks: bottlenecks in each stage.
        channels: of the images, which may have any size.
        classes: how many to tell apart.

    The ``norms`` are those of each last block's residual branch, which the shortcut joins.
    """

    taps: Taps
    norms: tuple[str, ...]

    def __init__(self, blocks: tuple[int, int, int, int], channels: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.layer1 = _stage(blocks[0], 64, 64, 1)
        self.layer2 = _stage(blocks[1], 256, 128, 2)
        self.layer3 = _stage(blocks[2], 512, 256, 2)
        self.layer4 = _stage(blocks[3], 1024, 512, 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(2048, classes)
        he_fan_out(self)
        stages = ("layer1", "layer2", "layer3", "layer4")
        last = [f"{stage}.{count - 1}" for stage, count in zip(stages, blocks, strict=True)]
        self.taps = stage_taps(
            embedding=Tap("linear", "input"),
            stem=Tap("relu"),
            stages=map(Tap, stages),
            preactivations=(Tap(f"{block}.relu3", "input") for block in last),
        )
        self.norms = tuple(f"{block}.bn3" for block in last)

    def forward(self, images: Images) -> Logits:
        """Images, normalised, to logits."""
        maps = self.relu(self.bn1(self.conv1(images)))
        maps = self.layer4(self.layer3(self.layer2(self.layer1(maps))))
        logits: Tensor = self.linear(self.flatten(self.avgpool(maps)))
        return logits


def _stage(blocks: int, entering: int, inner: int, stride: int) -> nn.Sequential:
    rest = (Bottleneck(EXPANSION * inner, inner, 1) for _ in range(blocks - 1))
    return nn.Sequential(Bottleneck(entering, inner, stride), *rest)


def resnet50_cifar(channels: int = 3, classes: int = 100) -> BottleneckResNet:
    """Stages of 3, 4, 6, 3 bottlenecks: 23,705,252 parameters, 1.30 billion multiply-adds.

    Counted for 3 x 32 x 32 images and 100 classes.
    """
    return BottleneckResNet((3, 4, 6, 3), channels, classes)
