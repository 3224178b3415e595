import pytest
import torch

from relatum.losses import SimKD
from relatum.types import Fault
from tests.losses.numbers import randn


def test_equals_a_naive_loop() -> None:
    student, teacher = randn(2, 3, 2, 2), randn(2, 3, 4, 4, seed=1)
    total = 0.0
    for b in range(2):
        for c in range(3):
            for y in range(2):
                for x in range(2):
                    square = [teacher[b, c, 2 * y + i, 2 * x + j] for i in (0, 1) for j in (0, 1)]
                    total += float(student[b, c, y, x] - sum(square) / 4) ** 2
    assert float(SimKD()(student, teacher)) == pytest.approx(total / 24, rel=1e-12)


def test_the_larger_map_is_pooled_whose_ever_it_is() -> None:
    small, large = randn(3, 4, 2, 2), randn(3, 4, 6, 6, seed=1)
    torch.testing.assert_close(SimKD()(small, large), SimKD()(large, small))
    pooled = large.view(3, 4, 2, 3, 2, 3).mean((3, 5))
    torch.testing.assert_close(SimKD()(small, large), SimKD()(small, pooled))


def test_a_student_of_other_channels_must_be_projected_first() -> None:
    with pytest.raises(Fault, match="must have one shape"):
        SimKD()(randn(2, 3, 2, 2), randn(2, 5, 2, 2))
    with pytest.raises(Fault, match=r"SimKD takes maps .* got \(2, 3\)"):
        SimKD()(randn(2, 3), randn(2, 3))


def test_it_holds_nothing() -> None:
    assert not SimKD().state_dict()
