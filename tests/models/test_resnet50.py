import torch
from torch import Tensor

from relatum.models.resnet50 import BottleneckResNet
from relatum.taps import Tapped
from tests.models.plain import Plain, liven


def bottleneck(plain: Plain, path: str, maps: Tensor, stride: int) -> Tensor:
    """The sum before its ReLU."""
    inner = plain.norm(f"{path}.bn1", plain.conv(f"{path}.conv1", maps)).relu()
    inner = plain.norm(f"{path}.bn2", plain.conv(f"{path}.conv2", inner, stride)).relu()
    out = plain.norm(f"{path}.bn3", plain.conv(f"{path}.conv3", inner))
    if out.shape == maps.shape:
        return out + maps
    beside = plain.conv(f"{path}.shortcut.0", maps, stride)
    return out + plain.norm(f"{path}.shortcut.1", beside)


def test_it_computes_what_its_words_say() -> None:
    blocks = (1, 2, 1, 2)
    network = BottleneckResNet(blocks, channels=2, classes=7)
    liven(network)
    images = torch.randn(2, 2, 16, 16)
    captured = Tapped(network, network.taps)(images)
    plain = Plain(network)
    stem = maps = plain.norm("bn1", plain.conv("conv1", images)).relu()
    stages, before = [], []
    for number, count in enumerate(blocks, start=1):
        for place in range(count):
            stride = 2 if number > 1 and place == 0 else 1
            total = bottleneck(plain, f"layer{number}.{place}", maps, stride)
            maps = total.relu()
        stages.append(maps)
        before.append(total)
    logits = plain.linear("linear", maps.mean((2, 3)))
    assert not plain.left
    torch.testing.assert_close(captured.read("stem"), stem)
    torch.testing.assert_close(captured.read("stages"), tuple(stages))
    torch.testing.assert_close(captured.read("preactivations"), tuple(before))
    torch.testing.assert_close(captured.output, logits)
