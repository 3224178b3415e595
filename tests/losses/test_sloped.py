import pytest
import torch

from relatum.losses.sloped import sloped


def test_slopes_are_the_gradients() -> None:
    one, other = (torch.randn(3, 2, dtype=torch.float64, requires_grad=True) for _ in range(2))
    with torch.no_grad():
        value = (one * other).sum()
        slopes = other.clone(), one.clone()
    (3 * sloped(value, (one, other), slopes)).backward()  # type: ignore[no-untyped-call]
    assert one.grad is not None
    assert other.grad is not None
    torch.testing.assert_close(one.grad, 3 * other)
    torch.testing.assert_close(other.grad, 3 * one)


def test_a_second_derivative_is_refused() -> None:
    """Of a slope that is known as a number alone it would be zero, and wrong."""
    row = torch.ones(2, requires_grad=True)
    value = sloped(torch.tensor(2.0), (row,), (torch.ones(2),))
    (slope,) = torch.autograd.grad(value, row, create_graph=True)
    with pytest.raises(RuntimeError):
        slope.sum().backward()  # type: ignore[no-untyped-call]


def test_without_rows_it_is_the_value() -> None:
    value = torch.tensor(2.0)
    assert sloped(value, (), ()) is value
