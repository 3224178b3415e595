import math

import pytest
import torch
from torch import Tensor

from relatum.losses import PKT
from tests.losses.numbers import randn, rotation


def chances(samples: Tensor) -> list[list[float]]:
    rows = []
    for one in samples:
        row = [float(one @ other / (one.norm() * other.norm())) / 2 + 0.5 for other in samples]
        rows.append([entry / sum(row) for entry in row])
    return rows


def test_equals_a_naive_loop() -> None:
    """The epsilons of 1e-7 make a relative difference of their size."""
    student, teacher = randn(6, 3), randn(6, 4, seed=1)
    pairs = zip(chances(student), chances(teacher), strict=True)
    total = sum(t * math.log(t / s) for rows in pairs for s, t in zip(*rows, strict=True))
    assert float(PKT()(student, teacher)) == pytest.approx(total / 36, rel=1e-4)


def test_rotation_and_length_of_each_sample_do_not_matter() -> None:
    student, teacher = randn(6, 4), randn(6, 5, seed=1)
    lengths = randn(6, 1, seed=2).exp()
    moved = PKT()(lengths * student @ rotation(4), lengths * teacher @ rotation(5))
    torch.testing.assert_close(moved, PKT()(student, teacher), rtol=1e-4, atol=0)


def test_is_not_symmetric() -> None:
    student, teacher = randn(6, 4), randn(6, 4, seed=1)
    assert abs(PKT()(student, teacher) - PKT()(teacher, student)) > 1e-6


def test_shrinks_with_the_batch() -> None:
    """The mean over B² entries is the mean row's divergence over B."""
    student, teacher = (4 * randn(6, 4, seed=seed) for seed in (0, 1))
    once = PKT()(student, teacher)
    twice = PKT()(student.repeat(2, 1), teacher.repeat(2, 1))
    torch.testing.assert_close(twice, once / 2, rtol=1e-4, atol=0)


@pytest.mark.parametrize("width", [64, 512])
def test_opposite_samples(width: int) -> None:
    """In float32 their cosine may come out below -1, and a logarithm with it."""
    for seed in range(100):
        sample = 10 * randn(1, width, seed=seed).float()
        student = torch.cat([sample, -sample]).requires_grad_()
        loss = PKT()(student, randn(2, width, seed=seed + 999).float())
        loss.backward()
        assert loss.isfinite()
        assert student.grad is not None
        assert student.grad.isfinite().all()


def test_zero_vector_sends_no_gradient() -> None:
    student = randn(4, 8)
    student[1] = 0
    student.requires_grad_()
    PKT()(student, randn(4, 8, seed=1)).backward()
    assert student.grad is not None
    assert student.grad[1].abs().max() == 0
    assert student.grad[0].abs().max() > 0
