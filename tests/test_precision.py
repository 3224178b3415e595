import inspect

import pytest
import torch
from torch import Tensor

from relatum.precision import HALVES, exact


@exact
def product(left: Tensor, right: Tensor | None = None, *, scale: float = 1.0) -> Tensor:
    """Multiply."""
    return scale * (left @ (left if right is None else right).T)


def flat(value: object) -> list[torch.dtype]:
    if isinstance(value, tuple):
        return [dtype for each in value for dtype in flat(each)]
    return [value.dtype] if isinstance(value, Tensor) else []


@exact
def kinds(*values: object, **named: object) -> list[torch.dtype]:
    return flat((values, tuple(named.values())))


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_halves_are_raised(dtype: torch.dtype) -> None:
    half = torch.ones(2, 2, dtype=dtype)
    assert kinds(half, (half, (half, 1)), "text", name=(half,)) == [torch.float32] * 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.bool], ids=str)
def test_others_stay(dtype: torch.dtype) -> None:
    assert kinds(torch.ones(2, dtype=dtype), name=torch.ones(2, dtype=dtype)) == [dtype] * 2


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_autocast_is_off_inside_and_on_again_outside(dtype: torch.dtype) -> None:
    samples = torch.randn(8, 64, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=dtype):
        assert (samples @ samples.T).dtype == dtype, "autocast lowers float32 inputs"
        inside = product(samples)
        assert torch.equal(inside, product(left=samples))
        assert torch.is_autocast_enabled("cpu")
        assert (samples @ samples.T).dtype == dtype
    assert inside.dtype == torch.float32
    assert torch.equal(inside, samples @ samples.T)


def test_a_product_beyond_float16() -> None:
    large = torch.full((2, 4), 3e4, dtype=torch.float16)
    assert (large @ large.T).isinf().all()
    assert torch.equal(product(large), torch.full((2, 2), 4 * 3e4**2))


def test_gradient_comes_back_in_the_dtype_given() -> None:
    half = torch.randn(3, 2).half().requires_grad_()
    product(half).sum().backward()  # type: ignore[no-untyped-call]
    assert half.grad is not None
    assert half.grad.dtype == torch.float16


def test_signature_and_words_survive() -> None:
    assert list(inspect.signature(product).parameters) == ["left", "right", "scale"]
    assert product.__doc__ == "Multiply."
    assert float(product(torch.ones(1, 1), scale=3.0)) == 3


def test_methods_and_faults_pass_through() -> None:
    class Fails:
        @exact
        def run(self, value: Tensor) -> Tensor:
            raise ValueError(str(value.dtype))

    with torch.autocast("cpu", dtype=torch.bfloat16):
        with pytest.raises(ValueError, match=r"float32"):
            Fails().run(torch.ones(1).half())
        assert torch.is_autocast_enabled("cpu")
