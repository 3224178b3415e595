"""Maths of relations and distributions runs in float32 or better, whatever autocast says."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")
HALVES = (torch.float16, torch.bfloat16)


def half_here(device: torch.device) -> bool:
    """Whether the hardware of a device multiplies in bfloat16, and not by a detour.

    GPUs from Ampere on; processors with AVX-512 BF16 or AMX. One that has to take the detour
    through float32 would only be slower.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # no public name, up to 2.15
    return any(bool(getattr(torch.cpu, each, bool)()) for each in asked)


def exact(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function with autocast off and its half-precision arguments raised to float32.

    Casting the arguments is not enough: autocast lowers matrix products of float32 inputs
    again, so a Gram matrix overflows float16 or keeps the 8 bits of a bfloat16 mantissa.
    Float64 stays float64.
    """

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        raised: Any = [_raise(arg) for arg in args]
        named: Any = {name: _raise(arg) for name, arg in kwargs.items()}
        kinds = {value.device.type for value in _tensors((*raised, *named.values()))}
        kind = next(iter(kinds), "cpu")
        if not torch.is_autocast_enabled(kind):
            return function(*raised, **named)
        with torch.autocast(kind, enabled=False):
            return function(*raised, **named)

    return run


def _raise(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.float() if value.dtype in HALVES else value
    return tuple(map(_raise, value)) if isinstance(value, tuple) else value


def _tensors(values: tuple[Any, ...]) -> list[Tensor]:
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, tuple):
            found.extend(_tensors(value))
        elif isinstance(value, Tensor):
            found.append(value)
    return found
