"""Rows of several processes as if they were one's.

Run as a module this file is one of the processes.
"""

from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from relatum import world
from tests.processes import join, start

SPLITS = {"uneven": (5, 3), "even": (4, 4), "one idle": (8, 0), "other idle": (0, 8)}
CPU = torch.device("cpu")
Found = dict[str, Any]


def rows(seed: int = 0) -> Tensor:
    return torch.randn(8, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def coupled(samples: Tensor) -> Tensor:
    """A number that no part of the batch knows."""
    flat = samples.flatten(1)
    return (flat @ flat.T).tanh().square().sum()


def found(split: tuple[int, ...]) -> Found:
    """What one process sees, and the gradient that DDP would give a common parameter."""
    rank = world.rank()
    own, whole = rows().split(split)[rank], torch.arange(8)  # type: ignore[no-untyped-call]
    lengths = world.counts(len(own), CPU)
    parameter = torch.ones(2, 3, dtype=torch.float64, requires_grad=True)
    value = coupled(world.gather(own * parameter, lengths))
    value.backward()  # type: ignore[no-untyped-call]
    assert parameter.grad is not None
    dist.all_reduce(parameter.grad)

    leaf = own.clone().requires_grad_()
    # every process reads the rows in another way, and a row hears of all of them
    (world.gather(leaf, lengths) * (rank + 1)).sum().backward()  # type: ignore[no-untyped-call]
    return {
        "size": world.size(),
        "rank": rank,
        "counts": lengths,
        "value": value.detach(),
        "gradient": parameter.grad / world.size(),
        "gradient of rows": leaf.grad,
        "labels": world.gather(whole.split(split)[rank], lengths),  # type: ignore[no-untyped-call]
        "half": world.gather(own.half(), lengths),
        "strided": world.gather(own.mT, lengths),
        **agreed(rank),
    }


def agreed(rank: int) -> Found:
    """What the processes make of numbers of their own."""
    own = [torch.full((2, 2), rank + 0.5), torch.tensor(float(rank)).double(), torch.ones(3) * rank]
    world.average(own)
    held = [torch.full((2,), rank), torch.tensor(rank == 0)]
    world.alike(held)
    return {
        "shares": world.shares(7),
        "own": (world.own(7).start, world.own(7).stop),
        "average": own,
        "mean": world.mean(torch.tensor([0.1, 0.3]) * (rank + 1)),
        "alike": held,
    }


@pytest.fixture(scope="module")
def pair() -> list[dict[str, Found]]:
    """What each of two processes found, by split."""
    return start("tests.test_world")


def test_alone() -> None:
    assert (world.size(), world.rank()) == (1, 0)
    assert world.counts(7, CPU) == (7,)
    samples = rows()
    assert world.gather(samples, [8]) is samples
    assert (world.shares(7), world.own(7)) == ((7,), slice(0, 7))
    assert world.mean(samples) is samples
    before = samples.clone()
    world.average([samples])
    world.alike([samples])
    assert torch.equal(samples, before)


@pytest.mark.parametrize("name", SPLITS)
def test_everybody_sees_everything_in_order(name: str, pair: list[dict[str, Found]]) -> None:
    for rank, each in enumerate(pair):
        seen = each[name]
        assert (seen["size"], seen["rank"], seen["counts"]) == (2, rank, SPLITS[name])
        assert seen["labels"].tolist() == list(range(8))
        assert torch.equal(seen["half"], rows().half())
        assert torch.equal(seen["strided"], rows().mT)


@pytest.mark.parametrize("name", SPLITS)
def test_a_coupled_loss_is_that_of_one_process(name: str, pair: list[dict[str, Found]]) -> None:
    parameter = torch.ones(2, 3, dtype=torch.float64, requires_grad=True)
    value = coupled(rows() * parameter)
    value.backward()  # type: ignore[no-untyped-call]
    for each in pair:
        torch.testing.assert_close(each[name]["value"], value.detach())
        torch.testing.assert_close(each[name]["gradient"], parameter.grad)


@pytest.mark.parametrize("name", SPLITS)
def test_a_row_hears_of_every_process(name: str, pair: list[dict[str, Found]]) -> None:
    for rank, each in enumerate(pair):
        wanted = torch.full((SPLITS[name][rank], 2, 3), 1.0 + 2.0, dtype=torch.float64)
        assert torch.equal(each[name]["gradient of rows"], wanted)


@pytest.mark.parametrize(
    ("length", "wanted"), [(8, (3, 3, 2)), (6, (2, 2, 2)), (2, (1, 1, 0)), (0, (0, 0, 0))]
)
def test_shares_are_as_even_as_can_be(
    length: int, wanted: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world, "size", lambda: 3)
    assert world.shares(length) == wanted
    rows: list[int] = []
    for rank in range(3):
        monkeypatch.setattr(world, "rank", lambda rank=rank: rank)
        rows += range(length)[world.own(length)]
    assert rows == list(range(length))


def test_both_agree(pair: list[dict[str, Found]]) -> None:
    for rank, each in enumerate(pair):
        seen = each["even"]
        assert seen["shares"] == (4, 3)
        assert seen["own"] == ((0, 4), (4, 7))[rank]
        for found, wanted in zip(seen["average"], (1.0, 0.5, 0.5), strict=True):
            assert torch.equal(found, torch.full_like(found, wanted))
        assert [found.dtype for found in seen["average"]] == [
            torch.float32,
            torch.float64,
            torch.float32,
        ]
        torch.testing.assert_close(seen["mean"], torch.tensor([0.15, 0.45]))
        assert torch.equal(seen["mean"], pair[0]["even"]["mean"])
        assert [found.tolist() for found in seen["alike"]] == [[0, 0], True]


if __name__ == "__main__":
    join(lambda: {name: found(split) for name, split in SPLITS.items()})
