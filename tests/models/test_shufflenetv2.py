import torch
from torch import Tensor

from relatum.models.shufflenetv2 import shufflenetv2
from relatum.taps import Tapped
from tests.models.plain import Plain, liven, shuffled


def halving(plain: Plain, path: str, maps: Tensor) -> Tensor:
    left = plain.conv(f"{path}.conv1", maps, 2, groups=maps.shape[1])
    left = plain.conv(f"{path}.conv2", plain.norm(f"{path}.bn1", left))
    left = plain.norm(f"{path}.bn2", left).relu()
    right = plain.norm(f"{path}.bn3", plain.conv(f"{path}.conv3", maps)).relu()
    right = plain.conv(f"{path}.conv4", right, 2, groups=right.shape[1])
    right = plain.conv(f"{path}.conv5", plain.norm(f"{path}.bn4", right))
    right = plain.norm(f"{path}.bn5", right).relu()
    return shuffled(torch.cat([left, right], 1), 2)


def split(plain: Plain, path: str, maps: Tensor) -> tuple[Tensor, Tensor]:
    """Both halves before the ReLU, which only the second goes through, and what leaves."""
    passing, entering = maps.chunk(2, 1)
    inner = plain.norm(f"{path}.bn1", plain.conv(f"{path}.conv1", entering)).relu()
    inner = plain.conv(f"{path}.conv2", inner, groups=inner.shape[1])
    inner = plain.norm(f"{path}.bn2", inner)
    made = plain.norm(f"{path}.bn3", plain.conv(f"{path}.conv3", inner))
    before = torch.cat([passing, made], 1)
    return before, shuffled(torch.cat([passing, made.relu()], 1), 2)


def test_it_computes_what_its_words_say() -> None:
    network = shufflenetv2(channels=2, classes=7)
    liven(network)
    images = torch.randn(2, 2, 18, 18)
    captured = Tapped(network, network.taps)(images)
    plain = Plain(network)
    stem = maps = plain.norm("bn1", plain.conv("conv1", images)).relu()
    stages, preactivations = [], []
    for number, count in enumerate((3, 7, 3), start=1):
        maps = halving(plain, f"layer{number}.0", maps)
        for place in range(1, count + 1):
            before, maps = split(plain, f"layer{number}.{place}", maps)
        stages.append(maps)
        preactivations.append(before)
    maps = plain.norm("bn2", plain.conv("conv2", maps)).relu()
    logits = plain.linear("linear", maps.mean((2, 3)))
    assert not plain.left
    torch.testing.assert_close(captured.read("stem"), stem)
    torch.testing.assert_close(captured.read("stages"), tuple(stages))
    torch.testing.assert_close(captured.read("preactivations"), tuple(preactivations))
    torch.testing.assert_close(captured.output, logits)


def test_gradients_are_those_of_a_relu_on_half_of_the_channels() -> None:
    """The network's last ReLU of a block sees both halves, which changes nothing."""
    network = shufflenetv2(classes=3)
    liven(network)
    images = torch.randn(2, 3, 8, 8, requires_grad=True)
    maps = network.layer1(network.relu(network.bn1(network.conv1(images))))
    (ours,) = torch.autograd.grad(maps.square().sum(), images)
    plain = Plain(network)
    maps = plain.norm("bn1", plain.conv("conv1", images)).relu()
    maps = halving(plain, "layer1.0", maps)
    for place in (1, 2, 3):
        _, maps = split(plain, f"layer1.{place}", maps)
    (by_hand,) = torch.autograd.grad(maps.square().sum(), images)
    torch.testing.assert_close(ours, by_hand)
