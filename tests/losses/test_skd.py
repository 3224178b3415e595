import math
from typing import Literal

import pytest
import torch

from relatum.losses import KD, SKD
from relatum.losses.mlkd import MASKS
from tests.losses.numbers import randn, rotation, waves


def naive(student: torch.Tensor, teacher: torch.Tensor, tikhonov: float) -> float:
    """With the inverse written out, row by row."""
    grams = []
    for logits in (student, teacher):
        unit = [row / sum(z * z for z in row.tolist()) ** 0.5 for row in logits]
        grams.append([[float(a @ b) / logits.shape[1] for b in unit] for a in unit])
    apart = torch.tensor(grams[0]).double() - torch.tensor(grams[1]).double()
    spread = torch.cov(apart.T) + tikhonov * torch.eye(len(student)).double()
    inverse = torch.linalg.inv(spread)
    return sum(math.sqrt(row @ inverse @ row) for row in apart) / len(student)


@pytest.mark.parametrize("tikhonov", [0.01, 0.1, 1.0])
def test_direction_equals_a_naive_loop(tikhonov: float) -> None:
    student, teacher = randn(6, 5), randn(6, 5, seed=1)
    found = SKD("direction", tikhonov=tikhonov)(student, teacher)
    assert float(found) == pytest.approx(naive(student, teacher, tikhonov), rel=1e-6)


def test_recorded_table() -> None:
    student, teacher, _ = waves()
    assert float(SKD("direction")(student, teacher)) == pytest.approx(0.02615992, abs=6e-9)


def test_the_whole_is_kd_and_direction() -> None:
    student, teacher, _ = waves()
    parts = KD(4.0)(student, teacher) + SKD("direction")(student, teacher)
    torch.testing.assert_close(SKD()(student, teacher), parts, rtol=1e-12, atol=0)
    instance = SKD("instance", temperature=2.0)(student, teacher)
    torch.testing.assert_close(instance, KD(2.0)(student, teacher), rtol=1e-12, atol=0)


def test_only_directions_to_each_other_matter() -> None:
    student, teacher = randn(6, 5), randn(6, 5, seed=1)
    length = 1 + randn(6, 1, seed=2).abs()
    loss = SKD("direction")
    moved = loss(length * student @ rotation(5), teacher @ rotation(5, seed=1) / length)
    torch.testing.assert_close(moved, loss(student, teacher), rtol=1e-9, atol=0)


def test_gradient_passes_the_covariance() -> None:
    """Held fixed it would be another one."""
    student, teacher = randn(6, 5).requires_grad_(), randn(6, 5, seed=1)
    (whole,) = torch.autograd.grad(SKD("direction")(student, teacher), student)
    unit = student / student.norm(dim=1, keepdim=True)
    other = teacher / teacher.norm(dim=1, keepdim=True)
    apart = (unit @ unit.T - other @ other.T) / 5
    spread = torch.cov(apart.T).detach() + 0.1 * torch.eye(6).double()
    held = ((apart @ torch.linalg.inv(spread)) * apart).sum(1).sqrt().mean()
    (without,) = torch.autograd.grad(held, student)
    assert (whole - without).abs().max() > 1e-4


def test_gradient_is_bounded_near_the_least_value() -> None:
    """Their square root has an infinite slope there."""
    teacher = randn(6, 5)
    for size in (0.0, 1e-12, 1e-6):
        student = (teacher + size * randn(6, 5, seed=1)).requires_grad_()
        SKD("direction")(student, teacher).backward()
        assert student.grad is not None
        assert student.grad.abs().max() < 1


@pytest.mark.parametrize(("rows", "share"), [(4, 1 / 2), (5, 3 / 5)])
def test_the_scalar_mask_multiplies_averages(rows: int, share: float) -> None:
    student, teacher = randn(rows, 6), randn(rows, 6, seed=1)
    shares: list[tuple[Literal["instance", "direction"], float]]
    shares = [("instance", share), ("direction", 1 / 2)]
    for term, factor in shares:
        kinds = [SKD(term, mask=mask) for mask in MASKS]
        plain, masked = (loss(student, teacher) for loss in kinds)
        torch.testing.assert_close(masked, factor * plain, rtol=1e-12, atol=0)


def test_large_batches_stay_positive_definite_in_single_precision() -> None:
    student, teacher = randn(128, 10).float(), randn(128, 10, seed=1).float()
    exact = SKD("direction")(student.double(), teacher.double())
    assert float(SKD("direction")(student, teacher)) == pytest.approx(float(exact), rel=1e-4)
