"""An objective on two processes with uneven shares trains as one process does.

Run as a module this file is one of the processes.
"""

from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from relatum import world
from relatum.accumulate import accumulate
from relatum.distiller import Distiller
from relatum.losses import KD, RRD, RRKD, SP, CrossEntropy
from relatum.objective import Objective, Term
from relatum.types import Batch, Captured
from tests import toys
from tests.processes import join, start

SHARES = (5, 3)
Found = dict[str | bool, Any]


class Spread(nn.Module):
    """A pointwise loss of its own, over a tuple of layers, that uses its images."""

    def forward(self, student: tuple[Tensor, ...], images: Tensor) -> Tensor:
        first = student[0].flatten(1).mean(1) * images.flatten(1).mean(1)
        return first.mean() + student[1].square().flatten(1).mean()


def trained(fixed: bool) -> dict[str, Tensor]:
    """Total loss and gradients of a mix of terms over two steps, in float64."""
    torch.manual_seed(3)
    # no BatchNorm in the student: its statistics are those of a process, as under DDP
    learner = toys.student(dropout=0.0)
    learner.network.bn = nn.Identity()
    anchors = torch.rand(4, 1, 6, 6, dtype=torch.float64) if fixed else None
    objective = Objective(
        ce=Term(CrossEntropy(), weight=0.7),
        kd=Term(KD(), weight=0.9),
        sp=Term(SP(), on=("maps", "embedding"), weight=lambda progress: 3 + progress),
        rrkd=Term(RRKD(), on="embedding"),
        rrd=Term(RRD(4, 6, dim=5, queue_size=7), on="embedding"),
        spread=Term(Spread(), on="stages", weight=0.3),
    )
    taught = toys.teacher()
    taught.double()
    distiller = Distiller(learner, taught, objective, anchors)
    distiller.learner.double()
    distiller.train()
    results: dict[str, Tensor] = {}
    whole = toys.batches(2 * sum(SHARES), sum(SHARES)).epoch(1)
    for step, each in enumerate(whole):
        objective.at(step / 2)
        distiller.learner.zero_grad()
        losses, _ = distiller(own(each))
        losses.total.backward()  # type: ignore[no-untyped-call]
        results[f"{step} total"] = averaged(losses.total.detach())
        for name, part in losses.parts.items():
            results[f"{step} {name}"] = averaged(part)
        for name, parameter in distiller.learner.named_parameters():
            if parameter.grad is not None:
                results[f"{step} {name}"] = averaged(parameter.grad)
        results |= {f"{step} {n}": each.clone() for n, each in objective.named_buffers()}
    return results


class Parted:
    """A teacher whose every call needs all processes, as one that is held in parts does."""

    def __init__(self) -> None:
        self.calls = 0
        self.teacher = toys.teacher().double()

    def __call__(self, batch: Batch) -> Captured:
        self.calls += 1
        averaged(torch.zeros(1))
        captured: Captured = self.teacher(batch)
        return captured


def mixed() -> tuple[dict[str, Tensor], int]:
    """What is learnt of batches that go through at once, and of others in microbatches.

    Each process builds a student of its own; all train that of the first one.
    """
    learner = toys.student(seed=world.rank(), dropout=0.0)
    learner.network.bn = nn.Identity()
    torch.manual_seed(world.rank())
    objective = Objective(
        ce=Term(CrossEntropy()),
        sp=Term(SP(), on="maps", weight=30.0),
        rrd=Term(RRD(4, 6, dim=5, queue_size=7), on="embedding"),
    )
    taught = Parted()
    distiller = Distiller(learner, taught, objective)
    distiller.learner.double()
    distiller.train()
    optimizer = torch.optim.SGD(distiller.parameters(), lr=0.1, momentum=0.9)
    whole = toys.batches(4 * sum(SHARES), sum(SHARES)).epoch(1)
    for each, microbatch in zip(whole, (1, None, 2, None), strict=True):
        if microbatch is None:
            distiller.spread(own(each))
            distiller.losses(own(each)).total.backward()  # type: ignore[no-untyped-call]
        else:
            accumulate(distiller, own(each), microbatch)
        optimizer.step()
        optimizer.zero_grad()
    return toys.state(distiller.learner), taught.calls


def own(batch: Batch) -> Batch:
    """This process's share of a batch, in float64."""
    first = sum(SHARES[: world.rank()])
    part = slice(first, first + SHARES[world.rank()]) if world.size() > 1 else slice(None)
    assert batch.labels is not None
    images = batch.images[part].double()
    return Batch(images, batch.labels[part], batch.indices[part], batch.view)


def averaged(value: Tensor) -> Tensor:
    value = value.clone()
    if world.size() > 1:
        dist.all_reduce(value)
    return value / world.size()


@pytest.fixture(scope="module")
def pair() -> list[Found]:
    """What each of two processes found."""
    return start("tests.test_objective_ranks")


def test_two_processes_with_uneven_shares_train_as_one(pair: list[Found]) -> None:
    for fixed in (False, True):
        alone = trained(fixed)
        assert sum("conv.weight" in name for name in alone) == 2
        assert sum("student_head" in name for name in alone) == 4
        for each in pair:
            torch.testing.assert_close(each[fixed], alone, rtol=1e-9, atol=1e-12)


def test_batches_at_once_and_in_microbatches_take_turns(pair: list[Found]) -> None:
    alone, _ = mixed()
    assert alone["objective.losses.rrd.pointer"] == 4 * sum(SHARES) % 7
    (first, calls), (second, others) = (each["mixed"] for each in pair)
    torch.testing.assert_close(first, alone, rtol=1e-9, atol=1e-12)
    assert toys.same(first, second)
    assert calls == others > 4 + 2  # in steps, and where DDP is shown one


def found() -> Found:
    return {"mixed": mixed(), **{fixed: trained(fixed) for fixed in (False, True)}}


if __name__ == "__main__":
    join(found)
