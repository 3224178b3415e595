import pytest
import torch
from torch import Tensor

from relatum.models.wrn import WideResNet, wrn_16_2
from relatum.taps import Tapped
from relatum.types import Fault
from tests.models.plain import Plain, liven


def block(plain: Plain, path: str, maps: Tensor, stride: int) -> Tensor:
    first = plain.norm(f"{path}.bn1", maps).relu()
    inner = plain.norm(f"{path}.bn2", plain.conv(f"{path}.conv1", first, stride)).relu()
    out = plain.conv(f"{path}.conv2", inner)
    if out.shape[1] == maps.shape[1]:
        return out + maps
    return out + plain.conv(f"{path}.convShortcut", first, stride)


def by_hand(plain: Plain, images: Tensor, blocks: int) -> tuple[Tensor, list[Tensor], Tensor]:
    """The stem, the three sums, and the logits."""
    stem = maps = plain.conv("conv1", images)
    stages = []
    for stage, stride in (("block1", 1), ("block2", 2), ("block3", 2)):
        for place in range(blocks):
            maps = block(plain, f"{stage}.layer.{place}", maps, 1 if place else stride)
        stages.append(maps)
    pooled = plain.norm("bn1", maps).relu().mean((2, 3))
    return stem, stages, plain.linear("fc", pooled)


@pytest.mark.parametrize("factor", [1, 2])
def test_it_computes_what_its_words_say(factor: int) -> None:
    network = WideResNet(16, factor, channels=2, classes=7)
    liven(network)
    images = torch.randn(3, 2, 16, 16)
    captured = Tapped(network, network.taps)(images)
    plain = Plain(network)
    stem, stages, logits = by_hand(plain, images, blocks=2)
    assert not plain.left
    torch.testing.assert_close(captured.read("stem"), stem)
    torch.testing.assert_close(captured.read("stages"), tuple(stages))
    torch.testing.assert_close(captured.output, logits)
    assert all(stage.min() < 0 for stage in captured.read("stages"))
    before = (
        plain.norm("block2.layer.0.bn1", stages[0]),
        plain.norm("block3.layer.0.bn1", stages[1]),
        plain.norm("bn1", stages[2]),
    )
    torch.testing.assert_close(captured.read("preactivations"), before)


def test_the_classifier_starts_without_a_bias() -> None:
    assert not wrn_16_2().fc.bias.any()
    assert wrn_16_2().fc.weight.any()


@pytest.mark.parametrize("depth", [4, 15, 20])
def test_other_depths_are_refused(depth: int) -> None:
    with pytest.raises(Fault, match="6n \\+ 4"):
        WideResNet(depth, 1, 3, 10)
