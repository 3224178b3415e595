import math
from itertools import pairwise
from operator import mul
from typing import Any

import pytest
import torch
from torch import Tensor

from relatum.losses import CC
from relatum.types import Fault
from tests.losses.numbers import randn, rotation, wave


def adjacent(student: Tensor, teacher: Tensor) -> float:
    apart = (student - teacher).abs().tolist()
    products = [float(sum(map(mul, one, two))) for one, two in pairwise(apart)]
    return sum(products) / len(products)


def kernel(one: Tensor, other: Tensor, gamma: float, order: int) -> float:
    cosine = float(one @ other / (one.norm() * other.norm()))
    series = [(2 * gamma) ** p / math.factorial(p) * cosine**p for p in range(order + 1)]
    return math.exp(-2 * gamma) * sum(series)


def test_adjacent_equals_a_naive_loop() -> None:
    student, teacher = randn(6, 4), randn(6, 4, seed=1)
    value = CC()(student, teacher)
    assert value.item() == pytest.approx(adjacent(student, teacher), rel=1e-12)


@pytest.mark.parametrize(("gamma", "order"), [(0.4, 2), (0.3, 1), (0.5, 5)])
def test_rbf_equals_a_naive_loop(gamma: float, order: int) -> None:
    student, teacher = randn(5, 3), randn(5, 4, seed=1)
    squares = [
        (kernel(s, other_s, gamma, order) - kernel(t, other_t, gamma, order)) ** 2
        for s, t in zip(student, teacher, strict=True)
        for other_s, other_t in zip(student, teacher, strict=True)
    ]
    value = CC(kind="rbf", gamma=gamma, order=order)(student, teacher)
    assert value.item() == pytest.approx(sum(squares) / 25, rel=1e-10)


def test_recorded_values() -> None:
    """Of methods.md, 5.1."""
    value = CC()(wave((4, 6), 0.0), wave((4, 6), 0.5))
    assert value.item() == pytest.approx(0.61832457, abs=1e-8)
    value = CC(kind="rbf")(wave((4, 6), 0.0), wave((4, 5), 0.5))
    assert value.item() == pytest.approx(0.08175035, abs=1e-8)


def test_rbf_tends_to_the_gaussian_kernel() -> None:
    """On unit rows exp(-gamma |x - y|²) = exp(-2 gamma) exp(2 gamma x·y)."""
    student, teacher = randn(5, 4), randn(5, 4, seed=1)

    def gaussian(rows: Tensor) -> Tensor:
        unit = rows / rows.norm(dim=1, keepdim=True)
        return torch.exp(-0.4 * torch.cdist(unit, unit).square())

    value = CC(kind="rbf", order=30)(student, teacher)
    wanted = (gaussian(student) - gaussian(teacher)).square().mean()
    torch.testing.assert_close(value, wanted)


def test_rbf_is_blind_to_rotation_length_and_order() -> None:
    student, teacher = randn(6, 4), randn(6, 5, seed=1)
    loss, lengths = CC(kind="rbf"), randn(6, 1, seed=2).exp()
    value = loss(student, teacher)
    torch.testing.assert_close(loss(lengths * student @ rotation(4), teacher), value)
    torch.testing.assert_close(loss(student.flip(0), teacher.flip(0)), value)


def test_adjacent_hangs_on_the_order() -> None:
    student, teacher = randn(6, 4), randn(6, 4, seed=1)
    order = torch.tensor([0, 2, 4, 1, 3, 5])
    assert abs(CC()(student[order], teacher[order]) - CC()(student, teacher)) > 1e-3


def test_adjacent_of_one_sample_is_zero() -> None:
    student = randn(1, 4).requires_grad_()
    value = CC()(student, randn(1, 4, seed=1))
    value.backward()
    assert value == 0
    assert student.grad is not None
    assert not student.grad.any()


@pytest.mark.parametrize("kind", ["adjacent", "rbf"])
def test_heads_come_before_the_comparison(kind: Any) -> None:
    loss = CC(4, 5, dim=3, kind=kind).double()
    student, teacher = randn(6, 4), randn(6, 5, seed=1).requires_grad_()
    value = loss(student, teacher)
    wanted = CC(kind=kind)(loss.student_head(student), loss.teacher_head(teacher))
    torch.testing.assert_close(value, wanted)
    value.backward()
    assert teacher.grad is None


def test_published_settings() -> None:
    loss = CC(64, 256)
    assert (loss.kind, loss.gamma, loss.order) == ("adjacent", 0.4, 2)
    assert loss.student_head.weight.shape == (128, 64)
    assert loss.teacher_head.weight.shape == (128, 256)


def test_adjacent_needs_one_width() -> None:
    with pytest.raises(Fault, match="must have one shape"):
        CC()(randn(4, 3), randn(4, 5))
