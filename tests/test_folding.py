"""Folding changes where BatchNorm is computed, and nothing that is said."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from relatum import models
from relatum.discovery import find_taps
from relatum.folding import fold
from relatum.taps import Tap, Tapped
from relatum.types import Images, Input


def lived(network: nn.Module) -> nn.Module:
    """As after a training: norms whose statistics and weights are not those of the beginning."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            assert module.running_mean is not None
            assert module.running_var is not None
            for each in (module.running_mean, module.weight, module.bias):
                nn.init.normal_(each, mean=0.5)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return network.requires_grad_(False).eval()


def norms(network: nn.Module) -> int:
    return sum(isinstance(each, nn.modules.batchnorm._BatchNorm) for each in network.modules())


def furthest(one: Tapped, other: Tapped, images: Images) -> float:
    with torch.no_grad():
        mine, its = one(images), other(images)
    assert mine.taps.keys() == its.taps.keys()
    return max(
        float((here - there).norm() / there.norm())
        for name in ("output", *mine.taps)
        for here, there in zip(tensors(mine.read(name)), tensors(its.read(name)), strict=True)
    )


def tensors(value: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return value if isinstance(value, tuple) else (value,)


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("resnet8", 0),
        ("wrn-16-1", 7),  # the first norm of each of six blocks, and the last before the classifier
        ("vgg8", 0),
        ("mobilenetv2", 0),
        ("shufflenetv1", 0),
        ("timm/resnet10t", 0),
    ],
)
def test_the_same_is_said(name: str, left: int) -> None:
    network = lived(models.create(name, channels=3, size=32, classes=10)).double()
    images = torch.rand(4, 3, 32, 32, dtype=torch.float64)
    before = deepcopy(network.state_dict())
    tapped = Tapped(network, find_taps(network, images), Input())
    copy, folded = fold(tapped, images)
    assert furthest(copy, tapped, torch.rand(4, 3, 32, 32, dtype=torch.float64)) < 1e-12
    assert norms(copy.network) == left == norms(network) - folded
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


class Twice(nn.Module):
    """Its convolution's output is read by the norm, and by the sum behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.flatten = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten()

    def forward(self, images: Images) -> Tensor:
        maps = self.conv(images)
        out: Tensor = self.flatten(maps + self.norm(maps))
        return out


def test_what_something_else_reads_is_left() -> None:
    network = nn.Sequential(Twice(), nn.Linear(72, 4), nn.BatchNorm1d(4))
    tapped = Tapped(lived(network), {})
    images = torch.rand(3, 1, 8, 8)
    copy, folded = fold(tapped, images)
    assert (folded, norms(copy.network)) == (1, 1)
    assert isinstance(copy.network.get_submodule("2"), nn.Identity)
    assert furthest(copy, tapped, images) < 1e-5


@pytest.mark.parametrize("tap", [Tap("0", "output"), Tap("1", "input")])
def test_what_a_tap_reads_is_left(tap: Tap) -> None:
    network = lived(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten()))
    tapped = Tapped(network, {"maps": tap})
    images = torch.rand(3, 1, 8, 8)
    copy, folded = fold(tapped, images)
    assert folded == 0
    assert furthest(copy, tapped, images) < 1e-5


def test_a_layer_that_runs_twice_is_left() -> None:
    conv = nn.Conv2d(2, 2, 3, padding=1)
    network = lived(nn.Sequential(conv, nn.BatchNorm2d(2), nn.ReLU(), conv, nn.BatchNorm2d(2)))
    tapped = Tapped(network, {})
    images = torch.rand(3, 2, 8, 8)
    copy, folded = fold(tapped, images)
    assert folded == 0
    assert furthest(copy, tapped, images) < 1e-5


def test_norms_without_statistics_are_left() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, track_running_stats=False))
    assert fold(Tapped(network, {}), torch.rand(3, 1, 8, 8))[1] == 0
