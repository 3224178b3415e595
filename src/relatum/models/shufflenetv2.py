"""ShuffleNetV2 (Ma et al., ECCV 2018, arXiv 1807.11164) of width 1, for images of 32 pixels.

A 1x1 stem of 24 channels; three stages, each of a block that halves the map and 3, 7, 3 blocks
that work on half the channels, widths 116, 232, 464; a 1x1 convolution to 1024 channels, over
whose mean (4x4 for images of 32 pixels) stands the linear classifier ``linear``. Weights start
as PyTorch draws them.

Parameters bear the names that RepDistiller's network gives them, so its weights fit. The taps
are those of ``relatum.models.stages``: stem and stages after their ReLU, preactivations before
that of the last block. There the first half of the channels passed ReLUs before, and the two
halves are **not yet shuffled** (RepDistiller's convention). ``maps`` is the last stage, 464
channels wide; the 1x1 convolution behind it forms the embedding.
"""

import torch
from torch import Tensor, nn

from relatum.models.stages import stage_taps
from relatum.taps import Tap, Taps
from relatum.types import Images, Logits

STEM = 24
WIDTHS = (116, 232, 464)
BLOCKS = (3, 7, 3)
LAST = 1024


class HalvingBlock(nn.Module):
    """Two branches of stride 2 side by side, then a shuffle; each makes half of the channels."""

    def __init__(self, entering: int, width: int) -> None:
        super().__init__()
        half = width // 2
        self.conv1 = nn.Conv2d(entering, entering, 3, 2, padding=1, groups=entering, bias=False)
        self.bn1 = nn.BatchNorm2d(entering)
        self.conv2 = nn.Conv2d(entering, half, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(half)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(entering, half, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(half)
        self.relu3 = nn.ReLU()
        self.conv4 = nn.Conv2d(half, half, 3, 2, padding=1, groups=half, bias=False)
        self.bn4 = nn.BatchNorm2d(half)
        self.conv5 = nn.Conv2d(half, half, 1, bias=False)
        self.bn5 = nn.BatchNorm2d(half)
        self.relu5 = nn.ReLU()
        self.shuffle = nn.ChannelShuffle(2)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps to maps of half the height and width, after ReLU."""
        left = self.relu2(self.bn2(self.conv2(self.bn1(self.conv1(maps)))))
        right = self.bn4(self.conv4(self.relu3(self.bn3(self.conv3(maps)))))
        right = self.relu5(self.bn5(self.conv5(right)))
        out: Tensor = self.shuffle(torch.cat([left, right], 1))
        return out


class SplitBlock(nn.Module):
    """Work on the second half of the channels, then a shuffle; the first half passes by.

    The last ReLU sees both halves. It leaves the first as it is, which has passed a ReLU before,
    and its input is the block before activation as a whole.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.conv1 = nn.Conv2d(half, half, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(half)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(half, half, 3, padding=1, groups=half, bias=False)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = nn.Conv2d(half, half, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(half)
        self.relu3 = nn.ReLU()
        self.shuffle = nn.ChannelShuffle(2)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps to maps, after ReLU."""
        passing, entering = maps.chunk(2, 1)
        made = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(entering)))))
        made = self.bn3(self.conv3(made))
        out: Tensor = self.shuffle(self.relu3(torch.cat([passing, made], 1)))
        return out


class ShuffleNetV2(nn.Module):
    """A ShuffleNetV2 of width 1.

    Args:
        channels: of the images, which may have any size.
        classes: how many to tell apart.

    No ``norms``: no batch norm forms all channels of a preactivation, half of them pass by.
    """

    taps: Taps
    norms: tuple[str, ...]

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, STEM, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM)
        self.relu = nn.ReLU()
        self.layer1 = _stage(BLOCKS[0], STEM, WIDTHS[0])
        self.layer2 = _stage(BLOCKS[1], WIDTHS[0], WIDTHS[1])
        self.layer3 = _stage(BLOCKS[2], WIDTHS[1], WIDTHS[2])
        self.conv2 = nn.Conv2d(WIDTHS[2], LAST, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(LAST)
        self.relu2 = nn.ReLU()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(LAST, classes)
        stages = ("layer1", "layer2", "layer3")
        last = (f"{stage}.{count}" for stage, count in zip(stages, BLOCKS, strict=True))
        self.taps = stage_taps(
            embedding=Tap("linear", "input"),
            stem=Tap("relu"),
            stages=map(Tap, stages),
            preactivations=(Tap(f"{block}.relu3", "input") for block in last),
            final=Tap("relu2"),
        )
        self.norms = ()

    def forward(self, images: Images) -> Logits:
        """Images, normalised, to logits."""
        maps = self.relu(self.bn1(self.conv1(images)))
        maps = self.layer3(self.layer2(self.layer1(maps)))
        maps = self.relu2(self.bn2(self.conv2(maps)))
        logits: Tensor = self.linear(self.flatten(self.avgpool(maps)))
        return logits


def _stage(blocks: int, entering: int, width: int) -> nn.Sequential:
    return nn.Sequential(HalvingBlock(entering, width), *(SplitBlock(width) for _ in range(blocks)))


def shufflenetv2(channels: int = 3, classes: int = 100) -> ShuffleNetV2:
    """Widths 116, 232, 464: 1,355,528 parameters, 44.5 million multiply-adds.

    Counted for 3 x 32 x 32 images and 100 classes. RepDistiller's ``ShuffleV2``.
    """
    return ShuffleNetV2(channels, classes)
