"""An objective on two processes with uneven shares trains as one process does.

Run as a module this file is one of the processes.
"""

import torch
import torch.distributed as dist
from torch import Tensor, nn

from relatum import world
from relatum.distiller import Distiller
from relatum.losses import KD, RRD, RRKD, SP, CrossEntropy
from relatum.objective import Objective, Term
from relatum.types import Batch
from tests import toys
from tests.processes import join, start

SHARES = (5, 3)


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


def test_two_processes_with_uneven_shares_train_as_one() -> None:
    pair = start("tests.test_objective_ranks")
    for fixed in (False, True):
        alone = trained(fixed)
        assert sum("conv.weight" in name for name in alone) == 2
        assert sum("student_head" in name for name in alone) == 4
        for each in pair:
            torch.testing.assert_close(each[fixed], alone, rtol=1e-9, atol=1e-12)


if __name__ == "__main__":
    join(lambda: {fixed: trained(fixed) for fixed in (False, True)})
