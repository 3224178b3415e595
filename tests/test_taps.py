import copy
import pickle
from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relatum.discovery import find_taps
from relatum.models import create
from relatum.models.resnet import resnet8
from relatum.taps import Tap, Tapped, Taps, at_rest, shapes
from relatum.types import Fault, Input, Value


class Small(nn.Module):
    """Convolution, ReLU, pooling, classifier: each place a module."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=inplace)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(4, 2)
        self.unused = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.relu(self.conv(images))
        logits: Tensor = self.fc(self.dropout(self.pool(maps).flatten(1)))
        return logits


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        twice: Tensor = self.relu(self.relu(images) - 1)
        return twice


class Pair(nn.Module):
    """Hands a tuple on, and names the argument of its last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.split = Halves()
        self.fc = nn.Linear(2, 2)

    def forward(self, images: Tensor) -> Tensor:
        first, _ = self.split(images.flatten(1))
        logits: Tensor = self.fc(input=first)
        return logits


class Halves(nn.Module):
    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        return values[:, :2], values[:, 2:]


def one(value: Value) -> Tensor:
    assert isinstance(value, Tensor)
    return value


IMAGES = torch.rand(3, 3, 8, 8)


def test_taps_hold_what_enters_and_what_leaves() -> None:
    network = Small().eval()
    taps: Taps = {
        "before": Tap("relu", "input"),
        "maps": Tap("relu"),
        "both": (Tap("conv"), Tap("relu")),
        "embedding": Tap("fc", "input"),
        "all": Tap(""),
    }
    captured = Tapped(network, taps)(IMAGES)
    conv = network.conv(IMAGES)
    torch.testing.assert_close(captured.read("before"), conv)
    torch.testing.assert_close(captured.read("maps"), conv.relu())
    torch.testing.assert_close(captured.read("both"), (conv, conv.relu()))
    torch.testing.assert_close(captured.read("embedding"), conv.relu().mean((2, 3)))
    torch.testing.assert_close(captured.output, network(IMAGES))
    assert captured.read("output") is captured.output is captured.read("all")


def test_the_networks_weights_keep_their_names() -> None:
    network = Small()
    tapped = Tapped(network, {"maps": Tap("relu")}, Input((8, 8), (0.5,), (0.5,)))
    assert list(tapped.network.state_dict()) == list(Small().state_dict())
    assert set(tapped.state_dict()) == {f"network.{name}" for name in Small().state_dict()}


def test_hooks_are_attached_once() -> None:
    network = Small()
    tapped = Tapped(network, {"maps": Tap("relu"), "again": (Tap("relu"),)})
    first = tapped(IMAGES)
    second = tapped(IMAGES)
    assert len(network.relu._forward_hooks) == 1
    torch.testing.assert_close(first.read("maps"), second.read("maps"))
    assert first.read("maps") is not second.read("maps")


def test_nothing_is_held_after_a_forward() -> None:
    tapped = Tapped(Small(), {"maps": Tap("relu")})
    tapped(IMAGES)
    tapped.network(IMAGES)
    assert not tapped._caught


def test_gradient_flows_through_taps() -> None:
    network = Small()
    weight = network.conv.weight
    tapped_maps = one(Tapped(network, {"maps": Tap("relu")})(IMAGES).read("maps"))
    (got,) = torch.autograd.grad(tapped_maps.square().sum(), weight)
    (expected,) = torch.autograd.grad(network.conv(IMAGES).relu().square().sum(), weight)
    torch.testing.assert_close(got, expected)


def test_only_lets_go_of_the_other_hooks() -> None:
    network = Small()
    taps: Taps = {
        "maps": Tap("relu"),
        "before": Tap("relu", "input"),
        "both": (Tap("relu"), Tap("conv")),
    }
    tapped = Tapped(network, taps)
    assert tapped.only({"maps"}) is tapped
    assert set(tapped(IMAGES).taps) == {"maps"}
    assert len(network.relu._forward_hooks) == 1  # shared with "both", so it stays
    assert not network.conv._forward_hooks
    assert not network.relu._forward_pre_hooks
    tapped.only(set())
    assert not network.relu._forward_hooks
    assert tapped(IMAGES).taps == {}


def test_input_is_resized_and_normalised_for_each_network() -> None:
    mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    tapped = Tapped(Small(), {"seen": Tap("conv", "input")}, Input((4, 6), mean, std))
    smaller = F.interpolate(IMAGES, (4, 6), mode="bilinear", antialias=True)
    by_hand = torch.stack([(smaller[:, c] - mean[c]) / std[c] for c in range(3)], 1)
    torch.testing.assert_close(tapped.prepare(IMAGES), by_hand)
    torch.testing.assert_close(tapped(IMAGES).read("seen"), by_hand)
    torch.testing.assert_close(tapped.read(by_hand).read("seen"), by_hand)


def test_images_of_the_right_size_are_not_resampled() -> None:
    torch.testing.assert_close(
        Tapped(Small(), {}, Input((8, 8))).prepare(IMAGES), IMAGES, rtol=0, atol=0
    )
    torch.testing.assert_close(Tapped(Small(), {}).prepare(IMAGES), IMAGES, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("taps", "message"),
    [
        ({"maps": Tap("rleu")}, "tap 'maps': Small has no submodule 'rleu'; the nearest are relu"),
        ({"two": (Tap("relu"), Tap("f"))}, "tap 'two': Small has no submodule 'f'; .*fc"),
        ({"output": Tap("relu")}, "no tap may be called 'output'"),
        ({"maps": Tap("relu", "outptu")}, "'input' or 'output', got 'outptu'"),  # type: ignore[arg-type]
    ],
)
def test_taps_that_cannot_be(taps: dict[str, Tap], message: str) -> None:
    with pytest.raises(Fault, match=message):
        Tapped(Small(), taps)


def test_a_module_that_runs_twice() -> None:
    tapped = Tapped(Twice(), {"maps": Tap("relu")})
    for _ in range(2):  # and the first failure leaves nothing behind
        with pytest.raises(Fault, match="'relu': this submodule runs more than once"):
            tapped(IMAGES)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("tap", [Tap("conv"), Tap("relu", "input")])
def test_a_value_that_a_later_layer_overwrites(tap: Tap, training: bool) -> None:
    tapped = Tapped(Small(inplace=True).train(training), {"before": tap})
    with pytest.raises(Fault, match=r"overwrites .* in place; tap that layer's output"):
        tapped(IMAGES)
    assert Tapped(Small(inplace=True), {"after": Tap("relu")})(IMAGES).read("after") is not None


def test_a_place_that_gives_a_tuple() -> None:
    images = torch.rand(3, 1, 2, 2)
    with pytest.raises(Fault, match="'split': wanted a tensor, its output is a tuple"):
        Tapped(Pair(), {"halves": Tap("split")})(images)
    with pytest.raises(Fault, match="Halves returns a tuple"):
        Tapped(Halves(), {})(images)
    with pytest.raises(Fault, match="Halves returns a tuple"):
        find_taps(Halves(), images)


def test_a_module_called_by_keyword() -> None:
    images = torch.rand(3, 1, 2, 2)
    captured = Tapped(Pair(), {"embedding": Tap("fc", "input")})(images)
    torch.testing.assert_close(captured.read("embedding"), images.flatten(1)[:, :2])


def test_a_place_that_does_not_run() -> None:
    with pytest.raises(Fault, match="tap 'idle': submodule 'unused' did not run"):
        Tapped(Small(), {"idle": Tap("unused")})(IMAGES)


def test_the_network_by_itself_is_as_before() -> None:
    network = Small().eval()
    tapped = Tapped(network, {"maps": Tap("relu")})
    for _ in range(2):
        torch.testing.assert_close(network(IMAGES), tapped(IMAGES).output)
        torch.testing.assert_close(network(IMAGES), network(IMAGES))


def test_one_network_under_two_names() -> None:
    network = Small().eval()
    maps, embedding = Tapped(network, {"a": Tap("relu")}), Tapped(network, {"a": Tap("conv")})
    torch.testing.assert_close(embedding(IMAGES).read("a"), network.conv(IMAGES))
    torch.testing.assert_close(maps(IMAGES).read("a"), network.conv(IMAGES).relu())


def pickled(tapped: Tapped) -> Tapped:
    copied: Tapped = pickle.loads(pickle.dumps(tapped))
    return copied


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled])
def test_a_copy_is_tapped_too_and_apart(copied: Callable[[Tapped], Tapped]) -> None:
    network = resnet8()
    tapped = Tapped(network, network.taps).eval()
    images = torch.rand(2, 3, 8, 8)
    twin = copied(tapped)
    torch.testing.assert_close(twin(images).taps, tapped(images).taps)
    with torch.no_grad():
        network.conv1.weight.zero_()
    assert twin(images).read("stages")[0].any()
    assert set(twin.only({"maps"})(images).taps) == {"maps"}
    assert not twin.network.get_submodule("relu")._forward_hooks
    assert set(tapped(images).taps) == set(network.taps)


def test_a_copy_of_the_bare_network_is_bare() -> None:
    tapped = Tapped(Small().eval(), {"maps": Tap("relu")})
    twin = copy.deepcopy(tapped.network)
    for _ in range(2):
        torch.testing.assert_close(twin(IMAGES), tapped(IMAGES).output)


def test_in_inference_mode() -> None:
    tapped = Tapped(Small().eval(), {"maps": Tap("relu")})
    with torch.inference_mode():
        inferred = tapped(IMAGES).read("maps")
    torch.testing.assert_close(inferred, one(tapped(IMAGES).read("maps")).detach())


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_compiled_without_a_break_it_gives_the_same() -> None:
    network = resnet8(classes=5)
    tapped = Tapped(network, network.taps, Input((16, 16), (0.5,), (0.5,))).eval()
    images = torch.rand(2, 3, 8, 8)
    expected = tapped(images)
    compiled = torch.compile(tapped, fullgraph=True, backend="eager")
    for _ in range(2):
        captured = compiled(images)
        torch.testing.assert_close(captured.output, expected.output)
        torch.testing.assert_close(dict(captured.taps), dict(expected.taps))


# No further than is read ------------------------------------------------------------------------


class Counting(nn.Module):
    """Notes every batch that it sees, and in which mode."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, bool]] = []

    def forward(self, rows: Tensor) -> Tensor:
        self.seen.append((len(rows), self.training))
        return rows


def counted() -> tuple[Counting, Tapped]:
    late = Counting()
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.Dropout(0.5), nn.ReLU(), late)
    taps: Taps = {"early": Tap("1"), "both": (Tap("1"), Tap("3", "input")), "late": Tap("4")}
    return late, Tapped(network, taps).train()


def test_it_runs_no_further_than_the_last_tap_that_is_read() -> None:
    late, tapped = counted()
    images = torch.rand(5, 3, 8, 8)
    whole = tapped(images)
    late.seen.clear()
    with tapped.until({"early"}):
        for _ in range(3):
            captured = tapped(images)
    assert late.seen == [(2, False)]  # once, a few images, at rest
    assert set(captured.taps) == {"early"}
    assert not captured.output.numel()
    torch.testing.assert_close(captured.read("early"), whole.read("early"), rtol=0, atol=0)
    assert tapped(images).output.shape == (5, 4)
    assert late.seen[1:] == [(5, True)]
    with tapped.until({"late", "both"}):
        assert set(tapped(images).taps) == {"late", "both"}


def test_a_pass_that_ends_early_has_the_same_gradient() -> None:
    _, tapped = counted()
    weight = tapped.network.get_submodule("1").weight
    grads = []
    for names in (None, {"early"}):
        with tapped.until(names) if names else nullcontext():
            loss = one(tapped(IMAGES).read("early")).square().sum()
        grads.append(torch.autograd.grad(loss, weight)[0])  # type: ignore[arg-type]
    torch.testing.assert_close(*grads, rtol=0, atol=0)


def test_an_early_end_hides_no_tap_that_cannot_be_read() -> None:
    shared = nn.ReLU()
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 4), shared, nn.Linear(4, 4), shared)
    tapped = Tapped(network, {"twice": Tap("2")})
    with tapped.until({"twice"}), pytest.raises(Fault, match="more than once"):
        tapped(IMAGES)


def test_after_an_error_it_runs_whole_again() -> None:
    _, tapped = counted()
    with pytest.raises(RuntimeError, match="shapes"), tapped.until({"early"}):
        tapped(torch.rand(2, 1, 8, 8))
    assert tapped(IMAGES).output.shape == (len(IMAGES), 4)


def test_at_rest_puts_every_mode_back() -> None:
    network = Small().train()
    network.conv.eval()
    with at_rest(network):
        assert not any(module.training for module in network.modules())
        assert not torch.is_grad_enabled()
    assert network.training
    assert network.fc.training
    assert not network.conv.training
    assert torch.is_grad_enabled()


def test_shapes_of_output_and_taps() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 2))
    before = copy.deepcopy(network.state_dict())
    tapped = Tapped(network, {"maps": Tap("1"), "both": (Tap("0"), Tap("3", "input"))})
    assert shapes(tapped, IMAGES) == {
        "output": (3, 2),
        "maps": (3, 4, 6, 6),
        "both": ((3, 4, 6, 6), (3, 144)),
    }
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)
    assert tapped.training


def test_declared_taps_win() -> None:
    network = resnet8()
    assert find_taps(network, IMAGES) is network.taps


def test_found_taps_step_back_over_dropout_and_leave_the_network_as_it_was() -> None:
    network = Small()
    before = copy.deepcopy(network.state_dict())
    taps = find_taps(network, IMAGES)
    places = {"embedding": Tap("dropout", "input"), "maps": Tap("relu"), "stage1": Tap("relu")}
    assert taps == {**places, "stages": (Tap("relu"),)}
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)
    tapped = Tapped(network, taps).train()
    torch.testing.assert_close(tapped(IMAGES).read("embedding"), tapped(IMAGES).read("embedding"))


def test_taps_of_a_network_that_is_tapped_already() -> None:
    network = Small()
    Tapped(network, {"maps": Tap("relu")})
    assert find_taps(network, IMAGES)["embedding"] == Tap("dropout", "input")


def test_a_network_without_a_classifier_is_its_own_embedding() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    taps = find_taps(network, IMAGES)
    places = {"embedding": Tap(""), "maps": Tap("1"), "stage1": Tap("1")}
    assert taps == {**places, "stages": (Tap("1"),)}
    captured = Tapped(network, taps)(IMAGES)
    assert captured.read("embedding") is captured.output


def test_a_network_of_images_to_images_has_no_embedding() -> None:
    assert "embedding" not in find_taps(nn.Conv2d(3, 3, 1), IMAGES)


FOUND = {
    "timm/resnet18": ("fc", "layer4", 512),
    "timm/mobilenetv3_small_050": ("classifier", "blocks", 1024),
    "timm/convnext_atto": ("head.fc", "norm_pre", 320),
    "timm/vit_tiny_patch16_224": ("head", "norm", 192),
    "torchvision/resnet18": ("fc", "layer4", 512),
    "torchvision/mobilenet_v2": ("classifier.1", "features", 1280),
    "torchvision/mobilenet_v3_small": ("classifier.3", "features", 1024),  # drops in place
    "torchvision/densenet121": ("classifier", "features.denseblock4", 1024),  # ReLU in place
    "torchvision/vgg11_bn": ("classifier.6", "features", 4096),
}


@pytest.mark.parametrize("name", FOUND)
def test_taps_found_in_foreign_networks(name: str) -> None:
    pytest.importorskip(name.partition("/")[0])
    network = create(name, channels=3, size=64, classes=7).train()
    images = torch.rand(2, 3, 64, 64)
    path, maps, width = FOUND[name]
    taps = find_taps(network, images)
    found = taps["maps"]
    assert isinstance(found, Tap)
    assert found.place == (maps, "output")
    assert isinstance(taps["stages"], tuple)

    tapped = Tapped(network, taps)
    assert set(tapped(images).taps) == set(taps)  # in training too nothing overwrites them
    with at_rest(network):
        captured = tapped(images)
        embedding = one(captured.read("embedding"))
        assert embedding.shape == (2, width)
        torch.testing.assert_close(network.get_submodule(path)(embedding), captured.output)
    assert one(captured.read("maps")).shape[2:] == ((4, 4) if "vit" in name else (2, 2))
