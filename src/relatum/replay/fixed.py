"""What a recorded step takes for granted: where tensors lie, and every number of Python."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from relatum.distiller import Distiller
from relatum.types import Captured

Granted = Mapping[str, object]
"""By name: the address of a tensor, or a number of Python."""


def granted(distiller: Distiller, optimizer: torch.optim.Optimizer) -> Granted:
    """All that a step reads and that is not the value of a tensor. Never waits for the device."""
    found = dict(_of_module("the learner", distiller.learner))
    if isinstance(distiller.teacher, nn.Module):
        found |= _of_module("the teacher", distiller.teacher)
    anchors = distiller.taught_anchors()
    for place, each in enumerate([] if anchors is None else _tensors(anchors)):
        found[f"anchor {place} of the teacher"] = each.data_ptr()
    for number, group in enumerate(optimizer.param_groups):
        found |= _of_names(f"group {number} of the optimiser", group)
        for place, parameter in enumerate(group["params"]):
            state = optimizer.state.get(parameter, {})
            found |= _of_names(f"state {number}.{place} of the optimiser", state)
    return found


def of_losses(losses: Iterable[nn.Module]) -> Granted:
    """As ``granted``, of some losses alone: quick enough for every step."""
    found: dict[str, object] = {}
    for each in losses:
        found |= _of_module(type(each).__name__, each)
    return found


def first_change(before: Granted, after: Granted) -> str | None:
    """The name of something that is not as it was, if there is anything."""
    names = before.keys() | after.keys()
    missing = object()
    changed = (name for name in names if before.get(name, missing) != after.get(name, missing))
    return min(changed, default=None)


def generators(module: nn.Module) -> Iterator[tuple[str, torch.Generator]]:
    """The generators that its submodules hold, by the submodule's path."""
    for path, each in module.named_modules():
        for value in vars(each).values():
            if isinstance(value, torch.Generator):
                yield path, value


def _of_module(name: str, module: nn.Module) -> Iterator[tuple[str, object]]:
    for path, each in module.named_modules():
        whole = f"{name}: {path}." if path else f"{name}: "
        yield from _of_names(whole, vars(each)).items()
        for held in (each._parameters, each._buffers):
            yield from _of_names(whole, held).items()


def _of_names(prefix: str, values: Mapping[str, Any]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, Tensor):
            found[f"{prefix}{name}"] = (value.data_ptr(), value.requires_grad)
        elif _plain(value):
            found[f"{prefix}{name}"] = value
    return found


def _plain(value: object) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def _tensors(captured: Captured) -> Iterator[Tensor]:
    for value in (captured.output, *captured.taps.values()):
        yield from (value,) if isinstance(value, Tensor) else value
