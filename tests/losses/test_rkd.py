import itertools
from collections.abc import Hashable, Mapping
from typing import TypeVar

import pytest
import torch
from torch import Tensor, nn

from relatum.losses import RKD, RKDAngle, RKDDistance
from tests.losses.numbers import randn, rotation

Place = TypeVar("Place", bound=Hashable)


def huber(apart: float) -> float:
    return apart**2 / 2 if abs(apart) < 1 else abs(apart) - 0.5


def distances(samples: Tensor) -> dict[tuple[int, int], float]:
    pairs = list(itertools.product(range(len(samples)), repeat=2))
    apart = {(i, j): float((samples[i] - samples[j]).norm()) for i, j in pairs}
    mean = sum(apart.values()) / (len(pairs) - len(samples))
    return {pair: distance / mean for pair, distance in apart.items()}


def angles(samples: Tensor) -> dict[tuple[int, int, int], float]:
    found = {}
    for i, j, k in itertools.product(range(len(samples)), repeat=3):
        one, other = samples[j] - samples[i], samples[k] - samples[i]
        lengths = float(one.norm() * other.norm())
        found[i, j, k] = float(one @ other) / lengths if lengths else 0.0
    return found


def mean_huber(student: Mapping[Place, float], teacher: Mapping[Place, float]) -> float:
    return sum(huber(student[place] - teacher[place]) for place in student) / len(student)


def test_distance_equals_a_naive_loop() -> None:
    student, teacher = randn(6, 3), randn(6, 4, seed=1).exp()
    wanted = mean_huber(distances(student), distances(teacher))
    assert float(RKDDistance()(student, teacher)) == pytest.approx(wanted, rel=1e-9)


def test_angle_equals_a_naive_loop() -> None:
    student, teacher = randn(5, 3), randn(5, 4, seed=1)
    wanted = mean_huber(angles(student), angles(teacher))
    assert float(RKDAngle()(student, teacher)) == pytest.approx(wanted, rel=1e-9)


def test_large_differences_count_linearly() -> None:
    """One sample far from the others is more than one mean further than in the teacher."""
    student = torch.tensor([[0.0], [0.1], [0.2], [0.3], [9.0]], dtype=torch.float64)
    teacher = randn(5, 3)
    apart = [
        abs(s - t)
        for s, t in zip(distances(student).values(), distances(teacher).values(), strict=True)
    ]
    assert max(apart) > 1
    wanted = sum(map(huber, apart)) / 25
    assert float(RKDDistance()(student, teacher)) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("loss", [RKDDistance(), RKDAngle(), RKD()])
def test_turning_moving_and_scaling_do_not_matter(loss: nn.Module) -> None:
    student, teacher = randn(6, 3), randn(6, 4, seed=1)
    plain = loss(student, teacher)
    torch.testing.assert_close(loss(7 * student @ rotation(3) - 2, teacher), plain)
    torch.testing.assert_close(loss(student, 7 * teacher @ rotation(4) - 2), plain)
    assert float(loss(7 * teacher @ rotation(4) - 2, teacher)) == pytest.approx(0, abs=1e-12)


def test_scale_of_one_sample_matters() -> None:
    student, teacher = randn(6, 3), randn(6, 4, seed=1)
    scaled = student.clone()
    scaled[0] *= 3
    assert RKDDistance()(scaled, teacher) != RKDDistance()(student, teacher)


def test_both_are_weighed() -> None:
    student, teacher = randn(6, 3), randn(6, 4, seed=1)
    distance, angle = RKDDistance()(student, teacher), RKDAngle()(student, teacher)
    torch.testing.assert_close(RKD(2.0, 3.0)(student, teacher), 2 * distance + 3 * angle)
    torch.testing.assert_close(RKD()(student, teacher), 25 * distance + 50 * angle)
