import pytest
import torch
from torch import Tensor, nn

from relatum.losses import ICKD
from relatum.types import Fault
from tests.losses.numbers import randn, rotation


def correlations(sample: Tensor) -> list[list[float]]:
    rows = [[float((a * b).sum()) for b in sample] for a in sample]
    return [[entry / sum(e * e for e in row) ** 0.5 for entry in row] for row in rows]


def test_equals_a_naive_loop() -> None:
    student, teacher = randn(3, 4, 3, 2), randn(3, 4, 2, 2, seed=1)
    total = 0.0
    for own, other in zip(student, teacher, strict=True):
        for rows in zip(correlations(own), correlations(other), strict=True):
            total += sum((s - t) ** 2 for s, t in zip(*rows, strict=True))
    assert float(ICKD()(student, teacher)) == pytest.approx(total / (3 * 4), rel=1e-12)


def test_is_twice_what_the_mean_row_cosine_lacks() -> None:
    student, teacher = randn(5, 6, 3, 3), randn(5, 6, 3, 3, seed=1)
    own, other = (maps.flatten(2) @ maps.flatten(2).mT for maps in (student, teacher))
    cosines = torch.cosine_similarity(own, other, dim=2)
    torch.testing.assert_close(ICKD()(student, teacher), 2 * (1 - cosines.mean()))


def test_pixels_may_be_rotated_and_samples_scaled() -> None:
    teacher = randn(4, 5, 2, 2)
    turned = (teacher.flatten(2) @ rotation(4)).view_as(teacher)
    scaled = turned * torch.tensor([1.0, 5.0, 0.1, 3.0])[:, None, None, None]
    assert float(ICKD()(scaled, teacher)) == pytest.approx(0, abs=1e-15)
    assert float(ICKD()(teacher.flip(1), teacher)) > 0.01, "channels may not change places"


def test_the_batch_is_averaged_and_no_more() -> None:
    """torchdistill divides by the batch once more."""
    student, teacher = randn(4, 3, 2, 2), randn(4, 3, 2, 2, seed=1)
    twice = [maps.repeat(2, 1, 1, 1) for maps in (student, teacher)]
    torch.testing.assert_close(ICKD()(*twice), ICKD()(student, teacher))


def test_the_head_is_a_convolution_and_a_batch_norm() -> None:
    loss = ICKD(student_channels=3, teacher_channels=5).double()
    (head,) = loss.heads
    assert isinstance(head, nn.Sequential)
    assert {name: tuple(p.shape) for name, p in loss.named_parameters()} == {
        "heads.0.0.weight": (5, 3, 1, 1),
        "heads.0.1.weight": (5,),
        "heads.0.1.bias": (5,),
    }
    student, teacher = randn(4, 3, 4, 4), randn(4, 5, 2, 2, seed=1)
    torch.testing.assert_close(loss(student, teacher), ICKD()(head(student), teacher))


def test_stages_are_summed() -> None:
    student = randn(4, 3, 4, 4), randn(4, 2, 2, 2, seed=1)
    teacher = randn(4, 3, 2, 2, seed=2), randn(4, 2, 3, 3, seed=3)
    alone = [ICKD()(s, t) for s, t in zip(student, teacher, strict=True)]
    torch.testing.assert_close(ICKD()(student, teacher), alone[0] + alone[1])


def test_a_dark_channel_sends_no_gradient_through_its_row_and_a_faint_teacher_counts() -> None:
    student, teacher = randn(4, 3, 2, 2), randn(4, 3, 2, 2, seed=1)
    with torch.no_grad():
        student[:, 0] = 0
    student.requires_grad_()
    ICKD()(student, teacher).backward()
    assert student.grad is not None
    assert student.grad.isfinite().all()
    assert student.grad.abs().max() < 10
    torch.testing.assert_close(ICKD()(student, teacher * 1e-4), ICKD()(student, teacher))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(Fault, match="built for 1 maps, got 2"):
        ICKD(3, 5)((randn(2, 3, 2, 2),) * 2, (randn(2, 5, 2, 2),) * 2)
    with pytest.raises(Fault, match="must have one shape"):
        ICKD()(randn(2, 3, 2, 2), randn(2, 4, 2, 2))
    with pytest.raises(Fault, match="pair one to one, got 3 and None"):
        ICKD(student_channels=3)
