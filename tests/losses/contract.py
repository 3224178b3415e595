"""What every loss is tried with: how to build it, what to feed it, what it is excused from.

The points themselves are the tests of ``test_contract.py`` and ``test_ranks.py``.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from relatum import losses

Shape = tuple[int, ...]
Inputs = dict[str, Tensor | tuple[Tensor, ...]]

ANCHORS, CLASSES = 5, 7
"""Rows of what does not belong to the batch; classes that labels are drawn from."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One way to build a loss, and what the contract needs to know about it.

    Attributes:
        loss: the class.
        name: where a class has several cases, what tells them apart.
        settings: arguments of the constructor.
        shapes: of what ``forward`` takes, without the batch axis; a tuple of shapes is a tuple
            of tensors. Labels have none.
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

    def make(self, seed: int = 0, **changes: Any) -> nn.Module:
        """A loss whose random state depends on the seed alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.loss(**{**self.settings, **changes})

    def inputs(self, rows: int = 8, seed: int = 1, dtype: torch.dtype = torch.float32) -> Inputs:
        """Arguments of ``forward`` on the scale of one, the same for the same seed."""
        generator = torch.Generator().manual_seed(seed)

        def draw(name: str, shape: Any) -> Any:
            if shape and isinstance(shape[0], tuple):
                return tuple(draw(name, each) for each in shape)
            if name == "labels":
                return torch.randint(CLASSES, (rows,), generator=generator)
            length = rows if batched(name) else ANCHORS
            return torch.randn(length, *shape, generator=generator).to(dtype)

        return {name: draw(name, shape) for name, shape in self.shapes.items()}


def batched(name: str) -> bool:
    """Whether an argument has one row for each sample of the batch."""
    return not name.endswith("_anchors")


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

_rrd = partial(Case, loss=losses.RRD, shapes=EMBEDDINGS)
_RRD = {"student_dim": 6, "teacher_dim": 5, "dim": 4, "queue_size": 12}

CASES: tuple[Case, ...] = (
    Case(
        loss=losses.CrossEntropy,
        shapes={"student": (CLASSES,), "labels": ()},
        others={"label_smoothing": 0.1},
        refused=({"label_smoothing": -0.1}, {"label_smoothing": 1.0}),
    ),
    Case(loss=losses.Reconstruction, shapes={"student": (3, 4, 4), "images": (3, 4, 4)}, zero=True),
    Case(
        loss=losses.KD,
        shapes=LOGITS,
        others={"temperature": 2.0},
        refused=({"temperature": 0.0}, {"temperature": -1.0}, {"temperature": float("nan")}),
        zero=True,
    ),
    Case(loss=losses.SP, shapes=EMBEDDINGS, others={"batch_invariant": True}, zero=True),
    Case(loss=losses.SP, name="maps", shapes=MAPS, zero=True),
    Case(
        loss=losses.SP,
        name="stages-batch_invariant",
        settings={"batch_invariant": True},
        shapes=STAGES,
        zero=True,
    ),
    Case(
        loss=losses.RRKD,
        shapes=EMBEDDINGS,
        others={"kind": "mse", "eps": 1e-3},
        refused=({"kind": "cosine"}, {"kind": None}, {"eps": 0.0}, {"eps": -1e-8}),
        zero=True,
    ),
    Case(loss=losses.RRKD, name="mse", settings={"kind": "mse"}, shapes=EMBEDDINGS, zero=True),
    Case(loss=losses.RRKD, name="sce", settings={"kind": "sce"}, shapes=EMBEDDINGS),
    Case(loss=losses.RRKD, name="anchors", shapes=ANCHORED, zero=True),
    Case(
        loss=losses.LP,
        settings={"sigma": "median"},
        shapes=EMBEDDINGS,
        others={"neighbours": 2, "sigma": 2.0, "batch_invariant": True},
        refused=(
            {"neighbours": 0},
            {"neighbours": 2.5},
            {"sigma": 0.0},
            {"sigma": -1.0},
            {"sigma": "mean"},
        ),
    ),
    Case(
        loss=losses.LP,
        name="sigma-batch_invariant",
        settings={"neighbours": 3, "sigma": 2.0, "batch_invariant": True},
        shapes=EMBEDDINGS,
    ),
    Case(loss=losses.RKDDistance, shapes=EMBEDDINGS, zero=True),
    Case(loss=losses.RKDAngle, shapes=EMBEDDINGS, zero=True),
    Case(
        loss=losses.RKD,
        shapes=EMBEDDINGS,
        others={"distance_weight": 1.0, "angle_weight": 1.0},
        refused=({"distance_weight": -1.0}, {"angle_weight": -1.0}),
        zero=True,
    ),
    Case(loss=losses.PKT, shapes=EMBEDDINGS, zero=True),
    _rrd(
        settings=_RRD,
        others={
            "student_dim": 7,
            "teacher_dim": 7,
            "dim": 3,
            "queue_size": 10,
            "student_temperature": 0.2,
            "teacher_temperature": 0.05,
            "enqueue": "after",
            "teacher_head": "trainable",
        },
        refused=(
            {"student_dim": 0},
            {"teacher_dim": 0},
            {"dim": 0},
            {"queue_size": 0},
            {"student_temperature": 0.0},
            {"teacher_temperature": -0.1},
            {"enqueue": "first"},
            {"teacher_head": "random"},
            {"teacher_head": "identity", "dim": 4},
        ),
    ),
    _rrd(name="after", settings=_RRD | losses.rrd.PRESETS["2024"]),
    _rrd(name="trainable", settings={**_RRD, "teacher_head": "trainable"}),
    _rrd(name="identity", settings={**_RRD, "dim": 5, "teacher_head": "identity"}),
)
