import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from relatum import divergences
from relatum.losses import PKT, RKD, RRKD, SP
from relatum.types import Fault

STUDENT, TEACHER = 1.5 * torch.randn(
    2, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
)
ALL = {
    name: getattr(divergences, name)
    for name in ("kl", "cross_entropy", "huber", "squared", "row_cosine")
}


def chances(row: list[float], temperature: float = 1.0) -> list[float]:
    powers = [math.exp(entry / temperature) for entry in row]
    return [power / sum(powers) for power in powers]


def rows() -> list[tuple[list[float], list[float]]]:
    return list(zip(STUDENT.tolist(), TEACHER.tolist(), strict=True))


def entries() -> list[float]:
    return [float(entry) for entry in (STUDENT - TEACHER).flatten()]


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_kl(temperature: float) -> None:
    total = sum(
        t * math.log(t / s)
        for student, teacher in rows()
        for s, t in zip(chances(student, temperature), chances(teacher, temperature), strict=True)
    )
    have = divergences.kl(STUDENT, TEACHER, temperature)
    assert float(have) == pytest.approx(temperature**2 * total / 4, rel=1e-12)
    assert float(divergences.kl(STUDENT, STUDENT, temperature)) == pytest.approx(0, abs=1e-15)


def test_cross_entropy_is_kl_and_the_teachers_entropy() -> None:
    total = sum(
        -t * math.log(s)
        for student, teacher in rows()
        for s, t in zip(chances(student), chances(teacher), strict=True)
    )
    have = divergences.cross_entropy(STUDENT, TEACHER)
    assert float(have) == pytest.approx(total / 4, rel=1e-12)
    entropy = divergences.cross_entropy(TEACHER, TEACHER)
    torch.testing.assert_close(have, divergences.kl(STUDENT, TEACHER) + entropy)


def test_huber_is_linear_beyond_one() -> None:
    assert max(map(abs, entries())) > 1 > min(map(abs, entries()))
    total = sum(e**2 / 2 if abs(e) < 1 else abs(e) - 0.5 for e in entries())
    assert float(divergences.huber(STUDENT, TEACHER)) == pytest.approx(total / 12, rel=1e-12)


def test_squared() -> None:
    total = sum(e**2 for e in entries())
    assert float(divergences.squared(STUDENT, TEACHER)) == pytest.approx(total / 12, rel=1e-12)


def test_row_cosine() -> None:
    wanted = [
        sum(s * t for s, t in zip(student, teacher, strict=True))
        / (math.hypot(*student) * math.hypot(*teacher))
        for student, teacher in rows()
    ]
    assert divergences.row_cosine(STUDENT, TEACHER).tolist() == pytest.approx(wanted, rel=1e-12)


def test_row_cosine_stays_within_bounds() -> None:
    for seed in range(50):
        row = torch.randn(8, 33, generator=torch.Generator().manual_seed(seed))
        assert divergences.row_cosine(row, row * 3).max() <= 1
        assert divergences.row_cosine(row, row * -3).min() >= -1


def test_row_cosine_of_a_zero_row() -> None:
    student = torch.zeros(2, 3, requires_grad=True)
    cosine = divergences.row_cosine(student, torch.ones(2, 3))
    cosine.sum().backward()  # type: ignore[no-untyped-call]
    assert not cosine.any()
    assert student.grad is not None
    assert not student.grad.any()


@pytest.mark.parametrize("divergence", ALL.values(), ids=ALL)
def test_shapes_must_agree(divergence: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Each of these would broadcast."""
    for other in (torch.zeros(1, 3), torch.zeros(4, 1), torch.zeros(3), torch.zeros(5, 3)):
        with pytest.raises(Fault, match=r"\(4, 3\)"):
            divergence(torch.zeros(4, 3), other)


@pytest.mark.parametrize("divergence", ALL.values(), ids=ALL)
def test_gradcheck(divergence: Callable[[Tensor, Tensor], Tensor]) -> None:
    student, teacher = STUDENT.clone().requires_grad_(), TEACHER.clone().requires_grad_()
    torch.autograd.gradcheck(divergence, (student, teacher))


@pytest.mark.parametrize("divergence", ALL.values(), ids=ALL)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_raised(
    divergence: Callable[[Tensor, Tensor], Tensor], dtype: torch.dtype
) -> None:
    halves = STUDENT.to(dtype), TEACHER.to(dtype)
    with torch.autocast("cpu", dtype=dtype):
        have = divergence(*halves)
    assert have.dtype == torch.float32
    assert torch.equal(have, divergence(halves[0].float(), halves[1].float()))


@pytest.mark.parametrize("over", [None, (1,), (0, 2)])
def test_squares(over: tuple[int, ...] | None) -> None:
    values = torch.randn(3, 4, 2, dtype=torch.float64, requires_grad=True)
    axes = (0, 1, 2) if over is None else over
    torch.testing.assert_close(divergences.squares(values, over), values.square().sum(axes))
    torch.autograd.gradcheck(lambda x: divergences.squares(x, over), values)
    torch.autograd.gradgradcheck(lambda x: divergences.squares(x, over), values)


def test_squares_of_half_precision_are_added_up_in_float32() -> None:
    values = torch.full((4096,), 1.0078125).bfloat16().requires_grad_()
    total = divergences.squares(values)
    assert total == values.detach().float().square().sum()
    total.backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    assert values.grad.dtype == torch.bfloat16
    assert torch.equal(values.grad, 2 * values.detach())


@pytest.mark.parametrize("loss", [RRKD, RKD, PKT, SP])
def test_relational_losses_refuse_other_samples_by_what_was_given(loss: type[nn.Module]) -> None:
    """Widths may differ, and what is compared has shapes that nobody passed."""
    said = f"^{loss.__name__}: 8 samples of the student, 7 of the teacher$"
    with pytest.raises(Fault, match=said):
        loss()(torch.randn(8, 16), torch.randn(7, 4))
