import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relatum.models.resnet import Block, ResNet, resnet8, resnet8x4, resnet20
from relatum.taps import Tapped
from relatum.types import Fault


def block_by_hand(block: Block, maps: Tensor) -> tuple[Tensor, Tensor]:
    inner = F.relu(block.bn1(block.conv1(maps)))
    total = block.bn2(block.conv2(inner)) + block.downsample(maps)
    return total, F.relu(total)


@pytest.mark.parametrize("network", [resnet20(classes=7), resnet8x4(channels=1, classes=7)])
def test_taps_are_what_the_forward_computes(network: ResNet) -> None:
    images = torch.rand(2, network.conv1.in_channels, 16, 16)
    network.eval()
    before = network.bn1(network.conv1(images))
    stem = maps = before.relu()
    stages, preactivations = [], []
    for stage in (network.layer1, network.layer2, network.layer3):
        for block in stage:
            assert isinstance(block, Block)
            before, maps = block_by_hand(block, maps)
        stages.append(maps)
        preactivations.append(before)
    captured = Tapped(network, network.taps)(images)
    torch.testing.assert_close(captured.read("stem"), stem)
    torch.testing.assert_close(captured.read("stages"), tuple(stages))
    torch.testing.assert_close(captured.read("preactivations"), tuple(preactivations))
    torch.testing.assert_close(captured.read("embedding"), maps.mean((2, 3)))
    torch.testing.assert_close(captured.output, network.fc(maps.mean((2, 3))))
    torch.testing.assert_close(captured.output, network(images))


def test_convolutions_start_from_he_fan_out_and_norms_at_one() -> None:
    torch.manual_seed(0)
    network = resnet8x4()
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 10_000:
            area = module.kernel_size[0] * module.kernel_size[1]
            expected = (2 / (area * module.out_channels)) ** 0.5
            assert module.weight.std().item() == pytest.approx(expected, rel=0.05)
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert (module.bias == 0).all()


def test_parameters_are_called_as_in_the_published_weights() -> None:
    names = set(resnet8().state_dict())
    assert {"conv1.weight", "bn1.running_mean", "layer1.0.bn2.bias", "fc.weight"} < names
    assert {"layer2.0.downsample.0.weight", "layer2.0.downsample.1.running_var"} < names
    assert not any("layer1" in name and "downsample" in name for name in names)


@pytest.mark.parametrize("depth", [2, 9, 21])
def test_other_depths_are_refused(depth: int) -> None:
    with pytest.raises(Fault, match="6n \\+ 2"):
        ResNet(depth, (16, 16, 32, 64), 3, 10)
