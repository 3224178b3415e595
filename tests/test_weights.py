"""Weights in files: whole or not at all, and nothing in them runs."""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from relatum.types import Fault
from relatum.weights import about_weights, fingerprint, load_weights, save_weights, write
from tests import toys


def one_line(caught: pytest.ExceptionInfo[Fault]) -> str:
    text = str(caught.value)
    assert "\n" not in text
    return text


# write ------------------------------------------------------------------------------------------


def test_write_makes_folders_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.bin"
    write(path, b"one")
    write(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_a_write_that_fails_leaves_what_was_there(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.bin"
    write(path, b"good")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, name, full)
    monkeypatch.setattr(Path, "replace", full if name == "replace" else Path.replace)
    with pytest.raises(Fault, match=r"cannot write .*file.bin: No space left") as caught:
        write(path, b"better")
    one_line(caught)
    assert path.read_bytes() == b"good"
    assert list(tmp_path.iterdir()) == [path]


def test_an_impatient_user_leaves_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "file.bin", b"better")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Fault, match="cannot write") as caught:
        write(tmp_path / "file" / "below.bin", b"")
    one_line(caught)


class Malice:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_no_file_runs_code(tmp_path: Path) -> None:
    victim = tmp_path / "done"
    torch.save({"weight": Malice(victim)}, tmp_path / "w.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Malice(victim), protocol=2))
    for name in ("w.pth", "plain.pth"):
        with pytest.raises(Fault, match=r"w.pth|plain.pth") as caught:
            load_weights(nn.Linear(1, 1), tmp_path / name)
        one_line(caught)
    assert not victim.exists()
    # the same file does run it where pickles are trusted: the test can fail
    torch.load(tmp_path / "w.pth", weights_only=False)
    assert victim.exists()


# weights ----------------------------------------------------------------------------------------


def test_weights_are_the_bare_networks(tmp_path: Path) -> None:
    network = toys.Net()
    save_weights(network, tmp_path / "w.safetensors", {"model": "net", "mean": "0.5 0.5"})
    assert set(load_file(tmp_path / "w.safetensors")) == set(network.state_dict())
    assert about_weights(tmp_path / "w.safetensors") == {
        "model": "net",
        "mean": "0.5 0.5",
        "format": "pt",
    }
    other = toys.Net()
    assert fingerprint(other) != fingerprint(network)
    load_weights(other, tmp_path / "w.safetensors")
    assert toys.same(toys.state(other), toys.state(network))
    assert fingerprint(other) == fingerprint(network)


def test_equal_weights_are_equal_files(tmp_path: Path) -> None:
    """safetensors itself writes metadata in a random order."""
    about = {name: f'{name}: Ä\n"\\' for name in "qwertyuiop"}
    network = toys.Net()
    for place in range(5):
        save_weights(network, tmp_path / f"{place}.safetensors", about)
    contents = {path.read_bytes() for path in tmp_path.iterdir()}
    assert len(contents) == 1
    assert about_weights(tmp_path / "0.safetensors") == {**about, "format": "pt"}
    (content,) = contents
    assert int.from_bytes(content[:8], "little") % 8 == 0


def test_weights_of_others_load_too(tmp_path: Path) -> None:
    network, other = toys.Net(), toys.Net()
    torch.save(network.state_dict(), tmp_path / "w.pth")
    load_weights(other, tmp_path / "w.pth")
    assert fingerprint(other) == fingerprint(network)
    save_file(toys.Net().state_dict(), tmp_path / "bare.safetensors")
    assert "model" not in about_weights(tmp_path / "bare.safetensors")


def test_shared_weights_are_saved_twice_and_load(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    network[1].weight = network[0].weight
    save_weights(network, tmp_path / "w.safetensors")
    load_weights(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), tmp_path / "w.safetensors")


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(toys.Net(width=5), path)
    network = toys.Net()
    before = toys.state(network)
    with pytest.raises(Fault, match=r"conv.weight is \(5, 1, 3, 3\) there and \(4, 1, 3, 3\)"):
        load_weights(network, path)
    save_weights(nn.Sequential(), path)
    with pytest.raises(Fault, match=r"it lacks 'bn.bias'"):
        load_weights(network, path)
    save_file({**network.state_dict(), "zz": torch.ones(1)}, path)
    with pytest.raises(Fault, match="it has 'zz'") as caught:
        load_weights(network, path)
    one_line(caught)
    assert toys.same(toys.state(network), before)


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_damaged_weights_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"w.{suffix}"
    with pytest.raises(Fault, match="there is no file"):
        load_weights(toys.Net(), path)
    if suffix == "pth":
        torch.save(toys.Net().state_dict(), path)
    else:
        save_weights(toys.Net(), path)
    content = path.read_bytes()
    for damaged in (b"", b"no weights at all", content[: len(content) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(Fault, match="w\\.") as caught:
            load_weights(toys.Net(), path)
        one_line(caught)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (torch.eye(2).to_sparse(), r"weight is sparse \(torch.sparse_coo\)"),
        (torch.eye(2, device="meta"), "weight is without values"),
        (torch.eye(2, dtype=torch.complex64), "weight is complex there and real here"),
    ],
)
def test_tensors_that_are_not_plain_are_refused(
    made: torch.Tensor, words: str, tmp_path: Path
) -> None:
    network, path = nn.Linear(2, 2), tmp_path / "w.pth"
    torch.save(network.state_dict() | {"weight": made}, path)
    with pytest.raises(Fault, match=words) as caught:
        load_weights(network, path)
    one_line(caught)


@pytest.mark.filterwarnings("ignore")
def test_a_torchscript_file_is_refused_without_torchs_advice(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.jit.script(nn.Linear(2, 2)).save(str(path))  # type: ignore[no-untyped-call]
    with pytest.raises(Fault, match="is a TorchScript file, which holds code") as caught:
        load_weights(nn.Linear(2, 2), path)
    assert "weights_only" not in one_line(caught)


def test_what_holds_other_things_than_tensors_is_refused(tmp_path: Path) -> None:
    for content in ({"epoch": 3, "model": {}}, [torch.ones(1)], torch.ones(2)):
        torch.save(content, tmp_path / "w.pth")
        with pytest.raises(Fault, match="no file of plain tensors"):
            load_weights(toys.Net(), tmp_path / "w.pth")


@pytest.mark.parametrize("content", [None, b"", b"x" * 50])
def test_about_a_file_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "w.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Fault, match="holds no readable weights") as caught:
        about_weights(path)
    one_line(caught)


def test_the_fingerprint_sees_names_buffers_types_and_shapes() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).requires_grad_(False)
    prints = {fingerprint(network), fingerprint(network)}
    assert len(prints) == 1
    dict(network.named_buffers())["1.running_mean"].add_(1)
    prints.add(fingerprint(network))
    prints.add(fingerprint(nn.ModuleDict({"a": network})))
    dict(network.named_parameters())["0.weight"].t_()
    prints.add(fingerprint(network))
    prints.add(fingerprint(network.bfloat16()))
    assert len(prints) == 5
