import pytest
import torch
from torch import Tensor

from relatum import relations
from relatum.losses import NST
from relatum.losses.nst import discrepancy
from tests.losses.numbers import randn, wave
from tests.losses.widest import widest


def kernels(one: Tensor, other: Tensor) -> float:
    """The mean of the squared dot products of all pairs of channels of one sample."""
    ones, others = ([c / c.norm() for c in each.flatten(1)] for each in (one, other))
    values = [float(a @ b) ** 2 for a in ones for b in others]
    return sum(values) / len(values)


@pytest.mark.parametrize(("channels", "size"), [((3, 5), 3), ((6, 5), 2)])
def test_equals_a_naive_loop(channels: tuple[int, int], size: int) -> None:
    student, teacher = randn(3, channels[0], size, size), randn(3, channels[1], size, size, seed=1)
    each = [
        kernels(t, t) + kernels(s, s) - 2 * kernels(s, t)
        for s, t in zip(student, teacher, strict=True)
    ]
    assert float(NST()(student, teacher)) == pytest.approx(sum(each) / 3, rel=1e-11)


def test_recorded_maps() -> None:
    value = float(NST()(wave((2, 3, 4, 4), 0), wave((2, 5, 2, 2), 0.5)))
    assert value == pytest.approx(0.85712972, abs=6e-9)


def test_both_forms_are_one() -> None:
    """More channels than pixels are compared pixel by pixel: the value may not jump there."""
    student, teacher = (relations.unit(randn(4, c, 8, seed=c)).requires_grad_() for c in (7, 9))
    few = discrepancy(student, teacher)
    student_more, teacher_more = (x.repeat(1, 2, 1) for x in (student, teacher))
    assert 8 * 8 > 7 * 9
    assert 8 * 8 <= 14 * 18
    many = discrepancy(student_more, teacher_more)  # the same distribution, every channel twice
    torch.testing.assert_close(few, many)
    grads = [torch.autograd.grad(value, student, retain_graph=True)[0] for value in (few, many)]
    torch.testing.assert_close(*grads)


def test_stages_are_summed() -> None:
    students = randn(4, 3, 4, 4), randn(4, 6, 2, 2, seed=1)
    teachers = randn(4, 5, 4, 4, seed=2), randn(4, 4, 2, 2, seed=3)
    alone = [NST()(student, teacher) for student, teacher in zip(students, teachers, strict=True)]
    torch.testing.assert_close(NST()(students, teachers), alone[0] + alone[1])


def test_length_sign_and_order_of_channels_do_not_matter() -> None:
    student, teacher = randn(4, 3, 4, 4), randn(4, 5, 4, 4, seed=1)
    plain = NST()(student, teacher)
    lengths = torch.tensor([1.0, -3.0, 0.2], dtype=torch.float64).view(3, 1, 1)
    torch.testing.assert_close(NST()((student * lengths)[:, [2, 0, 1]], teacher), plain)
    assert float(NST()(teacher[:, [4, 2, 0, 1, 3]] * 7, teacher)) == pytest.approx(0, abs=1e-15)


def test_a_dead_channel_sends_no_gradient() -> None:
    student = randn(2, 3, 4, 4)
    student[:, 1] = 0
    student.requires_grad_()
    NST()(student, randn(2, 3, 4, 4, seed=1)).backward()
    assert student.grad is not None
    assert student.grad[:, 1].abs().max() == 0
    assert student.grad[:, 0].abs().max() > 0


@pytest.mark.parametrize(("channels", "size"), [((16, 32), 16), ((128, 256), 4)])
def test_nothing_is_broadcast_over_channels_and_pixels(
    channels: tuple[int, int], size: int
) -> None:
    """All pairs of channels at all pixels would be B x C x C' x HW."""
    student = torch.randn(2, channels[0], size, size, requires_grad=True)
    teacher = torch.randn(2, channels[1], size, size)
    most = widest(lambda: NST()(student, teacher))
    maps, relation = teacher.numel(), 2 * min(size**4, channels[1] ** 2)
    assert most <= max(maps, relation) < 2 * channels[0] * channels[1] * size**2 / 10
