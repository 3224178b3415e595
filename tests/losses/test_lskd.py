import math

import pytest
import torch
from torch import Tensor, nn

from relatum.losses import CTKD, DIST, DKD, KD, LSKD, MLKD, NKD
from relatum.losses.lskd import standardised
from relatum.objective import Objective, Term
from relatum.types import Fault, Scalar
from tests.losses.numbers import randn, waves


def by_hand(logits: Tensor) -> Tensor:
    rows = []
    for row in logits.tolist():
        mean = sum(row) / len(row)
        deviation = math.sqrt(sum((z - mean) ** 2 for z in row) / (len(row) - 1))
        rows.append([(z - mean) / (deviation + 1e-7) for z in row])
    return torch.tensor(rows, dtype=torch.float64)


def test_equals_a_naive_loop() -> None:
    student, teacher = 5 * randn(4, 6) + 3, randn(4, 6, seed=1)
    wanted = KD(3.0)(by_hand(student), by_hand(teacher))
    torch.testing.assert_close(LSKD(3.0)(student, teacher), wanted, rtol=1e-12, atol=0)


def test_recorded_table() -> None:
    student, teacher, _ = waves()
    assert float(LSKD()(student, teacher)) == pytest.approx(0.10419877, abs=6e-9)


def test_only_the_pattern_of_a_row_matters() -> None:
    student, teacher = randn(4, 6), randn(4, 6, seed=1)
    stretch, shift = 1 + randn(4, 1, seed=2).abs(), randn(4, 1, seed=3)
    moved = LSKD()(stretch * student + shift, teacher / stretch - shift)
    torch.testing.assert_close(moved, LSKD()(student, teacher), rtol=1e-6, atol=0)


@pytest.mark.parametrize("inner", [DKD(beta=2.0), NKD(), MLKD(), DIST()], ids=repr)
def test_wraps_any_loss_on_logits(inner: nn.Module) -> None:
    student, teacher, labels = waves()
    given = (by_hand(student), by_hand(teacher))
    wanted = inner(*given, labels) if isinstance(inner, DKD | NKD) else inner(*given)
    torch.testing.assert_close(LSKD(loss=inner)(student, teacher, labels), wanted)
    assert LSKD(loss=inner).relational == isinstance(inner, MLKD | DIST)


def test_parameters_within_reach_the_optimiser() -> None:
    assert [name for name, _ in LSKD(loss=CTKD()).named_parameters()] == ["loss.theta"]


def test_labels_are_asked_for_where_the_loss_within_needs_them() -> None:
    student, teacher, labels = waves()
    with pytest.raises(Fault, match="LSKD: DKD within it needs labels"):
        LSKD(loss=DKD())(student, teacher)
    torch.testing.assert_close(LSKD()(student, teacher, labels), LSKD()(student, teacher))
    assert not Objective(lskd=Term(LSKD())).needs("labels")


def test_what_is_no_loss_on_logits_is_refused() -> None:
    class Banked(nn.Module):
        def forward(self, student: Tensor, teacher: Tensor, indices: Tensor) -> Scalar:
            return student.sum()

    with pytest.raises(Fault, match="Banked takes student, teacher, indices"):
        LSKD(loss=Banked())
    with pytest.raises(Fault, match=r"wraps a loss, .* got 3"):
        LSKD(loss=3)  # type: ignore[arg-type]
    with pytest.raises(Fault, match="give the one of your loss to that loss"):
        LSKD(2.0, KD(4.0))
    with pytest.raises(Fault, match="one class alone"):
        LSKD()(randn(3, 1), randn(3, 1))


@pytest.mark.parametrize("level", [0.0, 0.1, 123.4, -1e4])
def test_a_row_that_says_nothing_is_zero_and_sends_no_gradient(level: float) -> None:
    student = torch.full((2, 7), level, requires_grad=True)
    LSKD()(student, randn(2, 7).float()).backward()
    assert (standardised(student) == 0).all()
    assert student.grad is not None
    assert (student.grad == 0).all()


def test_a_weak_pattern_is_still_one() -> None:
    """Far above rounding, if below the published constant's thousandfold."""
    pattern = randn(1, 6).float()
    torch.testing.assert_close(
        standardised(1e-3 * pattern), standardised(pattern), rtol=1e-3, atol=1e-3
    )
