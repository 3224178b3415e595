"""What each word of speed switches, and what it changes in the numbers."""

import pytest
import torch
from torch import nn

from relatum import Fault, models, speed
from relatum.discovery import find_taps
from relatum.precision import half_here
from relatum.speed import Asked, Speed, Word
from relatum.taps import Tapped
from relatum.teachers import Teacher
from relatum.types import Input

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("word", "precision", "there", "wanted"),
    [
        ("exact", "auto", True, torch.float32),
        ("exact", "bfloat16", False, torch.bfloat16),
        ("fast", "auto", True, torch.bfloat16),
        ("fast", "auto", False, torch.float32),
        ("fast", "float32", True, torch.float32),
        ("max", "auto", True, torch.bfloat16),
    ],
)
def test_precision(
    word: Word,
    precision: Asked,
    there: bool,
    wanted: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(speed, "half_here", lambda _: there)
    monkeypatch.setattr(speed, "_missing", lambda _: None)
    assert speed.speed(word, GPU, precision).precision == wanted


@pytest.mark.parametrize("device", [CPU, GPU], ids=str)
@pytest.mark.parametrize("word", ["exact", "fast", "max"])
def test_what_a_word_switches(
    word: Word, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "half_here", lambda _: True)
    monkeypatch.setattr(speed, "_missing", lambda _: None)
    found = speed.speed(word, device)
    kind = torch.float32 if word == "exact" else torch.bfloat16
    most = word == "max"
    assert found == Speed(kind, word != "exact", most, most and device == GPU)


def test_max_needs_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Fault, match=r"no C\+\+ compiler \(\S+\) here; .* --speed fast"):
        speed.speed("max", CPU)
    assert not speed.speed("fast", CPU).compiled


def test_a_processor_says_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    for avx, amx in ((True, False), (False, True), (False, False)):
        monkeypatch.setattr(
            torch.cpu, "_is_avx512_bf16_supported", lambda avx=avx: avx, raising=False
        )
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda amx=amx: amx, raising=False)
        assert half_here(CPU) is (avx or amx)
    assert not half_here(torch.device("meta"))


def hooks_of(teacher: Teacher) -> int:
    every = teacher.network.modules()
    return sum(len(each._forward_hooks) + len(each._forward_pre_hooks) for each in every)


def a_teacher(name: str = "resnet8") -> Teacher:
    network = models.create(name, channels=3, size=32, classes=10)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return Teacher(network, find_taps(network, torch.rand(2, 3, 32, 32)), Input())


@pytest.mark.parametrize("name", ["resnet8", "wrn-16-1", "mobilenetv2"])
@pytest.mark.parametrize(
    ("precision", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)], ids=str
)
def test_a_quick_teacher_says_nearly_the_same(
    name: str, precision: torch.dtype, tolerance: float
) -> None:
    teacher, images = a_teacher(name), torch.rand(16, 3, 32, 32)
    before = teacher.state()
    quick = teacher.quick(images[:2], precision)
    assert all(torch.equal(value, before[key]) for key, value in teacher.state().items())
    assert not any(each.requires_grad for each in quick.parameters())
    assert not any(each.training for each in quick.modules())
    for one, other in ((quick, teacher), (teacher, quick)):  # tapped once, as ever
        assert len(one.tapped._hooks) == hooks_of(other)
    wanted, got = teacher.encode(images), quick.encode(images)
    assert got.taps.keys() == wanted.taps.keys()
    for name in ("output", "embedding", "maps"):
        here, there = got.read(name), wanted.read(name)
        assert isinstance(here, torch.Tensor)
        assert isinstance(there, torch.Tensor)
        apart = float((here.float() - there).norm() / there.norm())
        assert apart < tolerance
        assert precision == torch.float32 or apart > 1e-5  # bfloat16 was computed in
    maps = got.read("maps")
    assert isinstance(maps, torch.Tensor)
    assert maps.is_contiguous(memory_format=torch.channels_last)


def test_channels_last_is_only_a_layout() -> None:
    teacher, images = a_teacher(), torch.rand(4, 3, 32, 32)
    last = Tapped(teacher.network, teacher.taps).channels_last()
    assert last.prepare(images).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(last.prepare(images), teacher.tapped.prepare(images))
    state = last.network.state_dict()
    assert state["conv1.weight"].is_contiguous(memory_format=torch.channels_last)
