from pathlib import Path

import pytest
import torch

from relatum.datasets import room
from relatum.datasets.own import Reading
from relatum.types import Fault

CPU = torch.device("cpu")


def test_half_of_what_is_free_shared_by_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_free", lambda: 1000)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert room.room(CPU) == 500
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert room.room(CPU) == 125


def test_a_containers_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "CGROUP", tmp_path)
    assert room._of_container(1000) == 1000
    (tmp_path / "memory.max").write_text("max\n")
    assert room._of_container(1000) == 1000
    (tmp_path / "memory.max").write_text("900\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 500\ninactive_file 150\n")
    assert room._of_container(1000) == 350


def test_there_is_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert room.room(CPU) > 2**20


def test_the_choice() -> None:
    assert Reading(8, "auto", room=191).choice(1) == "streamed"
    assert Reading(8, "auto", room=192).choice(1) == "resident"
    assert Reading(8, "resident", room=0).choice(1) == "resident"
    assert Reading(8, "streamed").choice(1) == "streamed"
    with pytest.raises(Fault, match="at least one pixel"):
        Reading(0)
