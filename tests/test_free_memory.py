"""One notion of free memory, for all that asks whether something fits."""

from pathlib import Path

import pytest
import torch

from relatum import free_memory
from relatum.cache.values import ON_CPU, room_on
from relatum.free_memory import free

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_processes_share_the_machine_and_what_gpus_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(free_memory, "_of_machine", lambda: 1000)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (600, 900))
    for gpus, of_four in ((4, 600), (8, 600), (2, 300), (1, 150)):
        monkeypatch.setattr(torch.cuda, "device_count", lambda gpus=gpus: gpus)
        monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
        assert (free(CPU), free(CUDA)) == (1000, 600)
        monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
        assert (free(CPU), free(CUDA)) == (250, of_four)


def test_a_containers_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(free_memory, "CGROUP", tmp_path)
    assert free_memory._of_container(1000) == 1000
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory._of_container(1000) == 1000
    (tmp_path / "memory.max").write_text("900\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 500\ninactive_file 150\n")
    assert free_memory._of_container(1000) == 350


def test_there_is_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert free(CPU) > 2**20


def test_a_cache_takes_no_memory_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relatum.cache.values.free", lambda device: 1 << 20)
    assert room_on(CPU) == room_on(CUDA) == 1 << 18
    monkeypatch.setattr("relatum.cache.values.free", lambda device: 1 << 40)
    assert room_on(CPU) == ON_CPU
    assert room_on(CUDA) == 1 << 38
