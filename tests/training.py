"""A small training that has all that could go astray, for the tests of the loop."""

import torch

from relatum.distiller import Distiller
from relatum.losses import KD, RRD, SP, CrossEntropy
from relatum.objective import Objective, Term
from tests import toys

STEPS = 5
"""In an epoch of ``toys.batches``, the last one short."""


def made() -> Distiller:
    """Dropout, BatchNorm, a queue, a schedule of weights: all that could go astray."""
    torch.manual_seed(3)
    objective = Objective(
        ce=Term(CrossEntropy(), weight=lambda progress: 1 - progress / 2),
        kd=Term(KD(), weight=0.9),
        rrd=Term(RRD(4, 6, dim=5, queue_size=16), on="embedding"),
        sp=Term(SP(), on="maps", weight=10.0),
    )
    distiller = Distiller(toys.student(), toys.teacher(), objective)
    torch.manual_seed(7)
    return distiller


def sgd(distiller: Distiller, tensor: bool = False) -> torch.optim.Optimizer:
    rate = torch.tensor(0.1) if tensor else 0.1
    return torch.optim.SGD(
        distiller.parameters(), lr=rate, momentum=0.9, weight_decay=1e-3, nesterov=True
    )
