"""A file of the cache holds what was said, or is refused."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from relatum.cache.shards import compact, read_shard, write_shard
from relatum.types import Fault
from tests import toys
from tests.cache.asked import identity

FACTS = dict(identity(toys.teacher(), toys.batches()).facts)
ABOUT = {"facts": FACTS, "view": 0, "first": 0}


def test_vectors_keep_their_bits_and_maps_take_half_the_room() -> None:
    torch.manual_seed(0)
    vector, maps = torch.randn(5, 7), torch.randn(5, 3, 2, 2)
    assert compact(vector) is vector
    assert compact(maps).dtype == torch.float16
    assert (compact(maps) - maps).abs().max() <= maps.abs().max() * 2**-11
    assert compact(maps.bfloat16()).dtype == torch.bfloat16
    assert compact(maps.double()).dtype == torch.float64


@pytest.mark.parametrize("value", [65_520.0, -1e30, float("nan"), float("inf")])
def test_maps_that_float16_cannot_hold_stay_as_they_are(value: float) -> None:
    maps = torch.ones(5, 3, 2, 2)
    maps[2, 1, 0, 1] = value
    assert compact(maps) is maps
    maps[2, 1, 0, 1] = 65_504.0
    assert torch.equal(compact(maps).float(), maps)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "maps" / "0.safetensors"
    said = [torch.randn(4, 6), torch.randn(4, 2, 3, 3), torch.randn(4, 2).bfloat16()]
    written = write_shard(path, said, ABOUT)
    read = read_shard(path, ABOUT)
    assert read.spoken == written.spoken == (torch.float32, torch.float32, torch.bfloat16)
    for one, other, heard in zip(read.layers, written.layers, said, strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one, compact(heard))
    assert [each.name for each in path.parent.iterdir()] == ["0.safetensors"]


def refused(path: Path, **other: object) -> str:
    with pytest.raises(Fault) as fault:
        read_shard(path, {**ABOUT, **other})
    assert "\n" not in str(fault.value)
    return str(fault.value)


def test_another_cache_is_refused_and_what_differs_is_named(tmp_path: Path) -> None:
    path = tmp_path / "0.safetensors"
    write_shard(path, [torch.zeros(4, 6)], ABOUT)
    other = {**FACTS, "weights": "0", "images": "0"}
    line = refused(path, facts=other)
    assert "the teacher's weights, the training images differ; delete it" in line
    assert "its view is 0, wanted 1" in refused(path, view=1)


def test_a_damaged_truncated_or_missing_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "0.safetensors"
    assert "lacks" in refused(path)
    write_shard(path, [torch.randn(64, 32)], ABOUT)
    content = path.read_bytes()
    for length in (0, 4, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        assert "is no whole shard" in refused(path)
    for place in (len(content) - 1, len(content) // 2):
        damaged = bytearray(content)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        os.utime(path, ns=(place, place))  # a file system may count time in seconds
        assert "is damaged" in refused(path)
    path.write_bytes(content)
    assert len(read_shard(path, ABOUT).layers[0]) == 64


def test_a_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "0.safetensors"
    save_file({"0": torch.zeros(4, 6)}, path)
    assert "of another cache" in refused(path)
    save_file({"weight": torch.zeros(4, 6)}, path)
    assert "is no whole shard" in refused(path)
    save_file(
        {"0": torch.zeros(4, 6)}, path, metadata={"about": json.dumps({**ABOUT, "spoken": ["x"]})}
    )
    assert "is no whole shard" in refused(path)
