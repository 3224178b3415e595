from pathlib import Path

import pytest
import torch
from torch import nn

from relatum.discovery import find_taps
from relatum.models import MODELS, create
from relatum.taps import Tap, Tapped
from relatum.types import Fault

MINE = """
from torch import nn

def make_model(channels, classes, width=4):
    return nn.Sequential(nn.Conv2d(channels, width, 3), nn.Flatten(), nn.LazyLinear(classes))

def make_sized(*, size, **others):
    assert others == {"channels": 3, "classes": 5}
    return nn.Linear(size, 1)

def make_deep(classes, depth):
    return nn.Identity()

def make_nothing():
    return None

NUMBER = 3
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path


@pytest.mark.parametrize("name", MODELS)
def test_every_network_is_made_by_its_name_and_each_tap_runs(name: str) -> None:
    network = create(name, channels=2, size=16, classes=3)
    assert network.training
    images = torch.rand(2, 2, 16, 16)
    captured = Tapped(network.eval(), find_taps(network, images))(images)
    torch.testing.assert_close(captured.output, network(images))
    assert captured.output.shape == (images.shape if "-ae-" in name else (2, 3))
    assert {"embedding", "preactivations"} <= set(captured.taps)
    embedding = captured.taps["embedding"]
    assert isinstance(embedding, torch.Tensor)
    assert embedding.ndim == 2


@pytest.mark.parametrize("name", MODELS)
def test_nothing_works_in_place_and_every_place_runs_once(name: str) -> None:
    network = create(name, channels=1, size=8, classes=3)
    assert not any(getattr(module, "inplace", False) for module in network.modules())
    leaves = [path for path, module in network.named_modules() if not list(module.children())]
    everything = {"all": tuple(Tap(path) for path in leaves)}
    captured = Tapped(network, everything)(torch.rand(2, 1, 8, 8))
    assert len(captured.read("all")) == len(leaves)


def test_a_function_gets_what_its_signature_takes(here: Path) -> None:
    network = create("mine.py:make_model", channels=3, size=8, classes=5)
    assert network(torch.rand(2, 3, 8, 8)).shape == (2, 5)
    sized = create("mine.py:make_sized", channels=3, size=8, classes=5)
    assert isinstance(sized, nn.Linear)
    assert sized.in_features == 8


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet21", "nearest are .*resnet20"),
        ("ResNet20", "nearest are resnet20"),
        ("ResNet50", "nearest are resnet50-cifar"),
        ("wrn_40_2", "nearest are wrn-40-2"),
        ("mnist_mlp_32", "nearest are mnist-mlp-32"),
        ("hf/some", "no kind of vision model 'some'"),
        ("resnet20:pretrained", "'resnet20' has no published weights"),
        ("mine.py:make_modle", "nearest are make_model"),
        ("mine.py:make_deep", "asks for 'depth'"),
        ("mine.py:make_nothing", "must return an nn.Module, it returned a NoneType"),
        ("mine.py:NUMBER", "wanted a function that makes a network, got 3"),
    ],
)
def test_faults_say_the_way_out(here: Path, name: str, message: str) -> None:
    with pytest.raises(Fault, match=message) as caught:
        create(name, channels=3, size=8, classes=5)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", ["channels", "size", "classes"])
def test_numbers_below_one_are_refused(wrong: str) -> None:
    asked = {"channels": 3, "size": 8, "classes": 5, wrong: 0}
    with pytest.raises(Fault, match=f"resnet8: {wrong} must be at least 1, got 0"):
        create("resnet8", **asked)
