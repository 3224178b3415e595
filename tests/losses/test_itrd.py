import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from relatum.losses import ITRD
from tests.losses.numbers import randn, wave


def build(**changes: float) -> ITRD:
    torch.manual_seed(0)
    return ITRD(6, 5, **changes).double()


def batch(rows: int = 8) -> tuple[Tensor, Tensor]:
    return randn(rows, 6), randn(rows, 5, seed=1)


def correlation(student: Tensor, teacher: Tensor, alpha: float) -> float:
    total = 0.0
    for s, t in zip(student.T, teacher.T, strict=True):
        products = (s - s.mean()) / s.std() * (t - t.mean()) / t.std()
        total += abs(float(products.sum()) / len(s) - 1) ** (2 * alpha)
    return math.log2(total)


def mutual(student: Tensor, teacher: Tensor) -> float:
    student, teacher = F.normalize(student, dim=1), F.normalize(teacher, dim=1)
    one, other = student @ student.T, teacher @ teacher.T
    both = one * other
    one, both = one / one.trace(), both / both.trace()
    size = range(len(student))
    return sum(float(one[i, j] ** 2 - both[i, j] ** 2) for i in size for j in size)


@pytest.mark.parametrize("alpha", [1.01, 1.5])
def test_equals_naive_loops(alpha: float) -> None:
    loss = build(alpha=alpha, correlation_weight=0.7, mutual_weight=0.3)
    student, teacher = batch()
    own = loss.student_head(student).detach()
    wanted = 0.7 * correlation(own, teacher, alpha) + 0.3 * mutual(own, teacher)
    assert loss(student, teacher).item() == pytest.approx(wanted, rel=1e-11)


def test_recorded_values() -> None:
    """Of methods.md, 5.1."""
    loss = ITRD(6, 5, correlation_weight=1.0, mutual_weight=1.0).double()
    with torch.no_grad():
        loss.student_head.weight.copy_(wave((5, 6), 0.3))
        loss.student_head.bias.copy_(0.1 * wave((5,), 1.3))
    value = loss(wave((8, 6), 0.0), wave((8, 5), 0.5))
    assert float(loss.correlation) == pytest.approx(2.56295745, abs=1e-8)
    assert float(loss.mutual) == pytest.approx(0.22825773, abs=1e-8)
    assert value.item() == pytest.approx(2.79121517, abs=1e-8)


def test_the_parts_are_those_of_the_last_training_step() -> None:
    loss, (student, teacher) = build(), batch()
    value = loss(student, teacher)
    torch.testing.assert_close(value.detach(), 2 * loss.correlation + 0.05 * loss.mutual)
    kept = loss.correlation.clone()
    loss.eval()(2 * student.roll(1, 0), teacher)
    assert torch.equal(loss.correlation, kept)
    assert not set(loss.diagnostics) & set(loss.state_dict())


def test_equal_widths_leave_the_projection_out_of_the_mutual_part() -> None:
    student, teacher = randn(8, 5), randn(8, 5, seed=1)
    loss = ITRD(5, 5, correlation_weight=0.0, mutual_weight=1.0).double()
    value = loss(student.requires_grad_(), teacher)
    assert value.item() == pytest.approx(mutual(student.detach(), teacher), rel=1e-11)
    value.backward()
    assert not any(each.requires_grad for each in loss.parameters())


@pytest.mark.parametrize(("to", "weight", "learns"), [(5, 0.1, 1), (5, 0.0, 0), (6, 1.0, 0)])
def test_a_shift_that_is_standardised_away_is_frozen(to: int, weight: float, learns: int) -> None:
    loss = ITRD(6, to, mutual_weight=weight)
    assert loss.student_head.bias.requires_grad == bool(learns)
    assert loss.student_head.weight.requires_grad


def test_scale_and_shift_of_a_feature_do_not_matter_to_the_correlation() -> None:
    loss, (student, teacher) = build(mutual_weight=0.0), batch()
    moved = teacher * randn(5, seed=2).exp() + randn(5, seed=3)
    torch.testing.assert_close(loss(student, moved), loss(student, teacher))


def test_least_correlation_is_bounded_by_the_batch() -> None:
    """A perfect student has c = (B - 1) / B, for deviations are unbiased and c is not."""
    loss = ITRD(5, 5, mutual_weight=0.0, correlation_weight=1.0).double()
    torch.nn.init.eye_(loss.student_head.weight)
    torch.nn.init.zeros_(loss.student_head.bias)
    teacher = randn(8, 5)
    assert loss(teacher, teacher).item() == pytest.approx(math.log2(5 * 8**-3), rel=1e-9)


def test_dead_features_count_as_uncorrelated() -> None:
    loss, (student, teacher) = build(), batch()
    teacher[:, 2] = 0.1
    student.requires_grad_()
    loss(student, teacher).backward()
    assert student.grad is not None
    assert student.grad.isfinite().all()
    loss(student[:1], teacher[:1])
    assert float(loss.correlation) == pytest.approx(math.log2(5))


def test_published_settings() -> None:
    loss = ITRD(64, 256)
    assert (loss.alpha, loss.correlation_weight, loss.mutual_weight) == (1.5, 2.0, 0.05)
    assert loss.student_head.weight.shape == (256, 64)
