"""A small convolutional pair for scikit-learn's digits (8x8): a distillation in seconds."""

from itertools import pairwise

from torch import Tensor, nn

from relatum.models.initialise import he_fan_out
from relatum.models.stages import stage_taps
from relatum.taps import Tap, Taps
from relatum.types import Images, Logits


class DigitsCNN(nn.Module):
    """One stage per width: 3x3 convolution, batch norm, ReLU, and a max-pool between stages.

    The mean over the last map enters the linear classifier ``fc``. Weights start as He's
    normal (fan out).

    Args:
        channels: of the images, which need one halving per stage after the first.
        classes: how many to tell apart.
        widths: channels of each stage, two or more.

    The taps are those of ``relatum.models.stages``. The first stage is the stem, as in a VGG.
    """

    taps: Taps
    norms: tuple[str, ...]

    def __init__(self, channels: int, classes: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            _stage(entering, width) for entering, width in pairwise((channels, *widths))
        )
        self.pools = nn.ModuleList(nn.MaxPool2d(2) for _ in widths[1:])
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(widths[-1], classes)
        he_fan_out(self)
        stem, *stages = [f"stages.{place}" for place in range(len(widths))]
        self.taps = stage_taps(
            embedding=Tap("fc", "input"),
            stem=Tap(stem),
            stages=map(Tap, stages),
            preactivations=(Tap(f"{stage}.relu", "input") for stage in stages),
        )
        self.norms = tuple(f"{stage}.bn" for stage in stages)

    def forward(self, images: Images) -> Logits:
        """Images, normalised, to logits."""
        maps = self.stages[0](images)
        for pool, stage in zip(self.pools, self.stages[1:], strict=True):
            maps = stage(pool(maps))
        logits: Tensor = self.fc(self.flatten(self.pool(maps)))
        return logits


def _stage(entering: int, width: int) -> nn.Sequential:
    stage = nn.Sequential()
    stage.add_module("conv", nn.Conv2d(entering, width, 3, padding=1, bias=False))
    stage.add_module("bn", nn.BatchNorm2d(width))
    stage.add_module("relu", nn.ReLU())
    return stage


def digits_cnn_large(channels: int = 1, classes: int = 10) -> DigitsCNN:
    """The teacher: stages of 16, 32, 64 channels, 24,058 parameters.

    Alone it reads 99.4 % of a random fifth of the digits (98.3 to 100 over 5 seeds) after 30
    epochs of SGD: batch 64, learning rate 0.05 down a cosine, momentum 0.9, decay 5e-4.
    """
    return DigitsCNN(channels, classes, (16, 32, 64))


def digits_cnn_small(channels: int = 1, classes: int = 10) -> DigitsCNN:
    """The student: stages of 3, 6, 12 channels, 1,009 parameters, 24 times fewer.

    Alone it reads 95.6 % (95.0 to 96.4) where the large one reads 99.4 %.
    """
    return DigitsCNN(channels, classes, (3, 6, 12))
