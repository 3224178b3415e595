"""Stands in for a CUDA graph on the CPU: the operators of a function, noted once and run again.

As a graph does, it knows addresses and no Python: every operator runs again on the very tensors on
which it ran, and what it puts out goes where that went. As with a capture, nothing is changed by
recording, and what would wait for the device is refused. So a number of Python that was baked in,
or a tensor that was replaced by another, shows in the bits.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

R = TypeVar("R")
WAITS = {"_local_scalar_dense", "nonzero", "_unique2", "equal", "is_nonzero", "masked_select"}
"""Operators whose result Python reads, or whose shape depends on values."""


class Recorded:
    """A recording of a function on the CPU; ``relatum.replay.Recording`` says what one does."""

    def __init__(self) -> None:
        self._operators: list[Callable[[], None]] = []
        self.records = 0

    @contextmanager
    def aside(self) -> Iterator[None]:
        yield

    def record(self, function: Callable[[], R]) -> R:
        noting, random = _Noting(), torch.get_rng_state()
        try:
            with noting:
                found = function()
        finally:
            noting.put_back()
            torch.set_rng_state(random)
        self._operators = noting.operators
        self.records += 1
        return found

    def play(self) -> None:
        with torch._C._AutoDispatchBelowAutograd():
            for each in self._operators:
                each()

    def forget(self) -> None:
        self._operators = []


class _Noting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operators: list[Callable[[], None]] = []
        self._made: set[int] = set()
        self._alive: list[Any] = []
        self._before: list[tuple[Tensor, Tensor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        if func.overloadpacket.__name__ in WAITS:
            raise RuntimeError(f"{func}: not permitted while recording\nand more of the same")
        inputs = {_place(each) for each in _tensors((args, named))}
        written = [
            each
            for argument, value in _given(func, args, named)
            if _writes(argument)
            for each in _tensors(value)
        ]
        for each in written:
            if _place(each) not in self._made:
                self._before.append((each, each.clone()))
        found = func(*args, **named)
        put_out = _tensors(found)
        fresh = [each for each in put_out if _place(each) not in inputs]
        self._made |= {_place(each) for each in fresh}
        self._alive.append((args, named, found))
        if written or fresh:
            self.operators.append(lambda: _again(func, args, named, put_out, inputs))
        return found

    def put_back(self) -> None:
        with torch._C._AutoDispatchBelowAutograd():
            for each, value in reversed(self._before):
                each.copy_(value)


def _again(func: Any, args: Any, named: Any, put_out: list[Tensor], inputs: set[int]) -> None:
    for old, new in zip(put_out, _tensors(func(*args, **named)), strict=True):
        if _place(old) not in inputs:
            old.copy_(new)


def _writes(argument: Any) -> bool:
    if argument.name in ("running_mean", "running_var"):  # BatchNorm's schema does not say it
        return True
    return argument.alias_info is not None and bool(argument.alias_info.is_write)


def _given(func: Any, args: Any, named: Any) -> Iterator[tuple[Any, Any]]:
    for place, argument in enumerate(func._schema.arguments):
        if place < len(args) and not argument.kwarg_only:
            yield argument, args[place]
        elif argument.name in named:
            yield argument, named[argument.name]


def _tensors(value: Any) -> list[Tensor]:
    return [each for each in tree_leaves(value) if isinstance(each, Tensor)]


def _place(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
