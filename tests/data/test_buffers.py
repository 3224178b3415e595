"""Memory that batches share, one after the other."""

import copy
import gc
import pickle
from typing import Any

import numpy as np
import pytest
import torch

from relatum.data import Batches, Stored, buffers
from relatum.data.buffers import ALIGNED, KEPT, Buffers


def test_the_bits_are_torchs() -> None:
    pixels = torch.arange(256).byte().view(2, 2, 8, 8)
    found = Buffers().scaled(pixels)
    assert found.dtype == torch.float32
    assert torch.equal(found, pixels / 255)
    assert torch.equal(found, pixels.float().div_(255))
    turned = pixels.permute(0, 1, 3, 2)
    assert torch.equal(Buffers().scaled(turned), turned / 255)


def test_nothing_is_lent_twice() -> None:
    buffers = Buffers()
    held = [buffers.lend((3, 5), np.float32) for _ in range(3)]
    assert len({each.data_ptr() for each in held}) == 3
    assert not any(each.data_ptr() % ALIGNED for each in held)
    part, place = held[1][2:].detach(), held[1].data_ptr()
    array = held[2].numpy()
    held.clear()
    gc.collect()
    found = [buffers.lend((3, 5), np.float32).fill_(7) for _ in range(3)]
    assert place not in {each.data_ptr() for each in found}  # a part of it is still seen
    assert array.ctypes.data not in {each.data_ptr() for each in found}
    del part
    assert buffers.lend((3, 5), np.uint8).data_ptr() != place  # of another size
    assert buffers.lend((3, 5), np.float32).data_ptr() == place


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size of every piece that was asked of the system."""
    found: list[int] = []

    def counted(size: int) -> Any:
        found.append(size)
        return aligned(size)

    aligned = buffers._aligned
    monkeypatch.setattr(buffers, "_aligned", counted)
    return found


def streamed(rows: int = 40) -> Batches:
    def decode(row: int) -> torch.Tensor:
        return torch.full((1, 4, 4), row, dtype=torch.uint8)

    return Batches(Stored(decode, torch.arange(rows), (1, 4, 4), threads=1), 4)


def test_batches_that_are_let_go_make_room_and_those_that_are_kept_stay(pieces: list[int]) -> None:
    batches, rows = streamed(), torch.arange(40)
    for number in range(3):
        for _ in batches.epoch(number):
            pass
    assert {*pieces} == {4 * 16, 4 * 16 * 4}  # bytes, and floats
    assert len(pieces) <= 2 * KEPT  # of 60 that were lent
    kept = [each.images for each in batches.epoch(0)]
    for _ in batches.epoch(1):
        pass
    assert torch.equal(torch.cat(kept)[:, 0, 0, 0], rows / 255)


def test_memory_of_batches_that_were_held_is_given_back() -> None:
    batches = streamed()
    free = batches._buffers._free
    held = list(batches.epoch(0))
    assert len(held) == 10
    held.clear()
    gc.collect()
    assert max(len(each) for each in free.values()) == KEPT


def test_a_copy_brings_no_memory_along() -> None:
    buffers = Buffers()
    lent = buffers.lend((1 << 20,), np.uint8)
    del lent
    stored = pickle.dumps(buffers)
    assert len(stored) < 1000
    again = pickle.loads(stored)
    assert again.lend((3,), np.uint8).shape == (3,)
    assert not copy.deepcopy(buffers)._free
