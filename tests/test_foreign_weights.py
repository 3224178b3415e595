"""Checkpoints of other code bases: read where they are safe, refused in one line where not."""

import json
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from relatum.datasets.cifar import CIFAR100
from relatum.foreign_weights import readings
from relatum.models import create
from relatum.types import Fault
from relatum.weights import fingerprint, fingerprints_of, load_weights
from tests import checkpoints, toys

NETWORKS = [
    *["resnet8", "wrn-16-1", "vgg8", "resnet50-cifar", "mobilenetv2"],
    *["shufflenetv1", "shufflenetv2"],
]
Format = Callable[[nn.Module], dict[str, Any]]


def new(name: str, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    network = create(name, channels=3, size=32, classes=10)
    for buffer in network.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    return network


def one_line(caught: pytest.ExceptionInfo[Fault]) -> str:
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("form", [checkpoints.repdistiller, checkpoints.mdistiller_latest])
def test_every_family_loads_from_both_code_bases(name: str, form: Format, tmp_path: Path) -> None:
    saved, network = new(name, 0), new(name, 1)
    path = checkpoints.save(form(saved), tmp_path / "ckpt_epoch_240.pth")
    assert fingerprint(network) != fingerprint(saved)
    load_weights(network, path)
    assert fingerprint(network) == fingerprint(saved)
    assert fingerprint(network) in fingerprints_of(path)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("form", checkpoints.FORMATS)
def test_every_format_loads(form: Format, legacy: bool, tmp_path: Path) -> None:
    saved, network = toys.Net(), toys.Net()
    path = checkpoints.save(form(saved), tmp_path / "student_best", legacy)
    load_weights(network, path)
    assert fingerprint(network) == fingerprint(saved)
    assert fingerprint(network) in fingerprints_of(path)


def test_safetensors_of_a_wrapped_network_load(tmp_path: Path) -> None:
    saved, network = toys.Net(), toys.Net()
    save_file(checkpoints.compiled(saved), tmp_path / "w.safetensors")
    load_weights(network, tmp_path / "w.safetensors")
    assert fingerprint(network) == fingerprint(saved)


def test_a_network_with_a_student_inside_keeps_it(tmp_path: Path) -> None:
    """As SimKD's student, which goes on with a projector and a classifier."""
    saved, network = (
        nn.ModuleDict({"student": nn.Linear(2, 3), "projector": nn.Linear(3, 4)}) for _ in range(2)
    )
    for number, content in enumerate(
        (saved.state_dict(), checkpoints.mdistiller_student(saved), checkpoints.compiled(saved))
    ):
        path = checkpoints.save(content, tmp_path / f"{number}.pth")
        load_weights(network, path)
        assert fingerprint(network) == fingerprint(saved)
        assert fingerprint(network) in fingerprints_of(path)
        nn.init.zeros_(network["student"].weight)  # type: ignore[arg-type]


def test_a_wrapping_is_of_every_name() -> None:
    state = {"module.fc.weight": torch.ones(1), "fc.bias": torch.ones(1)}
    assert list(readings(state)) == [state]
    assert list(readings({})) == [{}]
    deep = {"_orig_mod.module.student._orig_mod.fc.bias": torch.ones(1)}
    assert [next(iter(each)) for each in readings(deep)][-1] == "fc.bias"


@pytest.mark.parametrize(
    ("content", "has"),
    [
        ({"epoch": 3, "model": {}}, ": it has 'epoch', 'model'"),
        ({"model": {"fc.bias": 3.0}}, ": it has 'model'"),
        ({"model": {1: torch.ones(1)}}, ": it has 'model'"),
        ({"a\nb": {"fc.bias": torch.ones(1)}}, r": it has 'a\nb'"),
        ([torch.ones(1)], ""),
        (torch.ones(2), ""),
        (None, ""),
    ],
)
def test_what_holds_no_weights_is_refused(content: Any, has: str, tmp_path: Path) -> None:
    assert list(readings(content)) == []
    path = checkpoints.save(content, tmp_path / "w.pth")
    with pytest.raises(Fault) as caught:
        load_weights(toys.Net(), path)
    assert one_line(caught).endswith(f"w.pth is no file of plain tensors by name{has}")


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickled_object_is_refused(legacy: bool, tmp_path: Path) -> None:
    content = checkpoints.repdistiller_last(toys.Net())
    content["opt"].out = tmp_path  # what parsed the command line may stand there, and no more
    path = checkpoints.save(content, tmp_path / "wrn_16_2_last.pth", legacy)
    with pytest.raises(Fault, match=r"last\.pth is no file of plain tensors") as caught:
        load_weights(toys.Net(), path)
    line = one_line(caught)
    assert "it has pathlib" in line
    assert "torch.save(network.state_dict(), FILE)" in line


def test_half_precision_is_raised_and_known_again(tmp_path: Path) -> None:
    saved, network = toys.Net(), toys.Net()
    path = checkpoints.save(checkpoints.in_halves(saved), tmp_path / "w.pth")
    load_weights(network, path)
    halves = checkpoints.in_halves(saved)
    for name, value in network.state_dict().items():
        assert value.dtype == saved.state_dict()[name].dtype
        torch.testing.assert_close(value, halves[name].to(value.dtype), rtol=0, atol=0)
    assert fingerprint(network) in fingerprints_of(path)


def shards(folder: Path, network: nn.Module) -> tuple[Path, dict[str, str]]:
    """A network's weights in two files and their index, as transformers saves them."""
    state = network.state_dict()
    map_ = {name: f"model-{1 + place % 2}-of-2.safetensors" for place, name in enumerate(state)}
    for file in set(map_.values()):
        save_file({name: state[name] for name in state if map_[name] == file}, folder / file)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": map_}))
    return index, map_


def test_weights_in_several_files(tmp_path: Path) -> None:
    saved, network = toys.Net(), toys.Net()
    index, map_ = shards(tmp_path, saved)
    load_weights(network, index)
    assert fingerprint(network) == fingerprint(saved)
    for wrong, says in (
        ("{", "is no index of weights"),
        ("[]", "is no index of weights"),
        (json.dumps({"weight_map": map_ | {"fc.more": next(iter(map_.values()))}}), "'fc.more'"),
        (json.dumps({"weight_map": map_ | {"fc.more": "../w.bin"}}), "files beside it alone"),
        (json.dumps({"weight_map": map_ | {"fc.more": "w.bin"}}), r"there is no file .*w\.bin"),
    ):
        index.write_text(wrong)
        with pytest.raises(Fault, match=says) as caught:
            load_weights(network, index)
        one_line(caught)


class Malice:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


def forged(folder: Path, network: nn.Module) -> list[dict[str, Any]]:
    """A malicious object wherever a checkpoint has one of its own."""
    evil = Malice(folder)
    state = network.state_dict()
    return [
        checkpoints.repdistiller_best(network) | {"best_acc": evil},
        {"model": {**state, next(iter(state)): evil}},
        {"opt": evil, "model": state},
        {"model": evil},
        {**state, "zz": evil},
    ]


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("way", ["zip", "legacy", "pickle"])
def test_nothing_in_a_checkpoint_runs(place: int, way: str, tmp_path: Path) -> None:
    folder, path = tmp_path / "executed", tmp_path / "ckpt_epoch_240.pth"
    content = forged(folder, toys.Net())[place]
    if way == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        checkpoints.save(content, path, legacy=way == "legacy")
    with pytest.raises(Fault, match="was not loaded") as caught:
        load_weights(toys.Net(), path)
    assert way == "pickle" or "mkdir" in one_line(caught)
    assert not folder.exists()
    torch.load(path, weights_only=False) if way != "pickle" else pickle.loads(path.read_bytes())
    assert folder.exists()  # so the test can fail


@pytest.mark.parametrize("form", [checkpoints.repdistiller, checkpoints.mdistiller_latest])
def test_another_networks_checkpoint_is_refused(form: Format, tmp_path: Path) -> None:
    path = checkpoints.save(form(new("wrn-16-1", 0)), tmp_path / "w.pth")
    for name in ("resnet8", "wrn-16-2"):
        network = new(name, 1)
        before = fingerprint(network)
        with pytest.raises(Fault, match=r"w\.pth is of another network") as caught:
            load_weights(network, path)
        assert not re.search(r"module\.|student\.", one_line(caught))
        assert fingerprint(network) == before


@pytest.mark.parametrize("legacy", [False, True])
def test_a_damaged_checkpoint_is_refused(legacy: bool, tmp_path: Path) -> None:
    path = checkpoints.save(checkpoints.repdistiller(toys.Net()), tmp_path / "w.pth", legacy)
    whole = path.read_bytes()
    for cut in (0, 1, len(whole) // 3, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        network = toys.Net()
        before = fingerprint(network)
        with pytest.raises(Fault, match=r"w\.pth") as caught:
            load_weights(network, path)
        one_line(caught)
        assert fingerprint(network) == before


def test_our_cifar_100_is_normalised_as_theirs() -> None:
    """A checkpoint does not say how; so a teacher of theirs sees what it was trained on."""
    assert CIFAR100.mean == (0.5071, 0.4867, 0.4408)
    assert CIFAR100.std == (0.2675, 0.2565, 0.2761)
