import math

import pytest
import torch
from torch import Tensor

from relatum.losses import DIST, KD
from tests.losses.numbers import randn, softened, waves


def pearson(left: list[float], right: list[float]) -> float:
    means = [sum(each) / len(each) for each in (left, right)]
    apart = [[x - mean for x in each] for each, mean in zip((left, right), means, strict=True)]
    product: float = sum(a * b for a, b in zip(*apart, strict=True))
    lengths = [math.sqrt(sum(x * x for x in each)) for each in apart]
    return product / (math.prod(lengths) + 1e-8)


def naive(student: Tensor, teacher: Tensor, warmth: float) -> tuple[float, float]:
    """Of samples and of classes, both with the square of the temperature."""
    s, t = softened(student, warmth), softened(teacher, warmth)
    samples = [pearson(*rows) for rows in zip(s, t, strict=True)]
    classes = [
        pearson([row[c] for row in s], [row[c] for row in t]) for c in range(student.shape[1])
    ]
    first, second = (1 - sum(each) / len(each) for each in (samples, classes))
    return warmth**2 * first, warmth**2 * second


@pytest.mark.parametrize("warmth", [1.0, 4.0])
def test_equals_a_naive_loop(warmth: float) -> None:
    student, teacher = randn(6, 5), randn(6, 5, seed=1)
    samples, classes = naive(student, teacher, warmth)
    found = DIST(2.0, 0.5, warmth)(student, teacher)
    assert float(found) == pytest.approx(2 * samples + 0.5 * classes, rel=1e-12)


def test_recorded_table() -> None:
    student, teacher, _ = waves()
    assert float(DIST(1, 0)(student, teacher)) == pytest.approx(2.07478620, abs=6e-9)
    assert float(DIST(0, 1)(student, teacher)) == pytest.approx(3.35188984, abs=6e-9)
    assert float(DIST()(student, teacher)) == pytest.approx(5.42667605, abs=6e-9)
    assert float(DIST(temperature=1.0)(student, teacher)) == pytest.approx(0.43129293, abs=6e-9)


def test_is_least_where_probabilities_rise_and_fall_together() -> None:
    """A student half as sure as its teacher is as good; KD would not be content."""
    chances = randn(8, 5).softmax(1)
    teacher, student = chances.log(), (0.5 * chances + 0.5 / 5).log().requires_grad_()
    loss = DIST(temperature=1.0)(student, teacher)
    (gradient,) = torch.autograd.grad(loss, student)
    assert abs(float(loss.detach())) < 1e-5
    assert gradient.abs().max() < 1e-5
    assert KD(1.0)(student, teacher) > 0.05


def test_value_counts_the_square_of_the_temperature() -> None:
    student, teacher, _ = waves()
    cold = DIST(temperature=1.0)(student / 4, teacher / 4)
    torch.testing.assert_close(DIST(temperature=4.0)(student, teacher), 16 * cold)


@pytest.mark.parametrize("level", [0.1, 1.0, 123.4])
def test_a_student_that_knows_nothing_is_not_thrown(level: float) -> None:
    """Equal probabilities up to rounding: theirs divides by 1e-8 here."""
    student = torch.full((6, 7), level)
    student[3:] += torch.arange(7.0)
    student.requires_grad_()
    DIST(beta=1.0, gamma=0.0)(student, randn(6, 7).float()).backward()
    assert student.grad is not None
    assert (student.grad[:3] == 0).all()
    assert 0 < student.grad.abs().max() < 100


def test_rare_classes_count_as_in_the_authors_code() -> None:
    """Of a thousand classes most columns are so small that 1e-8 is not: no edge may cut them."""
    student, teacher = (5 * randn(8, 1000, seed=seed) for seed in (0, 1))
    exact = DIST(0, 1, 1.0)(student, teacher)
    single = DIST(0, 1, 1.0)(student.float(), teacher.float())
    assert float(exact) == pytest.approx(naive(student, teacher, 1.0)[1], rel=1e-12)
    assert float(single) == pytest.approx(float(exact), rel=1e-4)


def test_one_sample_has_no_classes_term() -> None:
    student, teacher = randn(1, 5), randn(1, 5, seed=1)
    assert float(DIST(0.0, 1.0)(student, teacher)) == 16
