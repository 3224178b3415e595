"""ShuffleNetV1 (Zhang et al., CVPR 2018, arXiv 1707.01083) of three groups, for 32 pixels.

A 1x1 stem of 24 channels and three stages of 4, 8, 4 blocks, widths 240, 480, 960; the first
block of a stage halves the map. ReLU follows the sum; the mean over the last map (4x4 for images
of 32 pixels) enters the linear classifier ``linear``. Weights start as PyTorch draws them.

Parameters bear the names that RepDistiller's network gives them, so its weights fit. The taps
are those of ``relatum.models.stages``: stem and stages after their ReLU, preactivations before it.
"""

import torch
from torch import Tensor, nn

from relatum.models.stages import stage_taps
from relatum.taps import Tap, Taps
from relatum.types import Images, Logits

STEM = 24
WIDTHS = (240, 480, 960)
BLOCKS = (4, 8, 4)


class GroupedBlock(nn.Module):
    """1x1 in groups, shuffle, 3x3 channel by channel, 1x1 in groups, and a shortcut.

    Of stride 1 it adds its input. Of stride 2 it puts its input's means of 3x3 pixels behind its
    own channels, which are fewer by as many. The first convolution behind the stem has one group.
    """

    def __init__(self, entering: int, width: int, stride: int, groups: int) -> None:
        super().__init__()
        self.joins = stride == 2
        made = width - entering if self.joins else width
        inner = made // 4
        first = 1 if entering == STEM else groups
        self.conv1 = nn.Conv2d(entering, inner, 1, groups=first, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.relu1 = nn.ReLU()
        self.shuffle1 = nn.ChannelShuffle(first)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, padding=1, groups=inner, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(inner, made, 1, groups=groups, bias=False)
        self.bn3 = nn.BatchNorm2d(made)
        self.shortcut = nn.AvgPool2d(3, 2, padding=1) if self.joins else nn.Identity()
        self.relu3 = nn.ReLU()

    def forward(self, maps: Tensor) -> Tensor:
        """Maps to maps, after the last ReLU."""
        inner = self.shuffle1(self.relu1(self.bn1(self.conv1(maps))))
        made = self.bn3(self.conv3(self.relu2(self.bn2(self.conv2(inner)))))
        beside = self.shortcut(maps)
        out: Tensor = self.relu3(torch.cat([made, beside], 1) if self.joins else made + beside)
        return out


class ShuffleNetV1(nn.Module):
    """A ShuffleNetV1 of three groups.

    Args:
        channels: of the images, which may have any size.
        classes: how many to tell apart.

    The ``norms`` are those of each last block's residual branch, which the shortcut joins.
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
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(WIDTHS[2], classes)
        stages = ("layer1", "layer2", "layer3")
        last = [f"{stage}.{count - 1}" for stage, count in zip(stages, BLOCKS, strict=True)]
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
        maps = self.layer3(self.layer2(self.layer1(maps)))
        logits: Tensor = self.linear(self.flatten(self.avgpool(maps)))
        return logits


def _stage(blocks: int, entering: int, width: int, groups: int = 3) -> nn.Sequential:
    rest = (GroupedBlock(width, width, 1, groups) for _ in range(blocks - 1))
    return nn.Sequential(GroupedBlock(entering, width, 2, groups), *rest)


def shufflenetv1(channels: int = 3, classes: int = 100) -> ShuffleNetV1:
    """Widths 240, 480, 960: 949,258 parameters, 38.7 million multiply-adds.

    Counted for 3 x 32 x 32 images and 100 classes. RepDistiller's ``ShuffleV1``.
    """
    return ShuffleNetV1(channels, classes)
