import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from relatum.losses import AT
from relatum.losses.at import attention
from relatum.types import Fault
from tests.losses.numbers import randn, wave


def naive(maps: Tensor, power: float) -> list[list[float]]:
    found = []
    for sample in maps.flatten(2):
        pixels = [sum(abs(float(c)) ** power for c in pixel) / len(pixel) for pixel in sample.T]
        length = sum(each**2 for each in pixels) ** 0.5
        found.append([each / length for each in pixels])
    return found


@pytest.mark.parametrize("power", [1, 1.5, 2, 3, 4])
def test_equals_a_naive_loop(power: float) -> None:
    student, teacher = randn(3, 2, 2, 3), randn(3, 5, 2, 3, seed=1)
    rows = zip(naive(student, power), naive(teacher, power), strict=True)
    wanted = sum((s - t) ** 2 for one, other in rows for s, t in zip(one, other, strict=True)) / 18
    assert float(AT(power)(student, teacher)) == pytest.approx(wanted, rel=1e-12)


def test_recorded_maps() -> None:
    value = float(AT()(wave((2, 3, 4, 4), 0), wave((2, 5, 2, 2), 0.5)))
    assert value == pytest.approx(0.0573459, abs=6e-8)


def test_the_larger_map_is_pooled_before_the_power() -> None:
    student, teacher = randn(2, 3, 8, 8), randn(2, 4, 4, 4, seed=1)
    small = F.avg_pool2d(student, 2)
    torch.testing.assert_close(AT()(student, teacher), AT()(small, teacher))
    torch.testing.assert_close(AT()(teacher, student), AT()(teacher, small))


def test_stages_are_summed() -> None:
    students = randn(4, 3, 4, 4), randn(4, 6, 2, 2, seed=1)
    teachers = randn(4, 5, 4, 4, seed=2), randn(4, 2, 2, 2, seed=3)
    alone = [AT()(student, teacher) for student, teacher in zip(students, teachers, strict=True)]
    torch.testing.assert_close(AT()(students, teachers), alone[0] + alone[1])


def test_length_sign_and_order_of_channels_do_not_matter() -> None:
    student, teacher = randn(4, 3, 4, 4), randn(4, 5, 4, 4, seed=1)
    plain = AT()(student, teacher)
    lengths = torch.tensor([1.0, 3.0, 1e-3, 70.0], dtype=torch.float64).view(4, 1, 1, 1)
    torch.testing.assert_close(AT()(-student[:, [2, 0, 1]] * lengths, teacher), plain)
    torch.testing.assert_close(AT()(student, teacher.repeat(1, 2, 1, 1)), plain)


def test_pixels_are_scaled_sample_by_sample() -> None:
    """Over the batch, one loud sample would silence the others."""
    lengths = torch.linalg.vector_norm(attention(randn(4, 3, 4, 4) * 7), dim=1)
    torch.testing.assert_close(lengths, torch.ones(4, dtype=torch.float64))


def test_a_dead_map_sends_no_gradient() -> None:
    student = randn(2, 3, 4, 4)
    student[0] = 0
    student.requires_grad_()
    AT()(student, randn(2, 3, 4, 4, seed=1)).backward()
    assert student.grad is not None
    assert student.grad[0].abs().max() == 0
    assert student.grad[1].abs().max() > 0


def test_large_maps_in_half_precision() -> None:
    """The square of an activation of 300 overflows float16."""
    student, teacher = (300 * randn(4, 8, 4, 4, seed=seed).relu() for seed in (0, 1))
    exact = float(AT()(student.half().double(), teacher.half().double()))
    with torch.autocast("cpu", dtype=torch.float16):
        assert float(AT()(student.half(), teacher.half())) == pytest.approx(exact, rel=1e-5)


def test_powers_below_one_are_refused() -> None:
    with pytest.raises(Fault, match="power is at least one, got 0"):
        AT(power=0)
