"""Running statistics of BatchNorm on three processes: one network, whoever saves it.

Run as a module this file is one of the processes.
"""

from typing import Any

import pytest
import torch
from torch import Tensor

from relatum import world
from relatum.data import Batches, Resident
from relatum.distiller import Distiller
from relatum.fit import fit
from relatum.losses import CrossEntropy
from relatum.objective import Objective, Term
from relatum.schedules import constant
from tests import toys
from tests.processes import join, start

WORLD = 3
"""A third of a sum of three equal numbers is another number for some of them."""


def trained(only: tuple[str, ...] | None) -> dict[str, Any]:
    torch.manual_seed(5)
    student = toys.student(dropout=0.0)
    norm = student.network.get_submodule("bn")
    with torch.no_grad():
        norm.running_mean.uniform_()  # type: ignore[operator]
    before = {name: each.clone() for name, each in norm.named_buffers()}
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(256, (24, 1, 6, 6), dtype=torch.uint8, generator=generator)
    data = Resident(images, torch.arange(24) % 3)
    distiller = Distiller(student, None, Objective(ce=Term(CrossEntropy())), only=only)
    optimizer = torch.optim.SGD(distiller.parameters(), lr=0.01)
    batches = Batches(data, 12, shuffle=True, shared=True)
    for _ in fit(distiller, batches, optimizer, constant(), 10):
        pass
    after = {name: each.clone() for name, each in norm.named_buffers()}
    return {"before": before, "after": after, "rank": world.rank()}


def mean_of(statistics: dict[str, Tensor]) -> Tensor:
    return statistics["running_mean"]


@pytest.fixture(scope="module")
def every() -> list[dict[str, Any]]:
    """What each of the processes has."""
    return start("tests.test_statistics_ranks", WORLD)


def test_three_processes_have_the_statistics_of_one(every: list[dict[str, Any]]) -> None:
    alone = trained(None)
    assert not torch.equal(mean_of(alone["after"]), mean_of(alone["before"]))
    for each in every:
        first = every[0]["all"]["after"]
        assert toys.same(each["all"]["after"], first)
        # in the first layer behind the images, so the samples' own mean, up to the weights' way
        near = mean_of(alone["after"])
        torch.testing.assert_close(mean_of(each["all"]["after"]), near, rtol=0.05, atol=0.02)


def test_layers_at_rest_keep_theirs_to_the_bit(every: list[dict[str, Any]]) -> None:
    for each in every:
        assert toys.same(each["head"]["after"], each["head"]["before"])


if __name__ == "__main__":
    join(lambda: {"all": trained(None), "head": trained(("fc",))})
