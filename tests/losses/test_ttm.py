import math

import pytest
import torch
from torch import Tensor

from relatum.losses import KD, TTM, WTTM
from tests.losses.numbers import randn, softened, waves


def naive(student: Tensor, teacher: Tensor, gamma: float) -> list[tuple[float, float]]:
    """Of every sample: the power sum, and the divergence from the powered teacher."""
    found = []
    for s, t in zip(softened(student), softened(teacher), strict=True):
        powers = [p**gamma for p in t]
        target = [p / sum(powers) for p in powers]
        divergence = sum(q * math.log(q / p) for p, q in zip(s, target, strict=True))
        found.append((sum(powers), divergence))
    return found


@pytest.mark.parametrize("gamma", [0.1, 0.5, 1.0])
def test_equal_naive_loops(gamma: float) -> None:
    student, teacher = randn(4, 5), randn(4, 5, seed=1)
    rows = naive(student, teacher, gamma)
    plain, weighed = (loss(gamma)(student, teacher) for loss in (TTM, WTTM))
    assert float(plain) == pytest.approx(sum(kl for _, kl in rows) / 4, rel=1e-12)
    assert float(weighed) == pytest.approx(sum(power * kl for power, kl in rows) / 4, rel=1e-12)


def test_recorded_table() -> None:
    student, teacher, _ = waves()
    assert float(TTM()(student, teacher)) == pytest.approx(1.16148482, abs=6e-9)
    assert float(WTTM()(student, teacher)) == pytest.approx(8.09992077, abs=6e-9)


def test_is_kd_less_the_students_renyi_entropy() -> None:
    """Equation 15: D(q‖p) = T D(q‖p_T) - (T - 1) H_{1/T}(p) + (T - 1) H(q)."""
    student, teacher, warmth = randn(4, 6), randn(4, 6, seed=1), 5.0
    soft = KD(warmth)(student, teacher) / warmth**2
    powers = student.softmax(1) ** (1 / warmth)
    renyi = (powers.sum(1).log() / (1 - 1 / warmth)).mean()
    shannon = torch.special.entr((teacher / warmth).softmax(1)).sum(1).mean()
    wanted = warmth * soft + (warmth - 1) * (shannon - renyi)
    torch.testing.assert_close(TTM(1 / warmth)(student, teacher), wanted, rtol=1e-12, atol=1e-12)


def test_is_kd_at_temperature_one_for_the_exponent_one() -> None:
    student, teacher, _ = waves()
    wanted = KD(1.0)(student, teacher)
    for loss in (TTM(1.0), WTTM(1.0)):
        torch.testing.assert_close(loss(student, teacher), wanted)


def test_least_value_is_zero_where_the_student_is_the_powered_teacher() -> None:
    teacher = randn(4, 5)
    for loss in (TTM(0.2), WTTM(0.2)):
        student = (0.2 * teacher).requires_grad_()
        value = loss(student, teacher)
        value.backward()
        assert abs(float(value.detach())) < 1e-14
        assert student.grad is not None
        assert student.grad.abs().max() < 1e-14
        assert loss(teacher, teacher) > 1e-3


def test_weight_is_one_for_a_certain_teacher_and_most_for_one_that_knows_nothing() -> None:
    student = randn(1, 8)
    for teacher, weight in ((1e4 * torch.eye(1, 8).double(), 1.0), (torch.zeros(1, 8), 8**0.9)):
        found = WTTM(0.1)(student, teacher.double()) / TTM(0.1)(student, teacher.double())
        assert float(found) == pytest.approx(weight, rel=1e-9)


@pytest.mark.parametrize("loss", [TTM, WTTM])
def test_probabilities_that_underflow_do_no_harm(loss: type[TTM]) -> None:
    """The power of what the logits say, not of zero: 0.1 · 150 is far from certain."""
    teacher = torch.tensor([[0.0, -150.0, -150.0]])
    student = torch.zeros(1, 3, requires_grad=True)
    value = loss(0.1)(student, teacher)
    wanted = loss(0.1)(student.double(), teacher.double())
    torch.testing.assert_close(value, wanted.float(), rtol=1e-6, atol=0)
