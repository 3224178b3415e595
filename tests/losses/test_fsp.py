import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from relatum.losses import FSP
from relatum.types import Fault
from tests.losses.numbers import randn, wave
from tests.losses.widest import widest

Maps = tuple[Tensor, ...]


def maps(*shapes: tuple[int, ...], seed: int = 0) -> Maps:
    return tuple(randn(*shape, seed=10 * seed + place) for place, shape in enumerate(shapes))


def naive(student: Maps, teacher: Maps) -> float:
    """Layers of one size; every entry of the flow by itself."""
    total = 0.0
    for place in range(len(student) - 1):
        apart = []
        for b in range(len(student[0])):
            for c in range(student[place].shape[1]):
                for d in range(student[place + 1].shape[1]):
                    flows = [
                        float((each[place][b, c] * each[place + 1][b, d]).mean())
                        for each in (student, teacher)
                    ]
                    apart.append((flows[0] - flows[1]) ** 2)
        total += sum(apart) / len(apart)
    return total


def test_equals_a_naive_loop() -> None:
    shapes = (2, 3, 2, 3), (2, 4, 2, 3), (2, 2, 2, 3)
    student, teacher = maps(*shapes), maps(*shapes, seed=1)
    assert float(FSP()(student, teacher)) == pytest.approx(naive(student, teacher), rel=1e-12)


def test_recorded_maps() -> None:
    student = wave((2, 3, 4, 4), 0), wave((2, 4, 2, 2), 1)
    teacher = wave((2, 3, 4, 4), 0.5), wave((2, 4, 2, 2), 1.5)
    assert float(FSP()(student, teacher)) == pytest.approx(0.00107666, abs=6e-9)


def test_the_larger_of_two_layers_is_pooled() -> None:
    student, teacher = maps((2, 3, 8, 8), (2, 4, 4, 4)), maps((2, 3, 4, 4), (2, 4, 4, 4), seed=1)
    small = F.avg_pool2d(student[0], 2), student[1]
    torch.testing.assert_close(FSP()(student, teacher), FSP()(small, teacher))
    torch.testing.assert_close(
        FSP()(student[::-1], teacher[::-1]), FSP()(small[::-1], teacher[::-1])
    )


def test_both_networks_may_have_maps_of_other_sizes() -> None:
    student = maps((2, 3, 8, 8), (2, 4, 4, 4))
    larger = tuple(F.interpolate(each, scale_factor=2) for each in student)
    assert float(FSP()(larger, student)) == pytest.approx(0, abs=1e-15)


def test_moving_pixels_together_does_not_matter_and_channels_do() -> None:
    student, teacher = maps((2, 3, 4, 4), (2, 4, 4, 4)), maps((2, 3, 4, 4), (2, 4, 4, 4), seed=1)
    plain = FSP()(student, teacher)
    moved = tuple(each.roll(3, 2).flip(3) for each in student)
    torch.testing.assert_close(FSP()(moved, teacher), plain)
    swapped = student[0][:, [1, 0, 2]], student[1]
    assert abs(FSP()(swapped, teacher) - plain) > 0.01 * plain


def test_what_does_not_go_together_is_refused() -> None:
    student = maps((2, 3, 4, 4), (2, 4, 4, 4))
    with pytest.raises(Fault, match="takes at least two, got 1"):
        FSP()(student[:1], student[:1])
    teacher = maps((2, 3, 4, 4), (2, 5, 4, 4))
    with pytest.raises(Fault, match="layer 2 of 2 has 4 in the student and 5 in the teacher"):
        FSP()(student, teacher)
    with pytest.raises(Fault, match="one to one: got 2 of the student and 3"):
        FSP()(student, (*student, student[0]))


def test_nothing_is_broadcast_over_channels_and_pixels() -> None:
    student = tuple(torch.randn(2, c, 16, 16, requires_grad=True) for c in (24, 32))
    teacher = tuple(torch.randn(2, c, 16, 16) for c in (24, 32))
    assert widest(lambda: FSP()(student, teacher)) <= 2 * 32 * 16 * 16
