import math

import pytest
import torch

from relatum.losses import KD
from relatum.types import Fault
from tests.losses.numbers import randn


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_equals_a_naive_loop(temperature: float) -> None:
    student, teacher = randn(3, 4), randn(3, 4, seed=1)

    def softened(logits: list[float]) -> list[float]:
        powers = [math.exp(logit / temperature) for logit in logits]
        return [power / sum(powers) for power in powers]

    total = 0.0
    for student_row, teacher_row in zip(student.tolist(), teacher.tolist(), strict=True):
        chances = zip(softened(student_row), softened(teacher_row), strict=True)
        total += sum(t * math.log(t / s) for s, t in chances)
    wanted = temperature**2 * total / 3
    assert float(KD(temperature)(student, teacher)) == pytest.approx(wanted, rel=1e-12)


def test_gradient_is_the_difference_of_chances() -> None:
    """T / B times the student's chances less the teacher's."""
    student, teacher = randn(5, 7).requires_grad_(), randn(5, 7, seed=1)
    KD(3.0)(student, teacher).backward()
    apart = (student / 3).softmax(1) - (teacher / 3).softmax(1)
    torch.testing.assert_close(student.grad, (3 / 5 * apart).detach())


def test_gradient_keeps_its_size_for_any_temperature() -> None:
    """For small logits it tends to (z_s - z_t) / (B C), each less its mean."""
    student, teacher = (1e-3 * randn(4, 5, seed=seed) for seed in (0, 1))
    centred = [logits - logits.mean(1, keepdim=True) for logits in (student, teacher)]
    wanted = (centred[0] - centred[1]) / (4 * 5)
    for temperature in (1.0, 4.0, 20.0):
        student = student.detach().requires_grad_()
        KD(temperature)(student, teacher).backward()
        torch.testing.assert_close(student.grad, wanted, rtol=0.02, atol=1e-7)


def test_shift_of_a_row_does_not_matter() -> None:
    student, teacher = randn(4, 5), randn(4, 5, seed=1)
    shift = randn(4, 1, seed=2)
    torch.testing.assert_close(KD()(student + shift, teacher - shift), KD()(student, teacher))


def test_is_not_symmetric() -> None:
    student, teacher = randn(4, 5), randn(4, 5, seed=1)
    assert abs(KD(1.0)(student, teacher) - KD(1.0)(teacher, student)) > 1e-3


def test_certain_teacher() -> None:
    """One class has all the chance, the others underflow to zero."""
    student = torch.zeros(2, 2, requires_grad=True)
    loss = KD(1.0)(student, torch.tensor([[1e4, -1e4], [-1e4, 1e4]]))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2))
    assert student.grad is not None
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("temperature", [float("inf"), 1e308, 1e-300, 0.0, float("nan")])
def test_a_temperature_that_leaves_nothing_of_the_logits(temperature: float) -> None:
    with pytest.raises(Fault, match=r"must be positive, from 0.001 to 10000, got"):
        KD(temperature)
