import math

import pytest
import torch
from torch import Tensor, nn

from relatum.losses import VID, VIDStages
from relatum.types import Fault
from tests.losses.numbers import randn, wave


def of(loss: VID) -> list[nn.Conv2d]:
    return [each for each in loss.regressor if isinstance(each, nn.Conv2d)]


def naive(loss: VID, student: Tensor, teacher: Tensor) -> float:
    """Every entry by itself, in plain numbers."""
    weights = [each.weight.detach()[:, :, 0, 0].tolist() for each in of(loss)]
    scales = loss.log_scale.tolist()
    total, count = 0.0, 0
    for own, other in zip(student.flatten(2), teacher.flatten(2), strict=True):
        for pixel, target in zip(own.T.tolist(), other.T.tolist(), strict=True):
            for number, matrix in enumerate(weights):
                pixel = [sum(w * x for w, x in zip(row, pixel, strict=True)) for row in matrix]
                pixel = [max(x, 0.0) for x in pixel] if number < 2 else pixel
            for mean, wanted, scale in zip(pixel, target, scales, strict=True):
                variance = math.log(1 + math.exp(scale)) + loss.eps
                total += ((mean - wanted) ** 2 / variance + math.log(variance)) / 2
                count += 1
    return total / count


def test_equals_a_naive_loop() -> None:
    torch.manual_seed(0)
    loss = VID(3, 4, mid_channels=5, eps=0.1).double()
    with torch.no_grad():
        loss.log_scale.copy_(randn(4))
    student, teacher = randn(2, 3, 2, 3), randn(2, 4, 2, 3, seed=1)
    wanted = naive(loss, student, teacher)
    assert loss(student, teacher).item() == pytest.approx(wanted, rel=1e-12)


def test_recorded_maps() -> None:
    loss = VID(3, 5).double()
    with torch.no_grad():
        for phase, each in enumerate(of(loss)):
            each.weight.copy_(wave(tuple(each.weight.shape), phase))
    value = loss(wave((2, 3, 2, 2), 0), wave((2, 5, 2, 2), 0.5)).item()
    assert value == pytest.approx(0.90347417, abs=2e-8)  # the initial scale is float32 here


def test_variances_begin_where_they_are_told_to() -> None:
    for start, eps in ((5.0, 1e-5), (1e-3, 1e-4), (300.0, 1.0)):
        loss = VID(3, 4, eps=eps, initial_variance=start)
        variance = nn.functional.softplus(loss.log_scale) + eps
        torch.testing.assert_close(variance, torch.full((4,), start))


def test_eps_is_the_least_variance() -> None:
    for eps in (1e-5, 0.5):
        loss = VID(3, 4, eps=eps).double()
        with torch.no_grad():
            loss.log_scale.fill_(-100.0)
            for each in of(loss):
                each.weight.zero_()
        teacher = randn(2, 4, 2, 2)
        wanted = (teacher.square().mean() / eps + math.log(eps)) / 2
        torch.testing.assert_close(loss(randn(2, 3, 2, 2), teacher), wanted)


def test_a_large_scale_does_not_overflow() -> None:
    loss = VID(3, 4)
    with torch.no_grad():
        loss.log_scale.fill_(1000.0)  # its exponential is infinite, its softplus is 1000
    student, teacher = randn(2, 3, 2, 2).float(), randn(2, 4, 2, 2).float()
    value = loss(student, teacher)
    value.backward()
    assert value.item() == pytest.approx(math.log(1000) / 2, rel=1e-2)
    assert loss.log_scale.grad is not None
    assert loss.log_scale.grad.isfinite().all()


def test_scales_are_parameters_and_become_the_error() -> None:
    """At the least value every variance is its channel's mean squared error."""
    torch.manual_seed(0)
    loss = VID(3, 4).double()
    assert "log_scale" in dict(loss.named_parameters())
    student, teacher = randn(8, 3, 4, 4), randn(8, 4, 4, 4, seed=1)
    optimizer = torch.optim.LBFGS([loss.log_scale], max_iter=200, line_search_fn="strong_wolfe")

    def value() -> Tensor:
        optimizer.zero_grad()
        result: Tensor = loss(student, teacher)
        result.backward()  # type: ignore[no-untyped-call]
        return result

    optimizer.step(value)  # type: ignore[no-untyped-call]
    error = (loss.regressor(student) - teacher).square().mean((0, 2, 3))
    variance = nn.functional.softplus(loss.log_scale) + loss.eps
    torch.testing.assert_close(variance, error, rtol=1e-4, atol=0)


def test_the_larger_map_is_pooled() -> None:
    loss = VID(3, 4).double()
    student, teacher = randn(2, 3, 8, 8), randn(2, 4, 4, 4)
    small = nn.functional.avg_pool2d(student, 2)
    torch.testing.assert_close(loss(student, teacher), loss(small, teacher))


def test_stages_are_summed_and_share_nothing() -> None:
    loss = VIDStages((3, 6), (5, 4), initial_variance=2.0).double()
    students = randn(4, 3, 4, 4), randn(4, 6, 2, 2, seed=1)
    teachers = randn(4, 5, 4, 4, seed=2), randn(4, 4, 2, 2, seed=3)
    first, second = loss.stages
    alone = first(students[0], teachers[0]) + second(students[1], teachers[1])
    torch.testing.assert_close(loss(students, teachers), alone)
    with pytest.raises(Fault, match="was built for 2 stages, got 1"):
        loss(students[:1], teachers[:1])


def test_faults_name_what_is_wrong() -> None:
    with pytest.raises(Fault, match="VID: mid_channels must be positive, got 0"):
        VID(3, 4, mid_channels=0)
    with pytest.raises(Fault, match=r"initial_variance must be above eps, 1e-05, got 0"):
        VID(3, 4, initial_variance=0.0)
    with pytest.raises(Fault, match="got 1 of the student and 2 of the teacher"):
        VIDStages((3,), (4, 5))
