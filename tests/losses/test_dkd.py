import math

import pytest
import torch
from torch import Tensor

from relatum.losses import DKD, KD
from tests.losses.numbers import randn, softened, waves

LABELS = torch.tensor([1, 3, 0, 2])


def divergence(student: list[float], teacher: list[float]) -> float:
    return sum(t * math.log(t / s) for s, t in zip(student, teacher, strict=True))


def naive(student: Tensor, teacher: Tensor, labels: Tensor, warmth: float) -> tuple[float, float]:
    """Of the target class and of the others, both with T² and the mean over the batch."""
    target, rest = 0.0, 0.0
    rows = zip(softened(student, warmth), softened(teacher, warmth), labels.tolist(), strict=True)
    for s, t, label in rows:
        target += divergence([s[label], 1 - s[label]], [t[label], 1 - t[label]])
        others = [[p / (1 - row[label]) for c, p in enumerate(row) if c != label] for row in (s, t)]
        rest += divergence(*others)
    return warmth**2 * target / len(labels), warmth**2 * rest / len(labels)


@pytest.mark.parametrize("warmth", [1.0, 4.0])
def test_equals_a_naive_loop(warmth: float) -> None:
    student, teacher = randn(4, 5), randn(4, 5, seed=1)
    target, rest = naive(student, teacher, LABELS, warmth)
    found = DKD(alpha=0.5, beta=3.0, temperature=warmth)(student, teacher, LABELS)
    assert float(found) == pytest.approx(0.5 * target + 3 * rest, rel=1e-12)


def test_recorded_table() -> None:
    given = waves()
    assert float(DKD(1, 0)(*given)) == pytest.approx(0.05266496, abs=6e-9)
    assert float(DKD(0, 1)(*given)) == pytest.approx(0.49666748, abs=6e-9)
    assert float(DKD()(*given)) == pytest.approx(4.02600480, abs=6e-9)


def test_kd_is_both_terms_the_second_weighed_by_what_the_teacher_leaves_to_others() -> None:
    for seed in range(5):
        student, teacher = randn(1, 6, seed=seed), randn(1, 6, seed=seed + 10)
        label = torch.tensor([seed])
        left = 1 - (teacher / 4).softmax(1)[0, seed]
        split = DKD(1, float(left))(student, teacher, label)
        torch.testing.assert_close(split, KD(4.0)(student, teacher), rtol=1e-12, atol=0)


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_two_classes_leave_nothing_but_the_target(scale: float) -> None:
    student, teacher = (scale * randn(4, 2)).requires_grad_(), scale * randn(4, 2, seed=1)
    labels = LABELS % 2
    loss = DKD()(student, teacher, labels)
    loss.backward()
    torch.testing.assert_close(loss, DKD(beta=0.0)(student, teacher, labels), rtol=1e-12, atol=0)
    torch.testing.assert_close(loss, KD()(student, teacher), rtol=1e-9, atol=1e-12)
    assert student.grad is not None
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_certain_networks_give_a_finite_loss(dtype: torch.dtype) -> None:
    """Logits above the published mask's constant; one class has all the chance."""
    teacher = (2e4 * torch.eye(3, 5)).to(dtype)
    for student in (-teacher, teacher.roll(1, 1), torch.zeros(3, 5, dtype=dtype)):
        given = student.clone().requires_grad_()
        for labels in (torch.arange(3), torch.arange(3) + 1):
            loss = DKD()(given, teacher, labels)
            (gradient,) = torch.autograd.grad(loss, given)
            assert loss.isfinite()
            assert gradient.isfinite().all()


def test_the_label_decides_what_is_target() -> None:
    student, teacher = randn(4, 5), randn(4, 5, seed=1)
    assert DKD()(student, teacher, LABELS) != DKD()(student, teacher, (LABELS + 1) % 5)
