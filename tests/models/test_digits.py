import pytest
import torch
import torch.nn.functional as F
from torch import nn

from relatum.models.digits import DigitsCNN, digits_cnn_large, digits_cnn_small
from relatum.taps import Tapped


def count(network: DigitsCNN) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameters() -> None:
    assert count(digits_cnn_large()) == 24_058
    assert count(digits_cnn_small()) == 1_009


@pytest.mark.parametrize(("channels", "size"), [(1, 8), (3, 8), (1, 28), (3, 33)])
def test_taps_are_what_the_forward_computes(channels: int, size: int) -> None:
    network = digits_cnn_small(channels, classes=5).eval()
    images = torch.randn(4, channels, size, size)
    captured = Tapped(network, network.taps)(images)
    maps, stages, before = images, [], []
    for place, stage in enumerate(network.stages):
        maps = F.max_pool2d(maps, 2) if place else maps
        assert isinstance(stage, nn.Sequential)
        before.append(stage[1](stage[0](maps)))
        maps = F.relu(before[-1])
        stages.append(maps)
    torch.testing.assert_close(captured.read("stem"), stages[0])
    torch.testing.assert_close(captured.read("preactivations"), tuple(before[1:]))
    torch.testing.assert_close(captured.read("stages"), tuple(stages[1:]))
    torch.testing.assert_close(captured.read("maps"), maps)
    torch.testing.assert_close(captured.read("embedding"), maps.mean((2, 3)))
    torch.testing.assert_close(captured.output, network.fc(maps.mean((2, 3))))
    assert captured.output.shape == (4, 5)


def test_the_pair_has_as_many_stages_of_the_same_size() -> None:
    images = torch.randn(2, 1, 8, 8)
    pair = [Tapped(net, net.taps)(images) for net in (digits_cnn_large(), digits_cnn_small())]
    sizes = [[stage.shape[2] for stage in captured.read("stages")] for captured in pair]
    assert sizes == [[4, 2], [4, 2]]


def test_the_teacher_learns_the_digits() -> None:
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
    labels = torch.tensor(digits.target)
    torch.manual_seed(0)
    network = digits_cnn_large()
    order = torch.randperm(len(images))
    train, test = order[:1437], order[1437:]
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    for _ in range(4):
        for batch in train[torch.randperm(len(train))].split(64):  # type: ignore[no-untyped-call]
            optimizer.zero_grad()
            torch.autograd.backward(F.cross_entropy(network(images[batch]), labels[batch]))
            optimizer.step()
    network.eval()
    with torch.no_grad():
        correct = (network(images[test]).argmax(1) == labels[test]).float().mean()
    assert correct > 0.9
