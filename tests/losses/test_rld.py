"""RLD: the teacher's confidence, and its ranking below the label."""

import math

import pytest
import torch

from relatum.losses import RLD
from tests.losses.numbers import randn, softened, waves

LABELS = torch.tensor([1, 3, 0, 2])


@pytest.mark.parametrize(("warmth", "sure"), [(4.0, 1.0), (2.0, 2.0)])
def test_equals_a_naive_loop(warmth: float, sure: float) -> None:
    student, teacher = randn(4, 5), randn(4, 5, seed=1)
    total = 0.0
    for row, label in enumerate(LABELS.tolist()):
        s, t = softened(student, sure)[row], softened(teacher, sure)[row]
        most = max(t)
        for p, q in ((most, s[label]), (1 - most, 1 - s[label])):
            total += 2.0 * sure**2 * p * math.log(p / q)
        s, t = softened(student, warmth)[row], softened(teacher, warmth)[row]
        below = [c for c in range(5) if teacher[row, c] < teacher[row, label]]
        for c in below:
            p, q = (each[c] / sum(each[k] for k in below) for each in (t, s))
            total += 3.0 * warmth**2 * p * math.log(p / q)
    found = RLD(2.0, 3.0, warmth, sure)(student, teacher, LABELS)
    assert float(found) == pytest.approx(total / 4, rel=1e-12)


def test_recorded_table() -> None:
    assert float(RLD()(*waves())) == pytest.approx(3.55647022, abs=6e-9)


def test_what_the_teacher_puts_above_the_label_does_not_matter() -> None:
    student, labels = randn(1, 5), torch.tensor([2])
    teacher = torch.tensor([[9.0, 1.0, 5.0, 7.0, 0.0]]).double()
    swapped = teacher[:, [3, 1, 2, 0, 4]]
    only = RLD(alpha=0.0)
    torch.testing.assert_close(only(student, teacher, labels), only(student, swapped, labels))


def test_a_label_that_the_teacher_puts_last_adds_nothing_but_confidence() -> None:
    student = randn(2, 4).requires_grad_()
    teacher = torch.tensor([[3.0, 2.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]]).double()
    loss = RLD(alpha=0.0)(student, teacher, torch.tensor([3, 1]))
    loss.backward()
    assert loss == 0
    assert student.grad is not None
    assert not student.grad.any()


def test_certain_networks() -> None:
    student = (1e4 * torch.eye(2, 3)).requires_grad_()
    loss = RLD()(student, 1e4 * torch.eye(2, 3), torch.tensor([0, 2]))
    loss.backward()
    assert loss.isfinite()
    assert student.grad is not None
    assert student.grad.isfinite().all()
