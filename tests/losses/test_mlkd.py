from typing import Literal

import pytest
import torch
from torch import Tensor

from relatum.losses import KD, MLKD
from relatum.losses.mlkd import MASKS, unsure
from tests.losses.numbers import randn, softened, waves

T = (2.0, 3.0, 4.0, 5.0, 6.0)


def naive(student: list[list[float]], teacher: list[list[float]]) -> float:
    """Squared distance of two Gram matrices of rows, by how many rows there are."""
    total = 0.0
    for i in range(len(student)):
        for j in range(len(student)):
            products = [
                sum(a * b for a, b in zip(rows[i], rows[j], strict=True))
                for rows in (student, teacher)
            ]
            total += (products[1] - products[0]) ** 2
    return total / len(student)


@pytest.mark.parametrize("warmth", [1.0, 4.0])
def test_gram_terms_equal_naive_loops(warmth: float) -> None:
    student, teacher = randn(6, 4), randn(6, 4, seed=1)
    rows = [softened(z, warmth) for z in (student, teacher)]
    columns = [[list(column) for column in zip(*each, strict=True)] for each in rows]
    batch, classes = (MLKD(term, warmth)(student, teacher) for term in ("batch", "class"))
    assert float(batch) == pytest.approx(naive(*rows), rel=1e-12)
    assert float(classes) == pytest.approx(naive(*columns), rel=1e-12)


def test_recorded_table() -> None:
    student, teacher, _ = waves()
    assert float(MLKD("batch", 4.0)(student, teacher)) == pytest.approx(1.133e-5, abs=6e-9)
    assert float(MLKD("class", 4.0)(student, teacher)) == pytest.approx(4.8714e-4, abs=6e-9)


def test_instance_term_is_kd() -> None:
    student, teacher, _ = waves()
    torch.testing.assert_close(
        MLKD("instance", 3.0)(student, teacher), KD(3.0)(student, teacher), rtol=1e-12, atol=0
    )


def test_the_whole_is_every_term_at_every_temperature() -> None:
    student, teacher, _ = waves()
    single = [
        MLKD(term, warmth)(student, teacher)
        for term in ("instance", "batch", "class")
        for warmth in T
    ]
    whole = MLKD()(student, teacher)
    torch.testing.assert_close(whole, torch.stack(single).sum(), rtol=1e-12, atol=0)
    assert all(float(each) > 0 for each in single)


@pytest.mark.parametrize(("rows", "share"), [(4, 1 / 2), (5, 3 / 5), (1, 1.0)])
def test_the_scalar_mask_multiplies_averages(rows: int, share: float) -> None:
    """Whatever the samples are, it is the number of them below the median that counts."""
    student, teacher = randn(rows, 6), randn(rows, 6, seed=1)
    shares: list[tuple[Literal["instance", "batch", "class"], float]]
    shares = [("instance", share), ("batch", share), ("class", 1 / 2)]
    for term, factor in shares:
        plain, masked = (MLKD(term, T, mask)(student, teacher) for mask in MASKS)
        torch.testing.assert_close(masked, factor * plain, rtol=1e-12, atol=0)


def test_the_scalar_mask_masks_nothing() -> None:
    """A sample of which the teacher is sure, which their mask means to leave out, still counts."""
    student, teacher = randn(4, 5), randn(4, 5, seed=1)
    teacher[0, 0] += 20
    student.requires_grad_()
    MLKD("instance", T, mask="scalar")(student, teacher).backward()
    assert student.grad is not None
    assert student.grad[0].abs().max() > 0.1


def test_unsure_takes_the_median_between_two() -> None:
    def share(*confidence: float) -> float:
        return float(unsure(torch.tensor(confidence)))

    assert share(0.1, 0.9, 0.5, 0.6) == 0.5
    assert share(0.1, 0.9, 0.5) == pytest.approx(2 / 3)
    assert share(0.5, 0.5, 0.5, 0.5) == 1.0


def test_one_hot_networks_are_finite() -> None:
    teacher: Tensor = 1e4 * torch.eye(3, 5)
    student = (-teacher).requires_grad_()
    loss = MLKD()(student, teacher)
    loss.backward()
    assert loss.isfinite()
    assert student.grad is not None
    assert student.grad.isfinite().all()
