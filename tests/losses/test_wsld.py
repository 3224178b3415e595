import math

import pytest
import torch

from relatum.losses import WSLD, CrossEntropy
from tests.losses.numbers import randn, softened, waves

LABELS = torch.tensor([1, 3, 0, 2])


@pytest.mark.parametrize("warmth", [2.0, 4.0])
def test_equals_a_naive_loop(warmth: float) -> None:
    student, teacher = randn(4, 5), randn(4, 5, seed=1)
    total = 0.0
    for row, label in enumerate(LABELS.tolist()):
        hard = [-math.log(softened(z)[row][label]) for z in (student, teacher)]
        weight = 1 - math.exp(-hard[0] / (hard[1] + 1e-7))
        s, t = softened(student, warmth)[row], softened(teacher, warmth)[row]
        total -= weight * sum(b * math.log(a) for a, b in zip(s, t, strict=True))
    wanted = warmth**2 * total / 4
    assert float(WSLD(warmth)(student, teacher, LABELS)) == pytest.approx(wanted, rel=1e-12)


def test_recorded_table() -> None:
    """There the first logits are the teacher's."""
    teacher, student, _ = waves(100)
    labels = torch.tensor([1, 5, 50, 99])
    soft = 2.5 * WSLD(2.0)(student, teacher, labels)
    assert float(soft) == pytest.approx(26.13761993, abs=6e-9)
    whole = CrossEntropy()(student, labels) + soft
    assert float(whole) == pytest.approx(31.59031474, abs=6e-9)


def test_no_gradient_passes_the_weights() -> None:
    """T w / B times the student's chances less the teacher's."""
    student, teacher, labels = waves()
    student = student.requires_grad_()
    WSLD(4.0)(student, teacher, labels).backward()
    hard = [-z.detach().log_softmax(1)[range(4), labels] for z in (student, teacher)]
    weight = 1 - torch.exp(-hard[0] / (hard[1] + 1e-7))
    apart = (student / 4).softmax(1) - (teacher / 4).softmax(1)
    torch.testing.assert_close(student.grad, (4 / 4 * weight[:, None] * apart).detach())


def test_a_sample_that_the_student_knows_better_counts_less() -> None:
    teacher, labels = torch.zeros(1, 3), torch.tensor([0])
    values = [WSLD()(size * torch.eye(1, 3), teacher, labels) for size in (0.0, 3.0, 30.0)]
    soft = [-(size * torch.eye(1, 3) / 4).log_softmax(1).mean() for size in (0.0, 3.0, 30.0)]
    shares = [float(value / part) / 16 for value, part in zip(values, soft, strict=True)]
    assert 1 - math.exp(-1) == pytest.approx(shares[0], rel=1e-5)
    assert shares[0] > shares[1] > shares[2] >= 0


def test_certain_networks_are_finite() -> None:
    teacher, labels = 1e4 * torch.eye(3), torch.arange(3)
    for student in (teacher, -teacher, torch.zeros(3, 3)):
        given = student.clone().requires_grad_()
        loss = WSLD()(given, teacher, labels)
        loss.backward()
        assert loss.isfinite()
        assert given.grad is not None
        assert given.grad.isfinite().all()
