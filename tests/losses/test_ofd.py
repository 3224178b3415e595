import math

import pytest
import torch
from scipy import integrate
from torch import Tensor, nn

from relatum.losses import OFD, OFDMargin
from relatum.types import Fault
from tests.losses.numbers import randn, wave


def partial(student: float, teacher: float, margin: float) -> float:
    """What one number of a map costs, case by case."""
    if teacher > 0:
        return (student - teacher) ** 2
    if teacher > margin:
        return (student - teacher) ** 2 if student > teacher else 0.0
    return (student - margin) ** 2 if student > margin else 0.0


def naive(student: Tensor, teacher: Tensor, margin: Tensor) -> float:
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        for c in range(len(margin)):
            pairs = zip(s[c].flatten().tolist(), t[c].flatten().tolist(), strict=True)
            total += sum(partial(a, b, float(margin[c])) for a, b in pairs)
    return total / len(student)


def margin(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_equals_a_naive_loop() -> None:
    student = randn(3, 2, 4, 4), randn(3, 3, 2, 2, seed=1)
    teacher = randn(3, 2, 4, 4, seed=2), randn(3, 3, 2, 2, seed=3)
    margins = margin(-0.5, -1.5), margin(-0.1, -0.4, -2.0)
    alone = [naive(*each) for each in zip(student, teacher, margins, strict=True)]
    assert float(OFD(margins)(student, teacher)) == pytest.approx(
        alone[0] / 2 + alone[1], rel=1e-12
    )


def test_the_recorded_value() -> None:
    loss = OFD([margin(-0.5, -0.3, -0.8)])
    value = loss(wave((2, 3, 2, 2), 0), wave((2, 3, 2, 2), 0.5))
    assert float(value) == pytest.approx(1.07418866, abs=6e-9)


def test_what_a_relu_hides_costs_nothing() -> None:
    """The student may go as far below as it likes where the teacher's ReLU gives zero."""
    loss = OFD([margin(-1.0)])
    teacher = margin(-3.0, -1.0, -0.5, 0.0).view(4, 1, 1, 1)
    student = (teacher - 7).requires_grad_()
    value = loss(student, teacher)
    value.backward()
    assert value == 0
    assert student.grad is not None
    assert student.grad.abs().max() == 0
    assert loss(teacher + 0.1, teacher) > 0
    above = margin(2.0).view(1, 1, 1, 1)
    assert loss(above - 1, above) == loss(above + 1, above) == 1


def test_the_target_is_never_below_the_margin() -> None:
    loss = OFD([margin(-1.0)])
    teacher = margin(-5.0).view(1, 1, 1, 1)
    assert loss(margin(0.5).view(1, 1, 1, 1), teacher) == 1.5**2
    assert loss(margin(-1.0).view(1, 1, 1, 1), teacher) == 0


def test_pixels_and_channels_are_summed_and_samples_averaged() -> None:
    student, teacher = randn(4, 2, 2, 2), randn(4, 2, 2, 2, seed=1)
    once = OFD([margin(-1.0, -0.5)])(student, teacher)
    wide = OFD([margin(-1.0, -0.5)])(student.repeat(1, 1, 1, 3), teacher.repeat(1, 1, 1, 3))
    twice = OFD([margin(-1.0, -0.5)])(student.repeat(2, 1, 1, 1), teacher.repeat(2, 1, 1, 1))
    torch.testing.assert_close(wide, 3 * once)
    torch.testing.assert_close(twice, once)


def test_the_teachers_map_is_pooled_to_the_students_size() -> None:
    loss, student, teacher = OFD([margin(-1.0)]), randn(2, 1, 2, 2), randn(2, 1, 4, 4, seed=1)
    pooled = teacher.view(2, 1, 2, 2, 2, 2).mean((3, 5))
    torch.testing.assert_close(loss(student, teacher), loss(student, pooled))


@pytest.mark.parametrize(("weight", "bias"), [(1.0, 0.0), (0.5, 0.3), (-2.0, -1.0), (0.3, -4.0)])
def test_a_margin_is_the_mean_of_what_is_negative(weight: float, bias: float) -> None:
    def density(x: float) -> float:
        return math.exp(-(((x - bias) / weight) ** 2) / 2)

    low = bias - 30 * abs(weight)
    mass = integrate.quad(density, low, 0, points=[min(bias, -1e-9)])[0]
    mean = integrate.quad(lambda x: x * density(x), low, 0, points=[min(bias, -1e-9)])[0] / mass
    found = OFDMargin(margin(weight), margin(bias))
    assert float(found) == pytest.approx(mean, rel=1e-6)


def test_a_channel_that_is_hardly_ever_negative_has_three_deviations() -> None:
    rare = 3.0902323  # the normal distribution is below minus this in 0.001 of all cases
    found = OFDMargin(margin(0.5, 0.5, -2.0), margin(0.5 * rare + 1e-6, 0.5 * rare - 1e-6, 100.0))
    assert found[0] == -1.5
    assert found[1] > -1.5
    assert found[2] == -6


def test_a_weight_of_zero_and_far_biases_give_numbers() -> None:
    found = OFDMargin(torch.zeros(3), torch.tensor([-2.0, 0.0, 3.0]))
    assert found.tolist() == [-2.0, 0.0, 0.0]
    far = OFDMargin(torch.full((2,), 1e-3), torch.tensor([1e4, -1e4]))
    torch.testing.assert_close(far, torch.tensor([-3e-3, -1e4]))
    assert far.dtype == torch.float32
    half = OFDMargin(torch.ones(1, dtype=torch.bfloat16), torch.zeros(1, dtype=torch.bfloat16))
    assert half.dtype == torch.float32
    assert float(half) == pytest.approx(-math.sqrt(2 / math.pi), rel=1e-6)


def test_margins_are_kept_and_saved_and_not_shared() -> None:
    norm = nn.BatchNorm2d(3)
    given = OFDMargin(norm.weight, norm.bias)
    assert not given.requires_grad
    loss = OFD([given, given[:2]], student_channels=[4, 5])
    given.zero_()
    assert float(loss.get_buffer("margin0").max()) < -0.7
    assert {"margin0", "margin1", "heads.0.0.weight", "heads.1.1.running_var"} <= set(
        loss.state_dict()
    )


def test_connected_maps_are_what_is_compared() -> None:
    loss = OFD([margin(-1.0, -0.5)], student_channels=[3]).double()
    student, teacher = randn(4, 3, 2, 2), randn(4, 2, 2, 2, seed=1)
    plain = OFD([margin(-1.0, -0.5)])
    torch.testing.assert_close(loss(student, teacher), plain(loss.heads[0](student), teacher))


def test_what_does_not_fit_is_refused() -> None:
    loss = OFD([margin(-1.0, -0.5)])
    with pytest.raises(Fault, match="built for 1 stages, got 2"):
        loss((randn(2, 2, 2, 2),) * 2, (randn(2, 2, 2, 2),) * 2)
    with pytest.raises(Fault, match="2 margins for 3 channels"):
        loss(randn(2, 3, 2, 2), randn(2, 3, 2, 2))
    with pytest.raises(Fault, match="must have one shape"):
        loss(randn(2, 3, 2, 2), randn(2, 2, 2, 2))
    with pytest.raises(Fault, match="1 student_channels and 2 margins do not pair"):
        OFD([margin(-1.0), margin(-1.0)], student_channels=[3])
