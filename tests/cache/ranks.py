"""One of several processes that train together from one cache: python -m tests.cache.ranks."""

import os
from pathlib import Path
from typing import Any

import torch

from relatum.data import Crop, Flip
from relatum.distiller import Distiller
from relatum.fit import fit
from relatum.losses import KD, SP
from relatum.objective import Objective, Term
from relatum.schedules import constant
from tests import toys
from tests.cache.asked import ask, counted
from tests.processes import join

FOLDER = "RELATUM_TEST_CACHE"


def work() -> dict[str, Any]:
    """What the losses are with the teacher and without, and how many images it was shown."""
    live = toys.teacher()
    seen = counted(live)
    source = toys.batches(2100, 64, augment=(Crop(1), Flip()), views=2, shared=True, drop_last=True)
    cached = ask(live, source, Path(os.environ[FOLDER]), ("embedding", "output"))
    filled = sum(seen)
    found: dict[str, Any] = {"seen": filled}
    for name, teacher in (("live", toys.teacher()), ("cached", cached)):
        student = toys.student(dropout=0.0)
        objective = Objective(kd=Term(KD()), sp=Term(SP(), on="embedding"))
        distiller = Distiller(student, teacher, objective)
        optimizer = torch.optim.SGD(distiller.parameters(), lr=0.05)
        found[name] = [
            dict(each.losses) for each in fit(distiller, source, optimizer, constant(), 2)
        ]
    return {**found, "again": sum(seen) - filled}


if __name__ == "__main__":
    join(work)
