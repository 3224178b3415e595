"""Values held on a device and values mapped from files are the same rows."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from relatum.cache.shards import ROWS, Shard, read_shard, write_shard
from relatum.cache.values import Mapped, held
from tests.toys import tensors

SAMPLES, VIEWS = 2 * ROWS + 52, 2
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def whole() -> list[Tensor]:
    """Views · samples × … of two layers, one a vector, one a map with one value beyond float16."""
    torch.manual_seed(0)
    vector, maps = torch.randn(VIEWS * SAMPLES, 3), torch.randn(VIEWS * SAMPLES, 2, 2, 1)
    maps[SAMPLES + 5, 0, 0, 0] = 1e6
    return [vector, maps]


@pytest.fixture(scope="module")
def mapped(whole: list[Tensor], tmp_path_factory: pytest.TempPathFactory) -> Mapped:
    folder, views = tmp_path_factory.mktemp("shards"), list[list[Shard]]()
    for view in range(VIEWS):
        views.append([])
        for first in range(0, SAMPLES, ROWS):
            rows = slice(view * SAMPLES + first, view * SAMPLES + min(first + ROWS, SAMPLES))
            path = Path(folder, f"{view}-{first}.safetensors")
            write_shard(path, [each[rows] for each in whole], {})
            views[-1].append(read_shard(path, {}))
    return Mapped(views, SAMPLES, alone=False)


@pytest.mark.parametrize("places", ["mixed", "again", "one", "none"])
def test_the_rows_are_those_that_were_stored(
    whole: list[Tensor], mapped: Mapped, places: str
) -> None:
    wanted = {
        "mixed": torch.randperm(VIEWS * SAMPLES)[:300],
        "again": torch.tensor([ROWS, 0, ROWS, SAMPLES, ROWS - 1, SAMPLES - 1, ROWS]),
        "one": torch.tensor([SAMPLES + 5]),
        "none": torch.tensor([], dtype=torch.long),
    }[places]
    for values in (mapped, held(mapped, CPU)):
        vector, maps = tensors(values.rows(wanted, CPU))
        assert torch.equal(vector, whole[0][wanted])
        torch.testing.assert_close(maps, whole[1][wanted], rtol=2**-11, atol=2**-25)
        assert maps.dtype == torch.float32


def test_the_same_bits_either_way(mapped: Mapped) -> None:
    places = torch.randperm(VIEWS * SAMPLES)[:500]
    pairs = zip(mapped.rows(places, CPU), held(mapped, CPU).rows(places, CPU), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_its_size_is_that_of_what_is_held(mapped: Mapped) -> None:
    whole = held(mapped, CPU)
    assert mapped.kinds == (torch.float32, torch.float32)  # one shard did not fit into float16
    assert mapped.bytes == sum(each.nbytes for each in whole.layers)
    alone = Mapped([[mapped.shards[0][0]], [mapped.shards[0][0]]], ROWS, alone=False)
    assert alone.kinds == (torch.float32, torch.float16)
    assert alone.bytes == 2 * ROWS * (3 * 4 + 4 * 2)
