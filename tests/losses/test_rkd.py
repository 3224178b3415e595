import io
import itertools
from collections.abc import Hashable, Mapping
from typing import TypeVar

import pytest
import torch
from torch import Tensor, nn

from relatum.losses import RKD, RKDAngle, RKDDistance
from relatum.types import Fault
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


def slope(loss: nn.Module, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    own = student.clone().requires_grad_()
    value = loss(own, teacher)
    return value.detach(), torch.autograd.grad(value, own)[0]


def test_drawn_triplets_are_unbiased() -> None:
    """Value and gradient of 4,000 draws lie around those of all triplets, degenerate ones too."""
    student, teacher = randn(6, 3), randn(6, 4, seed=1)
    loss = RKDAngle(triplets=50, seed=0)
    drawn = [slope(loss, student, teacher) for _ in range(4000)]
    for have, want in zip(
        zip(*drawn, strict=True), slope(RKDAngle(), student, teacher), strict=True
    ):
        values = torch.stack(have)
        error = values.std(0) / len(values) ** 0.5
        assert ((values.mean(0) - want).abs() < 4 * error).all()
        assert (values.std(0) > 0.05 * want.abs().max()).all(), "no two draws are alike"


def test_more_triplets_are_nearer() -> None:
    student, teacher = randn(6, 3), randn(6, 4, seed=1)

    def spread(triplets: int) -> float:
        loss = RKDAngle(triplets, seed=0)
        return float(torch.stack([loss(student, teacher) for _ in range(400)]).std())

    assert spread(25) == pytest.approx(4 * spread(400), rel=0.15)


def test_draws_are_reproducible_and_go_on_after_a_checkpoint() -> None:
    student, teacher = randn(6, 3), randn(6, 4, seed=1)
    state = torch.random.get_rng_state()
    loss, twin, other = (RKDAngle(20, seed=seed) for seed in (3, 3, 4))
    first = [float(loss(student, teacher)) for _ in range(3)]
    assert first == [float(twin(student, teacher)) for _ in range(3)]
    assert len({*first, float(other(student, teacher))}) == 4
    file = io.BytesIO()
    torch.save(loss.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert float(other(student, teacher)) == float(twin(student, teacher))
    assert torch.equal(torch.random.get_rng_state(), state), "torch's own draws are untouched"


def test_without_triplets_nothing_is_drawn_or_kept() -> None:
    state = torch.random.get_rng_state()
    assert not RKD().state_dict()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert list(RKD(triplets=5).state_dict()) == ["angle.key"]


def test_evaluation_repeats_a_draw() -> None:
    student, teacher = randn(6, 3), randn(6, 4, seed=1)
    loss = RKD(triplets=20, seed=1).eval()
    assert loss(student, teacher) == loss(student, teacher) == loss.train()(student, teacher)
    assert loss(student, teacher) != loss(student, teacher)


def test_other_samples_are_refused_by_drawn_triplets() -> None:
    with pytest.raises(Fault, match="5 samples of the student, 6 of the teacher"):
        RKDAngle(20)(randn(5, 3), randn(6, 3))
    with pytest.raises(Fault, match="say how many"):
        RKD(seed=1)
