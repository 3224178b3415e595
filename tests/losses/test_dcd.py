import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from relatum.losses import DCD
from tests.losses.numbers import randn, rotation, wave


def build(**changes: float) -> DCD:
    torch.manual_seed(0)
    return DCD(6, 5, dim=4, **changes).double()


def batch(rows: int = 5) -> tuple[Tensor, Tensor]:
    return randn(rows, 6).requires_grad_(), randn(rows, 5, seed=1)


def similarities(loss: DCD, student: Tensor, teacher: Tensor) -> Tensor:
    one = F.normalize(loss.student_head(student), dim=1)
    return one @ F.normalize(loss.teacher_head(teacher), dim=1).T


def naive(logits: Tensor, weight: float) -> float:
    """The equation, an entry at a time."""
    size, total = len(logits), 0.0
    for i in range(size):
        row = logits[i].exp() / logits[i].exp().sum()
        column = logits[:, i].exp() / logits[:, i].exp().sum()
        total -= float(row[i].log())
        total += weight * sum(float(column[j] * (column[j] / row[j]).log()) for j in range(size))
    return total / size


@pytest.mark.parametrize("weight", [0.0, 0.5, 2.0])
def test_equals_a_naive_loop(weight: float) -> None:
    loss = build(consistency_weight=weight)
    logits = torch.e * similarities(loss, *batch()).detach()
    assert loss(*batch()).item() == pytest.approx(naive(logits, weight), rel=1e-12)


def test_recorded_value() -> None:
    """Of methods.md, 5.1, with the heads of relational.md, 6.3."""
    loss = DCD(6, 5, dim=4).double()
    with torch.no_grad():
        loss.student_head.weight.copy_(wave((4, 6), 0.3))
        loss.student_head.bias.copy_(0.1 * wave((4,), 1.3))
        loss.teacher_head.weight.copy_(wave((4, 5), 0.9))
        loss.teacher_head.bias.copy_(0.1 * wave((4,), 1.9))
    value = loss(wave((4, 6), 0.0), wave((4, 5), 0.5))
    assert value.item() == pytest.approx(1.36987293, abs=1e-8)


def test_the_scale_ends_at_ten() -> None:
    loss = build()
    with torch.no_grad():
        loss.log_scale.fill_(5.0)
    value = loss(*batch())
    wanted = naive(10 * similarities(loss, *batch()).detach(), 0.5)
    assert value.item() == pytest.approx(wanted, rel=1e-12)
    value.backward()
    assert loss.log_scale.grad == 0


def test_the_shift_cancels_and_is_frozen() -> None:
    loss = build()
    value = loss(*batch())
    with torch.no_grad():
        loss.bias.fill_(3.0)
    torch.testing.assert_close(loss(*batch()), value)
    assert not loss.bias.requires_grad


def test_turning_both_projections_changes_nothing() -> None:
    loss, turn = build(), rotation(4)
    value = loss(*batch())
    with torch.no_grad():
        for head in (loss.student_head, loss.teacher_head):
            head.weight.copy_(turn @ head.weight)
            head.bias.copy_(turn @ head.bias)
    torch.testing.assert_close(loss(*batch()), value)


def test_a_perfect_match_is_consistent() -> None:
    """Where the similarities are symmetric, rows and columns agree, and only contrast is left."""
    student, _ = batch()
    for weight in (0.0, 1.0):
        loss = DCD(6, 6, dim=4, consistency_weight=weight).double()
        loss.teacher_head = loss.student_head
        logits = torch.e * similarities(loss, student, student).detach()
        value = loss(student, student.detach())
        assert value.item() == pytest.approx(naive(logits, 0.0), rel=1e-12)


def test_both_sides_of_the_consistency_send_a_gradient() -> None:
    """The teacher's head is reached even where the contrast is subtracted."""
    both, contrast = build(consistency_weight=0.5), build(consistency_weight=0.0)
    for loss in (both, contrast):
        loss(*batch()).backward()
    assert both.teacher_head.weight.grad is not None
    assert contrast.teacher_head.weight.grad is not None
    assert not torch.allclose(both.teacher_head.weight.grad, contrast.teacher_head.weight.grad)


def test_published_settings() -> None:
    loss = DCD(64, 256)
    assert loss.student_head.weight.shape == (128, 64)
    assert loss.consistency_weight == 0.5
    assert (loss.log_scale.item(), loss.bias.item()) == (1, 0)
