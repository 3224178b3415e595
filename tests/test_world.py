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


if __name__ == "__main__":
    join(lambda: {name: found(split) for name, split in SPLITS.items()})
