"""What every network of stages promises: the benchmark's sizes, and places of one name."""

import pytest
import torch
from torch import Tensor, nn

from relatum.evaluate.cost import macs, parameters
from relatum.models import MODELS, create
from relatum.taps import Tap, Tapped, shapes
from tests.models.plain import liven, shuffled

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
    "resnet50-cifar": 23_705_252,
    "wrn-16-1": 180_916,
    "wrn-16-2": 703_284,
    "wrn-40-1": 569_780,
    "wrn-40-2": 2_255_156,
    "vgg8": 3_965_028,
    "vgg11": 9_277_284,
    "vgg13": 9_462_180,
    "vgg16": 14_774_436,
    "vgg19": 20_086_692,
    "mobilenetv2": 812_836,
    "shufflenetv1": 949_258,
    "shufflenetv2": 1_355_528,
}
MILLIONS = {
    "resnet20": 40.8,
    "resnet32": 69.1,
    "resnet56": 125.8,
    "resnet110": 253.2,
    "resnet8x4": 177.1,
    "resnet32x4": 1083.0,
    "resnet50-cifar": 1298.0,
    "wrn-16-1": 26.7,
    "wrn-16-2": 101.1,
    "wrn-40-1": 83.3,
    "wrn-40-2": 327.6,
    "vgg8": 96.2,
    "vgg13": 284.9,
    "mobilenetv2": 6.5,
    "shufflenetv1": 38.7,
    "shufflenetv2": 44.5,
}
# stem and stages as channels and side, and the width of the embedding
SHAPES: dict[str, tuple[list[tuple[int, int]], int]] = {
    **dict.fromkeys(
        [f"resnet{depth}" for depth in (8, 14, 20, 32, 44, 56, 110)] + ["wrn-16-1", "wrn-40-1"],
        ([(16, 32), (16, 32), (32, 16), (64, 8)], 64),
    ),
    **dict.fromkeys(["resnet8x4", "resnet32x4"], ([(32, 32), (64, 32), (128, 16), (256, 8)], 256)),
    **dict.fromkeys(["wrn-16-2", "wrn-40-2"], ([(16, 32), (32, 32), (64, 16), (128, 8)], 128)),
    **dict.fromkeys(
        [f"vgg{depth}" for depth in (8, 11, 13, 16, 19)],
        ([(64, 32), (128, 16), (256, 8), (512, 4), (512, 4)], 512),
    ),
    "resnet50-cifar": ([(64, 32), (256, 32), (512, 16), (1024, 8), (2048, 4)], 2048),
    "mobilenetv2": ([(16, 16), (12, 16), (16, 8), (48, 4), (160, 2)], 1280),
    "shufflenetv1": ([(24, 32), (240, 16), (480, 8), (960, 4)], 960),
    "shufflenetv2": ([(24, 32), (116, 16), (232, 8), (464, 4)], 1024),
}
STAGED = [*PARAMETERS, "digits-cnn-large", "digits-cnn-small"]
FAMILIES = [
    *["digits-cnn-small", "resnet8", "resnet50-cifar", "wrn-16-1", "vgg8"],
    *["mobilenetv2", "shufflenetv1", "shufflenetv2"],
]


def on_paper(name: str, channels: int = 3, size: int = 32, classes: int = 100) -> nn.Module:
    """A network without numbers, which takes no time."""
    with torch.device("meta"):
        return create(name, channels=channels, size=size, classes=classes)


def tapped(network: nn.Module) -> Tapped:
    taps = network.taps
    assert isinstance(taps, dict)
    return Tapped(network, taps).to(next(network.parameters()).device)


def norms_of(network: nn.Module) -> tuple[str, ...]:
    norms = network.norms
    assert isinstance(norms, tuple)
    return norms


def test_every_network_of_the_benchmark_is_here() -> None:
    assert set(MODELS) - {name for name in MODELS if name.startswith("mnist-")} == set(STAGED)
    assert set(SHAPES) == set(PARAMETERS)


@pytest.mark.parametrize(("name", "count"), PARAMETERS.items())
def test_parameters_are_those_of_the_benchmark(name: str, count: int) -> None:
    assert parameters(on_paper(name)) == count


@pytest.mark.parametrize(("name", "millions"), MILLIONS.items())
def test_multiply_adds_are_those_of_the_benchmark(name: str, millions: float) -> None:
    precision = 0 if millions > 1000 else 1
    assert round(macs(on_paper(name), (3, 32, 32)) / 1e6, precision) == millions


@pytest.mark.parametrize("name", PARAMETERS)
def test_places_have_the_shapes_of_the_benchmark(name: str) -> None:
    expected, width = SHAPES[name]
    given = shapes(tapped(on_paper(name)), torch.empty(2, 3, 32, 32, device="meta"))
    stem, *stages = [(2, channels, side, side) for channels, side in expected]
    assert given["stem"] == stem
    assert given["stages"] == tuple(stages)
    assert given["preactivations"] == tuple(stages)
    assert given["maps"] == stages[-1]
    assert given["embedding"] == (2, width)
    assert given["output"] == (2, 100)


@pytest.mark.parametrize("name", STAGED)
def test_places_bear_the_names_that_losses_read(name: str) -> None:
    network = on_paper(name)
    taps = tapped(network).taps
    stages = taps["stages"]
    assert isinstance(stages, tuple)
    numbered = [taps[f"stage{number}"] for number in range(1, len(stages) + 1)]
    assert numbered == list(stages)
    assert f"stage{len(stages) + 1}" not in taps
    assert taps["maps"] == stages[-1]
    assert taps["stem"] not in stages
    embedding = taps["embedding"]
    assert isinstance(embedding, Tap)
    assert embedding.at == "input"
    classifiers = [path for path, each in network.named_modules() if isinstance(each, nn.Linear)]
    assert [embedding.path] == classifiers


@pytest.mark.parametrize("name", STAGED)
def test_a_norm_forms_each_preactivation_or_none_is_named(name: str) -> None:
    network = on_paper(name)
    norms = [network.get_submodule(path) for path in norms_of(network)]
    places = shapes(tapped(network), torch.empty(1, 3, 32, 32, device="meta"))["preactivations"]
    assert not isinstance(places, torch.Size)
    widths = []
    for norm in norms:
        assert isinstance(norm, nn.BatchNorm2d)
        widths.append(norm.num_features)
    assert widths == [place[1] for place in places] if norms else name == "shufflenetv2"


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "shufflenetv2"])
def test_what_a_norm_adds_is_seen_in_its_preactivation(name: str) -> None:
    network = liven(create(name, channels=1, size=16, classes=3)).double()
    images = torch.rand(2, 1, 16, 16, dtype=torch.double)
    for place, path in enumerate(norms_of(network)):
        bias = network.get_submodule(path).bias
        assert isinstance(bias, nn.Parameter)
        with torch.no_grad():
            before = tapped(network)(images).read("preactivations")[place]
            added = torch.randn_like(bias)
            bias.add_(added)
            after = tapped(network)(images).read("preactivations")[place]
        torch.testing.assert_close(after - before, added.view(-1, 1, 1).expand_as(before))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_stage_is_its_preactivation_activated(name: str) -> None:
    network = liven(create(name, channels=1, size=16, classes=3))
    captured = tapped(network)(torch.rand(2, 1, 16, 16))
    pairs = zip(captured.read("stages"), captured.read("preactivations"), strict=True)
    for place, (stage, before) in enumerate(pairs):
        if name.startswith("wrn"):  # the norm comes behind the stage
            activated = network.get_submodule(norms_of(network)[place])(stage)
            torch.testing.assert_close(before, activated)
        elif name == "mobilenetv2":  # its bottlenecks are linear
            assert stage is before
            assert stage.min() < 0
        else:
            wanted = shuffled(before.relu(), 2) if name == "shufflenetv2" else before.relu()
            torch.testing.assert_close(stage, wanted)
            assert before.min() < 0


@pytest.mark.parametrize("size", [28, 32, 64])
@pytest.mark.parametrize("name", FAMILIES)
def test_images_of_any_size_and_any_channels(name: str, size: int) -> None:
    network = on_paper(name, channels=4, size=size, classes=5)
    given = shapes(tapped(network), torch.empty(3, 4, size, size, device="meta"))
    assert given["output"] == (3, 5)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_parameter_learns(name: str) -> None:
    torch.manual_seed(0)
    network = create(name, channels=1, size=16, classes=3)
    torch.autograd.backward(network(torch.rand(4, 1, 16, 16)).square().sum())
    still = [
        key
        for key, value in network.named_parameters()
        if value.grad is None or not value.grad.any()
    ]
    assert not still


@pytest.mark.parametrize("name", FAMILIES)
def test_it_compiles_whole(name: str) -> None:
    torch.compiler.reset()
    network = create(name, channels=1, size=16, classes=3).eval()
    images = torch.rand(2, 1, 16, 16)
    compiled: Tensor = torch.compile(network, fullgraph=True, backend="eager")(images)
    torch.testing.assert_close(compiled, network(images))
