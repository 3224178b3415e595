import pytest
import torch
import torch.nn.functional as F
from torch import nn

from relatum.models.vgg import VGG, vgg8, vgg13
from relatum.taps import Tapped
from tests.models.plain import Plain, liven


@pytest.mark.parametrize("size", [16, 32, 64])
def test_it_computes_what_its_words_say(size: int) -> None:
    depths = (1, 2, 1, 3, 2)
    network = VGG(depths, channels=2, size=size, classes=7)
    liven(network)
    images = torch.randn(2, 2, size, size)
    captured = Tapped(network, network.taps)(images)
    plain, maps = Plain(network), images
    stages, before = [], []
    for number, depth in enumerate(depths):
        for place in range(depth):
            path = f"block{number}"
            maps = plain.conv(f"{path}.{3 * place}", maps)
            maps = plain.norm(f"{path}.{3 * place + 1}", maps)
            before.append(maps)
            maps = maps.relu()
        before[number:] = before[-1:]
        stages.append(maps)
        if number < 3 or (number == 3 and size == 64):
            maps = F.max_pool2d(maps, 2)
    logits = plain.linear("classifier", maps.mean((2, 3)))
    assert not plain.left
    torch.testing.assert_close(captured.read("stem"), stages[0])
    torch.testing.assert_close(captured.read("stages"), tuple(stages[1:]))
    torch.testing.assert_close(captured.read("preactivations"), tuple(before[1:]))
    torch.testing.assert_close(captured.output, logits)


@pytest.mark.parametrize(("size", "last"), [(32, 4), (48, 6), (64, 4), (96, 6)])
def test_the_fourth_pool_comes_from_64_pixels_on(size: int, last: int) -> None:
    network = vgg8(size=size)
    captured = Tapped(network, network.taps)(torch.rand(2, 3, size, size))
    assert captured.read("maps").shape == (2, 512, last, last)


def test_weights_do_not_depend_on_the_size() -> None:
    assert set(vgg8(size=64).state_dict()) == set(vgg8(size=32).state_dict())


def test_first_weights() -> None:
    torch.manual_seed(0)
    network = vgg13()
    assert network.classifier.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert not network.classifier.bias.any()
    convolution = network.block3.get_submodule("0")
    assert isinstance(convolution, nn.Conv2d)
    assert convolution.bias is not None
    assert not convolution.bias.any()
    assert convolution.weight.std().item() == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.02)
