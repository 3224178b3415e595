import pytest
import torch

from relatum.datasets import room
from relatum.datasets.own import Reading
from relatum.types import Fault

CPU = torch.device("cpu")


def test_half_of_what_is_free_here_and_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"cpu": 1000, "cuda": 300}
    monkeypatch.setattr(room, "free", lambda device: there[device.type])
    assert room.room(CPU) == 500
    assert room.room(torch.device("cuda")) == 150
    there["cpu"] = 200
    assert room.room(torch.device("cuda")) == 100


def test_the_choice() -> None:
    assert Reading(8, "auto", room=191).choice(1) == "streamed"
    assert Reading(8, "auto", room=192).choice(1) == "resident"
    assert Reading(8, "resident", room=0).choice(1) == "resident"
    assert Reading(8, "streamed").choice(1) == "streamed"
    with pytest.raises(Fault, match="at least one pixel"):
        Reading(0)
