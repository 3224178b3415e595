"""What every loss is tried with: how to build it, what to feed it, what it is excused from.

The points themselves are the tests of ``test_contract.py`` and ``test_ranks.py``; the cases
lie in ``cases/``, a file for each family.
"""

import copy
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

Shape = tuple[int, ...]
Inputs = dict[str, Tensor | tuple[Tensor, ...]]

ANCHORS, CLASSES, SAMPLES = 5, 7, 30
"""Rows of what does not belong to the batch; what labels and indices are drawn from."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One way to build a loss, and what the contract needs to know about it.

    Attributes:
        loss: the class.
        name: where a class has several cases, what tells them apart.
        settings: arguments of the constructor.
        shapes: of what ``forward`` takes, without the batch axis; a tuple of shapes is a tuple
            of tensors. Labels and indices have none.
        others: for each argument of the constructor, another value: it must change something.
        refused: arguments that the constructor must refuse.
        zero: whether the least value is zero, where the student equals the teacher.
        excused: points that do not hold, each with its reason. Must fail, else it is no excuse.
    """

    loss: type[nn.Module]
    name: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    shapes: Mapping[str, Shape | tuple[Shape, ...]]
    others: Mapping[str, Any] = field(default_factory=dict)
    refused: tuple[Mapping[str, Any], ...] = ()
    zero: bool = False
    excused: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return "-".join(filter(None, (self.loss.__name__, self.name)))

    def make(self, seed: int = 0, /, **changes: Any) -> nn.Module:
        """A loss whose random state depends on the seed alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            # copies, for a module among them would be cast and trained with the loss
            return self.loss(**copy.deepcopy({**self.settings, **changes}))

    def inputs(self, rows: int = 8, seed: int = 1, dtype: torch.dtype = torch.float32) -> Inputs:
        """Arguments of ``forward`` on the scale of one, the same for the same seed."""
        generator = torch.Generator().manual_seed(seed)

        def draw(name: str, shape: Any) -> Any:
            if shape and isinstance(shape[0], tuple):
                return tuple(draw(name, each) for each in shape)
            if name == "labels":
                return torch.randint(CLASSES, (rows,), generator=generator)
            if name == "indices":
                return torch.randperm(SAMPLES, generator=generator)[:rows]
            length = rows if batched(name) else ANCHORS
            return torch.randn(length, *shape, generator=generator).to(dtype)

        return {name: draw(name, shape) for name, shape in self.shapes.items()}


def batched(name: str) -> bool:
    """Whether an argument has one row for each sample of the batch."""
    return not name.endswith("_anchors")


def measured(name: str) -> bool:
    """Whether an argument is made of floats, and does not just say which class or sample."""
    return name not in ("labels", "indices")


def learns(name: str) -> bool:
    """Whether an argument comes from the student."""
    return name.startswith("student")


def changed(
    inputs: Inputs,
    function: Callable[[Tensor], Tensor],
    only: Callable[[str], bool] = lambda name: True,
) -> Inputs:
    """The same arguments with a function applied to each tensor of the chosen ones."""
    return {
        name: value
        if not only(name)
        else tuple(map(function, value))
        if isinstance(value, tuple)
        else function(value)
        for name, value in inputs.items()
    }


def leaves(inputs: Inputs) -> dict[str, Tensor]:
    """Every tensor by a name of its own."""
    found: dict[str, Tensor] = {}
    for name, value in inputs.items():
        if isinstance(value, tuple):
            found |= {f"{name}.{place}": each for place, each in enumerate(value)}
        else:
            found[name] = value
    return found


def tracked(inputs: Inputs) -> Inputs:
    """Copies of which every float asks for a gradient, the teacher's too."""
    return changed(
        inputs, lambda value: value.detach().clone().requires_grad_(value.is_floating_point())
    )


@dataclass(frozen=True)
class Outcome:
    """One call: the value, the gradients of arguments and those of the loss's parameters."""

    value: Tensor
    gradients: Mapping[str, Tensor | None]
    learned: Mapping[str, Tensor | None]


def called(
    loss: nn.Module, inputs: Inputs, around: AbstractContextManager[object] | None = None
) -> Outcome:
    """Forward, within a context, and backward, outside of it, on copies of the inputs."""
    loss.zero_grad()
    own = tracked(inputs)
    with around or nullcontext():
        value = loss(**own)
    if value.requires_grad:
        value.backward()
    gradients = {name: leaf.grad for name, leaf in leaves(own).items()}
    learned = {name: parameter.grad for name, parameter in loss.named_parameters()}
    return Outcome(value.detach(), gradients, learned)


LOGITS: dict[str, Shape] = {"student": (CLASSES,), "teacher": (CLASSES,)}
EMBEDDINGS: dict[str, Shape] = {"student": (6,), "teacher": (5,)}
MAPS: dict[str, Shape] = {"student": (3, 2, 2), "teacher": (5, 3, 3)}
STAGES: dict[str, tuple[Shape, ...]] = {
    "student": ((3, 2, 2), (6,)),
    "teacher": ((5, 3, 3), (4, 2)),
}
ANCHORED = {**EMBEDDINGS, "student_anchors": (6,), "teacher_anchors": (5,)}
