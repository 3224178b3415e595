"""MobileNetV2 (Sandler et al., CVPR 2018, arXiv 1801.04381) of half width, for 32 pixels.

A 3x3 stem of stride 2, seven groups of inverted residuals, a 1x1 convolution to 1280 channels;
the mean over that map (2x2 for images of 32 pixels) enters the linear ``classifier``. The
activation is **ReLU, not ReLU6**, and all but the stem and three groups have stride 1: this is
the benchmark's network, not the paper's for ImageNet.

Parameters bear the names that RepDistiller's network gives them, so its weights fit. The taps
are those of ``relatum.models.stages``: ``stem`` after its ReLU; the stages are what leaves groups
2, 3, 5 and 7, whose bottlenecks are linear, so they hold negative numbers and **preactivations
are the same places** (RepDistiller's convention). ``maps`` is the last of these, 160 channels
wide; the 1x1 convolution behind it forms the embedding.
"""

from torch import Tensor, nn

from relatum.models.initialise import he_fan_out, narrow_normal
from relatum.models.stages import stage_taps
from relatum.taps import Tap, Taps
from relatum.types import Images, Logits

STEM = 32
GROUPS = ((16, 1, 1), (24, 2, 1), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))
"""Of each group: channels at full width, blocks, stride of the first."""
READ = (1, 2, 4, 6)
"""Which groups are stages."""
LAST = 1280


class InvertedResidual(nn.Module):
    """1x1 to a wider map, 3x3 channel by channel, 1x1 to a narrow one that is not activated.

    Where the shape stays, the input is added.
    """

    def __init__(self, entering: int, width: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = expansion * entering
        self.adds = stride == 1 and entering == width
        self.conv = nn.Sequential(
            nn.Conv2d(entering, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            nn.Conv2d(inner, inner, 3, stride, padding=1, groups=inner, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            nn.Conv2d(inner, width, 1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Maps to maps, not activated."""
        out: Tensor = self.conv(maps)
        return maps + out if self.adds else out


class MobileNetV2(nn.Module):
    """A MobileNetV2 of any width up to 1.

    Args:
        expansion: how many times wider a block is inside; the first group does not expand.
        width: factor of all channels but those that form the embedding, 1280.
        channels: of the images, which may have any size.
        classes: how many to tell apart.
    """

    taps: Taps
    norms: tuple[str, ...]

    def __init__(self, expansion: int, width: float, channels: int, classes: int) -> None:
        super().__init__()
        entering = int(STEM * width)
        self.conv1 = nn.Sequential(
            nn.Conv2d(channels, entering, 3, 2, padding=1, bias=False),
            nn.BatchNorm2d(entering),
            nn.ReLU(),
        )
        self.blocks = nn.ModuleList()
        for place, (full, blocks, stride) in enumerate(GROUPS):
            leaving = int(full * width)
            self.blocks.append(_group(blocks, entering, leaving, stride, expansion if place else 1))
            entering = leaving
        self.conv2 = nn.Sequential(
            nn.Conv2d(entering, LAST, 1, bias=False), nn.BatchNorm2d(LAST), nn.ReLU()
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        classifier = nn.Linear(LAST, classes)
        self.classifier = nn.Sequential(classifier)
        he_fan_out(self)
        narrow_normal(classifier)
        stages = tuple(Tap(f"blocks.{place}") for place in READ)
        self.taps = stage_taps(
            embedding=Tap("classifier.0", "input"),
            stem=Tap("conv1"),
            stages=stages,
            preactivations=stages,
            final=Tap("conv2"),
        )
        self.norms = tuple(f"blocks.{place}.{GROUPS[place][1] - 1}.conv.7" for place in READ)

    def forward(self, images: Images) -> Logits:
        """Images, normalised, to logits."""
        maps = self.conv1(images)
        for group in self.blocks:
            maps = group(maps)
        logits: Tensor = self.classifier(self.flatten(self.avgpool(self.conv2(maps))))
        return logits


def _group(blocks: int, entering: int, width: int, stride: int, expansion: int) -> nn.Sequential:
    rest = (InvertedResidual(width, width, 1, expansion) for _ in range(blocks - 1))
    return nn.Sequential(InvertedResidual(entering, width, stride, expansion), *rest)


def mobilenetv2(channels: int = 3, classes: int = 100) -> MobileNetV2:
    """Half width, expansion 6: 812,836 parameters, 6.5 million multiply-adds.

    Counted for 3 x 32 x 32 images and 100 classes. RepDistiller's ``mobile_half``.
    """
    return MobileNetV2(6, 0.5, channels, classes)
