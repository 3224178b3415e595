from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relatum.models import create
from relatum.models.simkd import SimKDStudent, classified_map, joined, student_map
from relatum.taps import Tap, Tapped, shapes
from relatum.types import Fault
from relatum.weights import load_weights, save_weights
from tests.models.plain import liven
from tests.toys import same, state

BEHIND = {
    "resnet8x4": {"fc"},
    "wrn-16-1": {"bn1", "fc"},
    "vgg8": {"classifier"},
    "resnet50-cifar": {"linear"},
    "mobilenetv2": {"conv2", "classifier"},
    "shufflenetv1": {"linear"},
    "shufflenetv2": {"conv2", "bn2", "linear"},
    "digits-cnn-small": {"fc"},
}
"""By network: what lies behind its last map and has weights."""


def made(name: str, size: int = 32, classes: int = 5) -> Any:
    torch.manual_seed(0)
    return liven(create(name, channels=3, size=size, classes=classes))


def parameters(network: nn.Module) -> int:
    return sum(each.numel() for each in network.parameters())


def images(size: int = 32) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def test_it_computes_what_the_paper_says() -> None:
    student, teacher = made("vgg8"), made("resnet14").eval()
    network = joined(student, teacher, images()).eval()
    maps = Tapped(student.eval(), {"maps": Tap("relu4")}).read(images()).read("maps")
    assert isinstance(maps, Tensor)
    assert maps.shape == (2, 512, 4, 4)
    for place in (0, 3, 6):
        convolution, norm = network.projector[place], network.projector[place + 1]
        assert isinstance(convolution, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        maps = F.conv2d(maps, convolution.weight, padding=int(place == 3))
        statistics = norm.running_mean, norm.running_var
        maps = F.batch_norm(maps, *statistics, norm.weight, norm.bias).relu()
    wanted = maps.mean((2, 3)) @ teacher.fc.weight.T + teacher.fc.bias
    torch.testing.assert_close(network(images()), wanted)


@pytest.mark.parametrize(("name", "gone"), BEHIND.items())
def test_only_the_trunk_is_kept_of_the_student(name: str, gone: set[str]) -> None:
    student = made(name)
    before = state(student)
    network = joined(student, made("resnet8"), images())
    kept = dict(network.trunk.network.named_parameters())
    assert {each.partition(".")[0] for each in set(before) & set(kept)} == {
        each.partition(".")[0] for each in dict(student.named_parameters())
    } - gone
    assert all(torch.equal(value, before[each]) for each, value in kept.items())
    assert same(state(student), before), "the student itself stays as it was"
    assert not any(isinstance(student.get_submodule(each), nn.Identity) for each in gone)


def test_parameters_are_those_of_the_paper() -> None:
    student, teacher = made("resnet8x4", classes=100), made("resnet32x4", classes=100)
    network = joined(student, teacher, images())
    projector = 256 * 128 + 9 * 128 * 128 + 128 * 256 + 2 * (128 + 128 + 256)
    assert parameters(network) == parameters(student) + projector  # one classifier for another
    slim = SimKDStudent(student, Tap("layer3"), (256, 8, 8), (256, 8, 8), teacher.fc, factor=8)
    widths = [each.out_channels for each in slim.projector if isinstance(each, nn.Conv2d)]
    assert widths == [32, 32, 256]


def test_the_classifier_is_the_teachers_and_stays_so() -> None:
    teacher = made("resnet14")
    network = joined(made("resnet8"), teacher, images())
    fixed = {name for name, each in network.named_parameters() if not each.requires_grad}
    assert fixed == {"fc.weight", "fc.bias"}
    assert torch.equal(network.fc.weight, teacher.fc.weight)
    assert network.fc.weight is not teacher.fc.weight
    assert teacher.fc.weight.requires_grad
    network.train()(images()).sum().backward()
    assert network.fc.weight.grad is None
    assert all(
        each.grad is not None and each.grad.abs().sum() > 0
        for each in network.parameters()
        if each.requires_grad
    )


@pytest.mark.parametrize(
    ("student", "teacher", "size"), [((4, 8, 8), (6, 2, 4), (2, 4)), ((4, 2, 2), (6, 8, 8), (2, 2))]
)
def test_a_larger_map_of_the_student_is_pooled_to_the_teachers(
    student: tuple[int, ...], teacher: tuple[int, ...], size: tuple[int, int]
) -> None:
    trunk = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten())
    network = SimKDStudent(trunk, Tap("0"), student, teacher, nn.Linear(6, 5))
    captured: Any = Tapped(network, network.taps)(torch.rand(2, 3, *student[1:]))
    assert captured.taps["maps"].shape == (2, 6, *size)


def test_taps_are_what_the_forward_computes() -> None:
    network = joined(made("resnet8"), made("resnet14"), images()).eval()
    tapped = Tapped(network, network.taps)
    captured = tapped.read(images())
    maps, embedding = captured.read("maps"), captured.read("embedding")
    assert isinstance(maps, Tensor)
    assert maps.min() == 0
    torch.testing.assert_close(embedding, maps.mean((2, 3)))
    torch.testing.assert_close(captured.output, network.fc(embedding))
    with tapped.until({"maps"}):
        assert torch.equal(tapped.read(images()).taps["maps"], maps)  # type: ignore[arg-type]


def test_it_traces_without_a_break_and_copies() -> None:
    network = joined(made("resnet8"), made("resnet14"), images()).eval()
    torch.compiler.reset()
    traced: Any = torch.compile(network, fullgraph=True, backend="eager")
    torch.testing.assert_close(traced(images()), network(images()))
    exported = torch.export.export(network, (images(),)).module()
    torch.testing.assert_close(exported(images()), network(images()))


def test_saved_weights_load_again_by_the_name(tmp_path: Path) -> None:
    network = joined(made("resnet8"), made("resnet14"), images())
    network(images())  # statistics of its own
    save_weights(network, tmp_path / "student.safetensors")
    again = create("simkd(resnet8,resnet14)", channels=3, size=32, classes=5)
    assert isinstance(again, SimKDStudent)
    assert again.training
    load_weights(again, tmp_path / "student.safetensors")
    assert torch.equal(again.eval()(images()), network.eval()(images()))
    assert not again.fc.weight.requires_grad


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("simkd(resnet8)", "names no two networks; write simkd"),
        ("simkd(resnet8,resnet14", "names no two networks"),
        ("simkd(,resnet14)", "names no two networks"),
        ("simkd(resnet8,resnet15)", "no model is called 'resnet15'"),
        ("simkd(mnist-mlp-32,resnet14)", "builds on the student's last feature map"),
        ("simkd(resnet8,mnist-ae-64)", "does not end in one linear layer"),
        ("simkd(resnet8,mnist-mlp-32)", "does not end in one linear layer that reads its"),
        ("simkd(resnet8,mnist-linear-32)", "whose classifier reads the mean of a feature map"),
    ],
)
def test_names_that_cannot_be_built_are_refused(name: str, message: str) -> None:
    with pytest.raises(Fault, match=message) as caught:
        create(name, channels=3, size=32, classes=5)
    assert "\n" not in str(caught.value)


def found(network: Any) -> str:
    return classified_map(network, network.taps, shapes(Tapped(network, network.taps), images()))


@pytest.mark.parametrize("name", ["resnet14", "vgg8", "resnet50-cifar", "shufflenetv1"])
def test_the_classifier_of_most_reads_the_mean_of_maps(name: str) -> None:
    assert found(made(name)) == "maps"


class Normed(nn.Module):
    """As a WRN: batch norm and ReLU between the last stage and the pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=4)
        self.bn = nn.BatchNorm2d(4)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(4, 5)
        self.taps = {"embedding": Tap("fc", "input"), "maps": Tap("conv")}

    def forward(self, images: Tensor) -> Tensor:
        maps = self.relu(self.bn(self.conv(images)))
        logits: Tensor = self.fc(self.flatten(self.pool(maps)))
        return logits


def test_a_norm_behind_maps_is_noticed_and_another_tap_found() -> None:
    network: Any = liven(Normed())
    with pytest.raises(Fault, match="reads 4 features of another kind"):
        found(network)
    network.taps |= {"stem": Tap("bn"), "active": Tap("pool", "input")}
    assert found(network) == "active"


def test_looking_for_the_map_leaves_no_trace() -> None:
    network: Any = liven(Normed())
    network.taps |= {"active": Tap("relu")}
    network.train().bn.eval()
    before, seed = state(network), torch.get_rng_state()
    given = shapes(Tapped(network, network.taps), images())
    hooks = sum(len(each._forward_hooks) for each in network.modules())
    classified_map(network, network.taps, given)
    assert same(state(network), before)
    assert torch.equal(torch.get_rng_state(), seed)
    assert network.training
    assert not network.bn.training
    assert sum(len(each._forward_hooks) for each in network.modules()) == hooks


class Tied(nn.Module):
    """Its forward pass asks for the weights of its classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4, 5)

    def forward(self, images: Tensor) -> Tensor:
        return F.linear(self.conv(images).mean((2, 3)), self.fc.weight)


class Flat(nn.Module):
    """Nothing tells which images it takes."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Linear(3 * 64, 36)
        self.fc = nn.Linear(36, 5)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.wide(images.flatten(1)).view(-1, 4, 3, 3).flatten(1))
        return logits


@pytest.mark.parametrize(("student", "path"), [(Tied(), "conv"), (Flat(), "wide")])
def test_what_cannot_be_cut_is_kept_whole(student: nn.Module, path: str) -> None:
    reshaped = nn.Sequential(student, nn.Identity())
    tap = Tap(f"0.{path}")
    network = SimKDStudent(reshaped, tap, (4, 6, 6), (6, 6, 6), nn.Linear(6, 5))
    assert "trunk.network.0.fc.weight" in network.state_dict()
    if path == "conv":
        assert network(torch.rand(2, 3, 8, 8)).shape == (2, 5)


def test_student_map_names_the_taps_that_there_are() -> None:
    assert student_map({"maps": Tap("conv")}) == Tap("conv")
    with pytest.raises(Fault, match="'maps'; its taps: embedding"):
        student_map({"embedding": Tap("fc", "input")})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"student_shape": (4, 6)}, r"shape is \(channels, height, width\), got \(4, 6\)"),
        ({"teacher_shape": (6, 0, 3)}, r"got \(6, 0, 3\)"),
        ({"classifier": nn.Linear(7, 5)}, "reads 7 features, and its map has 6 channels"),
        ({"factor": 7}, "factor lies between 1 and the map's 6 channels, got 7"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    student = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten())
    usual = {"student_shape": (4, 6, 6), "teacher_shape": (6, 3, 3), "classifier": nn.Linear(6, 5)}
    with pytest.raises(Fault, match=message):
        SimKDStudent(student, Tap("0"), **{**usual, **changes})


def test_sizes_that_halve_to_the_map_are_guessed() -> None:
    """Each network of the benchmark, at the sizes that it is used with."""
    for name, size in (("resnet8", 32), ("digits-cnn-small", 8), ("vgg8", 64)):
        student = made(name, size)
        network = joined(student, made("resnet8", size), images(size))
        assert len(network.state_dict()) < len(student.state_dict()) + 30
        assert not any("fc" in each or "classifier" in each for each in network.trunk.state_dict())


def test_projector_widths_follow_the_factor() -> None:
    network = SimKDStudent(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()),
        Tap("0"),
        (4, 6, 6),
        (8, 6, 6),
        nn.Linear(8, 5, bias=False),
    )
    widths = [each.weight.shape for each in network.projector if isinstance(each, nn.Conv2d)]
    assert widths == [(4, 4, 1, 1), (4, 4, 3, 3), (8, 4, 1, 1)]
    assert network.fc.bias is None
    assert [type(each) for each in network.projector] == 3 * [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    assert all(b[1] == a[0] for a, b in pairwise(widths))
