"""What keeps a training from being replayed is said, and the training is as without."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from relatum import world
from relatum.distiller import Distiller
from relatum.fit import fit
from relatum.losses import KD, KDSVD, CrossEntropy, VkD
from relatum.objective import Objective, Term
from relatum.replay import Replay, obstacle
from relatum.schedules import constant
from relatum.types import Batch, Captured
from tests import toys
from tests.replay.recorded import Recorded


def made(**terms: Term) -> Distiller:
    return Distiller(toys.student(), toys.teacher(), Objective(**(terms or {"kd": Term(KD())})))


def sgd(distiller: Distiller, **named: Any) -> torch.optim.Optimizer:
    rate = torch.tensor(0.1)
    return torch.optim.SGD(distiller.parameters(), **{"lr": rate, "fused": True, **named})


def test_nothing_stands_against_a_plain_training() -> None:
    distiller = made()
    assert obstacle(distiller, sgd(distiller), toys.batches(), anywhere=True) is None


def test_a_processor_has_no_graphs() -> None:
    distiller, replay = made(), Replay()
    (epoch,) = fit(distiller, toys.batches(), sgd(distiller), constant(), 1, replay=replay)
    assert replay.obstacle == "the student is on the cpu, and graphs are CUDA's"
    assert replay.played == 0
    assert epoch.samples == 21


class Draws(nn.Module):
    """A loss with a generator of its own, on the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator()

    def forward(self, student: Tensor) -> Tensor:
        return student.square().mean()


@pytest.mark.parametrize(
    ("term", "says"),
    [
        (Term(KDSVD(), on="stages"), "term 'odd': KDSVD waits for the device at every step"),
        (Term(VkD(4, 6, "whiten"), on="embedding"), "term 'odd': VkD waits for the device"),
    ],
)
def test_losses_that_wait(term: Term, says: str) -> None:
    distiller = made(ce=Term(CrossEntropy()), odd=term)
    assert says in str(obstacle(distiller, sgd(distiller), toys.batches(), anywhere=True))


def test_a_generator_elsewhere() -> None:
    distiller = made(odd=Term(Draws()))
    optimizer = sgd(distiller)
    distiller.learner.to("meta")  # stands for a device of another kind
    optimizer.param_groups[0]["lr"] = torch.tensor(0.1, device="meta")
    says = obstacle(distiller, optimizer, toys.batches(), anywhere=True)
    assert says == "objective.losses.odd draws from a generator on the cpu"


def test_vkd_for_classifiers_is_no_obstacle() -> None:
    distiller = made(vkd=Term(VkD(4, 6), on="embedding"))
    assert obstacle(distiller, sgd(distiller), toys.batches(), anywhere=True) is None


def test_a_rate_that_is_no_tensor() -> None:
    distiller = made()
    optimizer = sgd(distiller, lr=0.1, fused=False)
    says = obstacle(distiller, optimizer, toys.batches(), anywhere=True)
    assert says == "the optimiser's learning rate is no tensor on the cpu"


@pytest.mark.parametrize("kind", ["pre", "post"])
def test_hooks_of_the_optimiser(kind: str) -> None:
    distiller = made()
    optimizer = sgd(distiller)
    getattr(optimizer, f"register_step_{kind}_hook")(lambda *_: None)
    assert "hooks" in str(obstacle(distiller, optimizer, toys.batches(), anywhere=True))


def test_a_source_that_is_not_drawn() -> None:
    distiller, replay = made(), Replay(Recorded)
    fixed = toys.Fixed(*toys.batches().epoch(1))
    (epoch,) = fit(distiller, fixed, sgd(distiller), constant(), 1, replay=replay)
    assert "not cut out of a set on the device" in str(replay.obstacle)
    assert epoch.samples == 21


def test_microbatches() -> None:
    distiller, replay = made(), Replay(Recorded)
    list(fit(distiller, toys.batches(), sgd(distiller), constant(), 1, microbatch=2, replay=replay))
    assert "in parts (microbatch)" in str(replay.obstacle)


def test_a_teacher_of_ones_own() -> None:
    live = toys.teacher()

    def teaches(batch: Batch) -> Captured:
        return live(batch)  # type: ignore[no-any-return]

    distiller = Distiller(toys.student(), teaches, Objective(kd=Term(KD())))
    says = obstacle(distiller, sgd(distiller), toys.batches(), anywhere=True)
    assert says == "the teacher is a function, of which nobody knows what it does"


def test_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    distiller = made()
    optimizer, batches = sgd(distiller), toys.batches()
    monkeypatch.setattr(world, "size", lambda: 2)
    says = obstacle(distiller, optimizer, batches, anywhere=True)
    assert says == "several processes train together"
