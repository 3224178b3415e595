import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from relatum.models import MODELS
from relatum.models.resnet import Block, ResNet, resnet8, resnet8x4, resnet20
from relatum.taps import Tapped, at_rest
from relatum.types import Fault

PARAMETERS = {
    "resnet8": 83_892,
    "resnet14": 181_108,
    "resnet20": 278_324,
    "resnet32": 472_756,
    "resnet44": 667_188,
    "resnet56": 861_620,
    "resnet110": 1_736_564,
    "resnet8x4": 1_233_540,
    "resnet32x4": 7_433_860,
}
MILLIONS = {
    "resnet20": 40.8,
    "resnet32": 69.1,
    "resnet56": 125.8,
    "resnet110": 253.2,
    "resnet8x4": 177.1,
    "resnet32x4": 1083.0,
}


@pytest.mark.parametrize(("name", "count"), PARAMETERS.items())
def test_parameters_are_those_of_the_benchmark(name: str, count: int) -> None:
    assert sum(parameter.numel() for parameter in MODELS[name]().parameters()) == count


@pytest.mark.parametrize(("name", "millions"), MILLIONS.items())
def test_multiply_adds_are_those_of_the_benchmark(name: str, millions: float) -> None:
    with torch.device("meta"):
        network, images = MODELS[name](), torch.empty(1, 3, 32, 32)
    with FlopCounterMode(display=False) as counter:
        network(images)
    assert counter.get_total_flops() / 2e6 == pytest.approx(millions, rel=0.005)


@pytest.mark.parametrize(
    ("name", "widths"), [("resnet20", (16, 16, 32, 64)), ("resnet8x4", (32, 64, 128, 256))]
)
def test_stages_have_the_shapes_of_the_benchmark(name: str, widths: tuple[int, ...]) -> None:
    network = MODELS[name]()
    assert isinstance(network, ResNet)
    with at_rest(network):
        captured = Tapped(network, network.taps)(torch.rand(2, 3, 32, 32))
    expected = [(2, width, size, size) for width, size in zip(widths, (32, 32, 16, 8), strict=True)]
    assert [tuple(stage.shape) for stage in captured.read("stages")] == expected
    assert [tuple(stage.shape) for stage in captured.read("preactivations")] == expected
    assert captured.taps["maps"] is captured.read("stages")[3]
    assert captured.read("embedding").shape == (2, widths[3])
    assert captured.output.shape == (2, 100)


def block_by_hand(block: Block, maps: Tensor) -> tuple[Tensor, Tensor]:
    inner = F.relu(block.bn1(block.conv1(maps)))
    total = block.bn2(block.conv2(inner)) + block.downsample(maps)
    return total, F.relu(total)


@pytest.mark.parametrize("network", [resnet20(classes=7), resnet8x4(channels=1, classes=7)])
def test_taps_are_what_the_forward_computes(network: ResNet) -> None:
    images = torch.rand(2, network.conv1.in_channels, 16, 16)
    network.eval()
    before = network.bn1(network.conv1(images))
    stages, preactivations = [before.relu()], [before]
    maps = stages[0]
    for stage in (network.layer1, network.layer2, network.layer3):
        for block in stage:
            assert isinstance(block, Block)
            before, maps = block_by_hand(block, maps)
        stages.append(maps)
        preactivations.append(before)
    captured = Tapped(network, network.taps)(images)
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
