import pytest
import torch
from torch import Tensor, nn

from relatum.models.mobilenetv2 import MobileNetV2, mobilenetv2
from relatum.taps import Tapped
from tests.models.plain import Plain, liven

# expansion, channels at full width, blocks, stride: as the benchmark's specification lists them
SETTING = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def block(plain: Plain, path: str, maps: Tensor, stride: int) -> Tensor:
    inner = plain.norm(f"{path}.conv.1", plain.conv(f"{path}.conv.0", maps)).relu()
    inner = plain.conv(f"{path}.conv.3", inner, stride, groups=inner.shape[1])
    inner = plain.norm(f"{path}.conv.4", inner).relu()
    out = plain.norm(f"{path}.conv.7", plain.conv(f"{path}.conv.6", inner))
    return out + maps if out.shape == maps.shape else out


@pytest.mark.parametrize("width", [0.5, 1.0])
def test_it_computes_what_its_words_say(width: float) -> None:
    network = MobileNetV2(6, width, channels=2, classes=7)
    liven(network)
    images = torch.randn(2, 2, 32, 32)
    captured = Tapped(network, network.taps)(images)
    plain = Plain(network)
    stem = maps = plain.norm("conv1.1", plain.conv("conv1.0", images, 2)).relu()
    groups = []
    for number, (expansion, channels, blocks, stride) in enumerate(SETTING):
        inner = network.get_submodule(f"blocks.{number}.0.conv.0")
        assert isinstance(inner, nn.Conv2d)
        assert inner.out_channels == expansion * maps.shape[1]
        for place in range(blocks):
            maps = block(plain, f"blocks.{number}.{place}", maps, 1 if place else stride)
        assert maps.shape[1] == int(channels * width)
        groups.append(maps)
    maps = plain.norm("conv2.1", plain.conv("conv2.0", maps)).relu()
    logits = plain.linear("classifier.0", maps.mean((2, 3)))
    assert not plain.left
    stages = tuple(groups[place] for place in (1, 2, 4, 6))
    torch.testing.assert_close(captured.read("stem"), stem)
    torch.testing.assert_close(captured.read("stages"), stages)
    torch.testing.assert_close(captured.read("preactivations"), stages)
    torch.testing.assert_close(captured.output, logits)


def test_first_weights() -> None:
    torch.manual_seed(0)
    network = mobilenetv2()
    classifier = network.get_submodule("classifier.0")
    assert isinstance(classifier, nn.Linear)
    assert classifier.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert not classifier.bias.any()
    last = network.get_submodule("conv2.0")
    assert isinstance(last, nn.Conv2d)
    assert last.weight.std().item() == pytest.approx((2 / 1280) ** 0.5, rel=0.02)
