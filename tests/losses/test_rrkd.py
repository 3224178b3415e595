import math
from typing import Literal

import pytest
import torch
from torch import Tensor

from relatum import relations
from relatum.losses import RRKD, SP
from relatum.types import Fault
from tests.losses.numbers import randn, rotation, table

Kind = Literal["cos", "mse", "sce"]
RECORDED = {"cos": 0.2165707, "mse": 0.3965992, "sce": 1.7730297}
ANCHORED = {"cos": 0.3877088, "mse": 0.4982199, "sce": 0.6850569}


def naive(kind: Kind, student: Tensor, teacher: Tensor) -> float:
    """From two relative representations, entry by entry."""
    total = 0.0
    pairs = list(zip(student.tolist(), teacher.tolist(), strict=True))
    for row_student, row_teacher in pairs:
        entries = list(zip(row_student, row_teacher, strict=True))
        if kind == "mse":
            total += sum((s - t) ** 2 for s, t in entries) / len(entries)
        elif kind == "sce":
            powers = [(math.exp(s / 2), math.exp(t / 2)) for s, t in entries]
            of_student, of_teacher = (sum(column) for column in zip(*powers, strict=True))
            total -= sum(t / of_teacher * math.log(s / of_student) for s, t in powers)
        else:
            product = sum(s * t for s, t in entries)
            lengths = math.hypot(*row_student) * math.hypot(*row_teacher)
            total -= math.log(product / lengths / 2 + 0.5 + 1e-8)
    return total / len(pairs)


@pytest.mark.parametrize("kind", RECORDED)
def test_recorded_table(kind: Kind) -> None:
    student, teacher = table()
    loss = RRKD(kind)(student, teacher)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(RECORDED[kind], abs=3e-7)
    anchored = RRKD(kind)(student, teacher, student[:2], teacher[:2])
    assert float(anchored) == pytest.approx(ANCHORED[kind], abs=3e-7)


def test_recorded_row_cosines() -> None:
    student, teacher = table()
    cosines = torch.cosine_similarity(relations.cosine(student), relations.cosine(teacher), dim=1)
    wanted = torch.tensor([0.460546, 0.590166, 0.806490, 0.808352, 0.604976, 0.433186])
    torch.testing.assert_close(cosines, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", RECORDED)
def test_equals_a_naive_loop(kind: Kind) -> None:
    student, teacher = randn(5, 3), randn(5, 4, seed=1)
    anchors = randn(7, 3, seed=2), randn(7, 4, seed=3)

    def relative(samples: Tensor, places: Tensor) -> Tensor:
        rows = [[float(a @ b / (a.norm() * b.norm())) for b in places] for a in samples]
        return torch.tensor(rows, dtype=torch.float64)

    within = naive(kind, relative(student, student), relative(teacher, teacher))
    assert float(RRKD(kind)(student, teacher)) == pytest.approx(within, rel=1e-12)
    across = naive(kind, relative(student, anchors[0]), relative(teacher, anchors[1]))
    assert float(RRKD(kind)(student, teacher, *anchors)) == pytest.approx(across, rel=1e-12)


@pytest.mark.parametrize("kind", RECORDED)
def test_rotation_and_length_of_each_sample_do_not_matter(kind: Kind) -> None:
    student, teacher = randn(6, 4), randn(6, 5, seed=1)
    lengths = randn(6, 1, seed=2).exp()
    plain = RRKD(kind)(student, teacher)
    torch.testing.assert_close(RRKD(kind)(lengths * student @ rotation(4), teacher), plain)
    torch.testing.assert_close(RRKD(kind)(student, lengths * teacher @ rotation(5)), plain)


def test_translation_matters() -> None:
    student, teacher = randn(6, 4), randn(6, 5, seed=1)
    plain = RRKD()(student, teacher)
    assert abs(RRKD()(student + 1, teacher) - plain) > 0.01 * plain


@pytest.mark.parametrize("kind", ["cos", "mse"])
def test_zero_for_a_turned_and_scaled_teacher(kind: Kind) -> None:
    teacher, anchors = randn(6, 5), randn(4, 5, seed=1)
    turn = rotation(5)
    assert float(RRKD(kind)(3 * teacher @ turn, teacher)) == pytest.approx(0, abs=2e-8)
    apart = RRKD(kind)(3 * teacher @ turn, teacher, anchors @ turn, anchors)
    assert float(apart) == pytest.approx(0, abs=2e-8)


def test_anchors_of_the_batch_are_the_batch() -> None:
    student, teacher = randn(6, 4), randn(6, 5, seed=1)
    torch.testing.assert_close(RRKD()(student, teacher, student, teacher), RRKD()(student, teacher))


def test_gradient_flows_through_the_anchors() -> None:
    student, teacher = randn(6, 4).requires_grad_(), randn(6, 5, seed=1)
    RRKD()(student, teacher).backward()
    assert student.grad is not None
    both, student.grad = student.grad, None
    anchors = student.detach().clone().requires_grad_()
    RRKD()(student, teacher, anchors, teacher).backward()
    assert anchors.grad is not None
    assert student.grad is not None
    assert anchors.grad.abs().max() > 1e-3
    torch.testing.assert_close(student.grad + anchors.grad, both)


def test_is_sp_on_cosines_to_first_order() -> None:
    """With rows of length one, RRKD is B/4 times SP, and so is its gradient."""
    teacher = randn(128, 16)
    lengths = teacher.norm(dim=1, keepdim=True)
    student = (teacher / lengths + 1e-3 * randn(128, 16, seed=1)).requires_grad_()
    gradients = []
    values = []
    for loss in (
        RRKD()(student, teacher),
        SP()(student / student.norm(dim=1, keepdim=True), teacher / lengths),
    ):
        (gradient,) = torch.autograd.grad(loss, student)
        gradients.append(gradient)
        values.append(loss.item())
    assert values[0] == pytest.approx(values[1] * 128 / 4, rel=0.02)
    assert float(gradients[0].norm() / gradients[1].norm()) == pytest.approx(32, rel=0.02)


def test_opposite_to_its_anchors() -> None:
    """Rounding must not take the logarithm of a negative number."""
    for seed in range(50):
        teacher, anchors = randn(4, 16, seed=seed).float(), randn(8, 16, seed=seed + 99).float()
        loss = RRKD()(-teacher, teacher, anchors, anchors)
        assert float(loss) == pytest.approx(-math.log(1e-8), abs=3.5)


def test_orthogonal_to_its_anchors() -> None:
    """A relative representation of zeros has no direction, so it must not be pushed hard."""
    student = torch.eye(8)[:4].clone().requires_grad_()
    loss = RRKD()(student, torch.randn(4, 8), torch.eye(8)[4:], torch.randn(4, 8))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2), abs=1e-6)
    assert student.grad is not None
    assert student.grad.abs().max() < 1


def test_faults() -> None:
    with pytest.raises(Fault, match="nearest: cos"):
        RRKD("cosine")  # type: ignore[arg-type]
    student, teacher = randn(4, 3), randn(4, 5)
    with pytest.raises(Fault, match="both networks"):
        RRKD()(student, teacher, student_anchors=student)
    with pytest.raises(Fault, match="4 anchors of the student, 3 of the teacher"):
        RRKD()(student, teacher, student, teacher[:3])
