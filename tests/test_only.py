"""What learns and what rests: parts of a student, and a student that nobody listens to."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relatum.distiller import Distiller
from relatum.losses import KD, CrossEntropy
from relatum.models import create
from relatum.objective import Objective, Term
from relatum.taps import Tapped
from relatum.teachers import Teacher
from relatum.types import Batch, Fault


def batch(rows: int = 8) -> Batch:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(rows, 3, 16, 16, generator=generator)
    return Batch(images, torch.arange(rows) % 4, torch.arange(rows))


def student() -> Tapped:
    network = create("resnet8", channels=3, size=16, classes=4)
    return Tapped(network, network.taps)  # type: ignore[arg-type]


def step(distiller: Distiller) -> None:
    distiller.rest(batch())
    distiller.train()
    optimizer = torch.optim.SGD(distiller.parameters(), lr=0.1)
    distiller.losses(batch()).total.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def changed(before: dict[str, Tensor], tapped: Tapped) -> set[str]:
    after = tapped.network.state_dict()
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


def copied(tapped: Tapped) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in tapped.network.state_dict().items()}


def test_only_the_classifier_learns_and_no_statistic_moves() -> None:
    tapped = student()
    before = copied(tapped)
    step(Distiller(tapped, None, Objective(ce=Term(CrossEntropy())), only=("fc",)))
    assert changed(before, tapped) == {"fc.weight", "fc.bias"}


def test_drifting_statistics_move_and_parameters_do_not() -> None:
    tapped = student()
    before = copied(tapped)
    objective = Objective(ce=Term(CrossEntropy()))
    step(Distiller(tapped, None, objective, only=("fc",), drifting=True))
    moved = changed(before, tapped) - {"fc.weight", "fc.bias"}
    assert moved
    assert all("running" in name or "num_batches" in name for name in moved)


class OfTheTeacher(nn.Module):
    """Learns something about the teacher alone."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 4)

    def forward(self, teacher: Tensor) -> Tensor:
        return F.mse_loss(self.head(teacher), teacher)


def test_a_student_that_no_term_reads_is_not_run() -> None:
    tapped, loss = student(), OfTheTeacher()
    network = create("resnet14", channels=3, size=16, classes=4)
    teacher = Teacher(network, network.taps)  # type: ignore[arg-type]
    ran: list[object] = []
    tapped.network.register_forward_hook(lambda *_: ran.append(1))
    before, head = copied(tapped), loss.head.weight.detach().clone()
    step(Distiller(tapped, teacher, Objective(of=Term(loss)), only=()))
    assert not changed(before, tapped)
    assert not ran
    assert not torch.equal(head, loss.head.weight)


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(Fault, match=r"no submodule 'classifier'; the nearest is"):
        Distiller(student(), None, Objective(ce=Term(CrossEntropy())), only=("classifier",))


class Ramp(KD):
    """Notes what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[float] = []

    def at(self, progress: float) -> None:
        self.told.append(progress)


def test_a_loss_is_told_how_far_the_training_is() -> None:
    loss = Ramp()
    objective = Objective(ramp=Term(loss))
    objective.at(0.25)
    assert loss.told == [0.25]
