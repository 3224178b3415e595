"""A student that speaks to every loss at once, and to each with weights of its own."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from relatum.distiller import Distiller
from relatum.objective import Objective, Term
from relatum.taps import Tap, Tapped
from relatum.teachers import Teacher
from tests.losses.contract import ANCHORS, Case

ROWS, HIDDEN, IMAGE = 16, 9, (3, 4, 4)
Shapes = tuple[tuple[int, ...], ...]


class Speaker(nn.Module):
    """Two linear layers from images to all that a case asks of a network; no BatchNorm."""

    def __init__(self, shapes: Shapes, seed: int) -> None:
        super().__init__()
        entering = math.prod(IMAGE)
        self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(entering, HIDDEN), nn.Tanh())
        self.says = nn.ModuleList(
            nn.Sequential(nn.Linear(HIDDEN, math.prod(shape)), nn.Unflatten(1, shape))
            for shape in shapes
        )
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in self.parameters():
                drawn = torch.randn(parameter.shape, generator=generator)
                parameter.copy_(drawn / math.sqrt(parameter[0].numel()))

    def forward(self, images: Tensor) -> list[Tensor]:
        hidden = self.hidden(images)
        return [each(hidden) for each in self.says]


class Choir(nn.Module):
    """Speakers that share nothing, so that the gradient of each is that of its own loss."""

    def __init__(self, parts: dict[str, Any], seed: int) -> None:
        super().__init__()
        self.speakers = nn.ModuleDict()
        self.taps: dict[str, Tap | tuple[Tap, ...]] = {}
        for name, shapes in parts.items():
            layered = bool(shapes) and isinstance(shapes[0], tuple)
            each: Shapes = shapes if layered else (shapes,)
            self.speakers[name] = Speaker(each, seed)
            taps = tuple(Tap(f"speakers.{name}.says.{place}") for place in range(len(each)))
            self.taps[name] = taps if layered else taps[0]

    def forward(self, images: Tensor) -> Tensor:
        said: list[list[Tensor]] = [each(images) for each in self.speakers.values()]
        return said[-1][0]


def made(cases: Sequence[Case]) -> Distiller:
    """A student, a teacher and all the losses, the same on every process."""
    learning = {str(case): case.shapes["student"] for case in cases if "student" in case.shapes}
    said = [case.shapes["teacher"] for case in cases if "teacher" in case.shapes]
    teaching = {str(shapes): shapes for shapes in said}  # it does not learn: one serves many
    student, teacher = Choir(learning, seed=1), Choir(teaching, seed=2)
    objective = Objective(
        **{
            str(case): Term(
                case.make(**({"batch": ROWS} if "batch" in case.settings else {})),
                on=str(case),
                weight=0.7,
                teacher_on=str(case.shapes.get("teacher")),
            )
            for case in cases
        }
    )
    anchors = torch.randn(ANCHORS, *IMAGE, generator=torch.Generator().manual_seed(3))
    fixed = any("student_anchors" in case.shapes for case in cases)
    distiller = Distiller(
        Tapped(student, student.taps),
        Teacher(teacher, teacher.taps).double(),
        objective,
        anchors if fixed else None,
    )
    distiller.learner.double()
    distiller.train()
    return distiller
