import math

import pytest
import torch

from relatum.losses import NKD
from tests.losses.numbers import randn, softened, waves

LABELS = torch.tensor([1, 3, 0, 2])


@pytest.mark.parametrize(("gamma", "warmth"), [(1.5, 1.0), (3.5, 3.0)])
def test_equals_a_naive_loop(gamma: float, warmth: float) -> None:
    student, teacher = randn(4, 5), randn(4, 5, seed=1)
    total = 0.0
    hot = softened(student, warmth), softened(teacher, warmth)
    for row, label in enumerate(LABELS.tolist()):
        s, t = softened(student)[row], softened(teacher)[row]
        total -= t[label] * math.log(s[label])
        others = [c for c in range(5) if c != label]
        for c in others:
            chances = [h[row][c] / sum(h[row][k] for k in others) for h in hot]
            total -= gamma * warmth**2 * chances[1] * math.log(chances[0])
    wanted = total / 4
    assert float(NKD(gamma, warmth)(student, teacher, LABELS)) == pytest.approx(wanted, rel=1e-12)


def test_recorded_table() -> None:
    assert float(NKD()(*waves())) == pytest.approx(2.76352852, abs=6e-9)


def test_temperature_is_that_of_the_others_alone() -> None:
    given = waves()
    target = NKD(gamma=0.0)(*given)
    for warmth in (2.0, 8.0):
        torch.testing.assert_close(NKD(0.0, warmth)(*given), target)


def test_the_label_is_not_among_the_others() -> None:
    """However sure the student is of it, the second term stays."""
    student, teacher, labels = waves()
    surer = student + 5 * torch.eye(10, dtype=student.dtype)[labels]
    rest = [NKD(1.0)(z, teacher, labels) - NKD(0.0)(z, teacher, labels) for z in (student, surer)]
    torch.testing.assert_close(*rest)


def test_two_classes_leave_nothing_but_the_target() -> None:
    student, teacher, labels = randn(4, 2), randn(4, 2, seed=1), LABELS % 2
    assert NKD(5.0)(student, teacher, labels) == NKD(0.0)(student, teacher, labels)


def test_certain_teacher() -> None:
    student = torch.zeros(2, 3, requires_grad=True)
    loss = NKD()(student, 1e4 * torch.eye(2, 3), torch.tensor([0, 2]))
    loss.backward()
    assert loss.isfinite()
    assert student.grad is not None
    assert student.grad.isfinite().all()
