"""Memory that batches share, one after the other."""

import gc

import numpy as np
import torch

from relatum.data import Batches, Stored
from relatum.data.buffers import ALIGNED, Buffers


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


def test_batches_that_are_let_go_make_room_and_those_that_are_kept_stay() -> None:
    rows = torch.arange(40)
    data = Stored(lambda row: torch.full((1, 4, 4), row, dtype=torch.uint8), rows, (1, 4, 4))
    batches = Batches(data, 4)
    places = {each.images.data_ptr() for number in range(3) for each in batches.epoch(number)}
    assert len(places) <= 3
    kept = [each.images for each in batches.epoch(0)]
    for _ in batches.epoch(1):
        pass
    assert torch.equal(torch.cat(kept)[:, 0, 0, 0], rows / 255)
