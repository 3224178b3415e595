import torch
import torch.nn.functional as F
from torch import Tensor

from relatum.models.shufflenetv1 import shufflenetv1
from relatum.taps import Tapped
from tests.models.plain import Plain, liven, shuffled


def block(plain: Plain, path: str, maps: Tensor, first: bool) -> Tensor:
    """The sum, or the two side by side, before the last ReLU."""
    groups = 1 if maps.shape[1] == 24 else 3
    inner = plain.norm(f"{path}.bn1", plain.conv(f"{path}.conv1", maps, groups=groups)).relu()
    inner = shuffled(inner, groups)
    inner = plain.conv(f"{path}.conv2", inner, 2 if first else 1, groups=inner.shape[1])
    inner = plain.norm(f"{path}.bn2", inner).relu()
    out = plain.norm(f"{path}.bn3", plain.conv(f"{path}.conv3", inner, groups=3))
    if not first:
        return out + maps
    return torch.cat([out, F.avg_pool2d(maps, 3, 2, padding=1)], 1)


def test_it_computes_what_its_words_say() -> None:
    network = shufflenetv1(channels=2, classes=7)
    liven(network)
    images = torch.randn(2, 2, 18, 18)
    captured = Tapped(network, network.taps)(images)
    plain = Plain(network)
    stem = maps = plain.norm("bn1", plain.conv("conv1", images)).relu()
    stages, before = [], []
    for number, count in enumerate((4, 8, 4), start=1):
        for place in range(count):
            total = block(plain, f"layer{number}.{place}", maps, place == 0)
            maps = total.relu()
        stages.append(maps)
        before.append(total)
    logits = plain.linear("linear", maps.mean((2, 3)))
    assert not plain.left
    torch.testing.assert_close(captured.read("stem"), stem)
    torch.testing.assert_close(captured.read("stages"), tuple(stages))
    torch.testing.assert_close(captured.read("preactivations"), tuple(before))
    torch.testing.assert_close(captured.output, logits)
