"""The benchmark's losses on feature maps."""

import torch

from relatum import losses
from tests.losses.contract import Case, Shape

MAP: dict[str, Shape] = {"student": (3, 4, 4), "teacher": (5, 2, 2)}
"""One map of each network, the student's larger."""
ALIKE: dict[str, Shape] = {"student": (4, 3, 3), "teacher": (4, 3, 3)}
STAGES: dict[str, tuple[Shape, ...]] = {
    "student": ((3, 4, 4), (6, 2, 2)),
    "teacher": ((5, 2, 2), (4, 3, 3)),
}
CHANNELS: dict[str, tuple[Shape, ...]] = {
    "student": ((3, 4, 4), (6, 2, 2), (4, 3, 2)),
    "teacher": ((3, 3, 3), (6, 3, 3), (4, 2, 2)),
}
"""Stages of which both networks have the same channels."""
WIDE: dict[str, tuple[Shape, ...]] = {
    "student": ((8, 2, 2), (3, 4, 4)),
    "teacher": ((9, 2, 2), (3, 4, 4)),
}
"""More channels than pixels, and fewer."""
EPS = "a variance begins where it is told to; how far it may fall is in test_vid.py"
_AB = {"student_shapes": STAGES["student"][:1], "teacher_shapes": STAGES["teacher"][:1]}


def paraphraser(share: float = 0.5) -> losses.Paraphraser:
    """The same in every process."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return losses.Paraphraser(5, share)


_FT = {"paraphraser": paraphraser(), "student_channels": 3}

CASES: tuple[Case, ...] = (
    Case(
        loss=losses.FitNet,
        settings={"student_shape": MAP["student"], "teacher_shape": MAP["teacher"]},
        shapes=MAP,
        others={"student_shape": (4, 4, 4), "teacher_shape": (6, 2, 2), "relu": False},
        refused=(
            {"student_shape": None},
            {"teacher_shape": None},
            {"student_shape": (3, 4)},
            {"teacher_shape": (5, 0, 2)},
            {"teacher_shape": (5, 2, 8)},
            {"teacher_shape": (5, 9, 9)},
        ),
    ),
    Case(loss=losses.FitNet, name="plain", shapes=ALIKE, zero=True),
    Case(
        loss=losses.AT,
        shapes=STAGES,
        others={"power": 4},
        refused=({"power": 0.5}, {"power": float("nan")}),
        zero=True,
    ),
    Case(loss=losses.AT, name="map", settings={"power": 1.5}, shapes=MAP, zero=True),
    Case(
        loss=losses.VID,
        settings={"student_channels": 3, "teacher_channels": 5},
        shapes=MAP,
        others={
            "student_channels": 4,
            "teacher_channels": 6,
            "mid_channels": 4,
            "initial_variance": 2.0,
        },
        refused=(
            {"student_channels": 0},
            {"teacher_channels": 0},
            {"mid_channels": 0},
            {"eps": 0.0},
            {"initial_variance": 1e-5},
        ),
    ),
    Case(
        loss=losses.VID,
        name="eps",
        settings={"student_channels": 3, "teacher_channels": 5, "eps": 0.1},
        shapes=MAP,
        others={"eps": 1e-2},
        excused={"every_argument_counts": EPS},
    ),
    Case(
        loss=losses.VIDStages,
        settings={"student_channels": (3, 6), "teacher_channels": (5, 4)},
        shapes=STAGES,
        others={
            "student_channels": (3, 7),
            "teacher_channels": (5, 5),
            "initial_variance": 2.0,
        },
        refused=(
            {"student_channels": (3,)},
            {"teacher_channels": ()},
            {"eps": -1.0},
            {"initial_variance": 0.0},
        ),
    ),
    Case(
        loss=losses.VIDStages,
        name="eps",
        settings={"student_channels": (3, 6), "teacher_channels": (5, 4), "eps": 0.1},
        shapes=STAGES,
        others={"eps": 1e-2},
        excused={"every_argument_counts": EPS},
    ),
    Case(loss=losses.NST, shapes=STAGES, zero=True),
    Case(loss=losses.NST, name="wide", shapes=WIDE, zero=True),
    Case(loss=losses.FSP, shapes=CHANNELS, zero=True),
    Case(
        loss=losses.KDSVD,
        shapes=CHANNELS,
        others={"candidates": 1, "width": 4.0},
        refused=({"candidates": 0}, {"width": 0.0}, {"width": -8.0}),
        zero=True,
    ),
    Case(
        loss=losses.AB,
        settings=_AB,
        shapes={"student": STAGES["student"][:1], "teacher": STAGES["teacher"][:1]},
        others={
            "student_shapes": ((4, 4, 4),),
            "teacher_shapes": ((6, 2, 2),),
            "margin": 2.0,
        },
        refused=(
            {"margin": 0.0},
            {"student_shapes": ((3, 4, 4), (6, 2, 2))},
            {"teacher_shapes": None},
            {"teacher_shapes": ((5, 9, 9),)},
        ),
    ),
    Case(
        loss=losses.AB,
        name="plain",
        shapes={"student": (ALIKE["student"],) * 2, "teacher": (ALIKE["teacher"],) * 2},
    ),
    Case(
        loss=losses.FT,
        settings=_FT,
        shapes={"student": (3, 4, 4), "teacher": (5, 3, 3)},
        others={"paraphraser": paraphraser(share=1.0), "student_channels": 4, "p": 4},
        refused=(
            {"paraphraser": None},
            {"student_channels": None},
            {"student_channels": 0},
            {"p": 0.5},
        ),
    ),
    Case(loss=losses.FT, name="factors", shapes=MAP, zero=True),
    Case(
        loss=losses.Paraphraser,
        settings={"channels": 5},
        shapes={"teacher": (5, 3, 3)},
        others={"channels": 6, "share": 1.0},
        refused=({"channels": 1}, {"share": 0.0}, {"share": 1.5}, {"share": 0.1}),
        excused={
            "names_what_it_needs": "it looks at the teacher alone, before there is a student",
            "wrong_batch_is_refused": "it takes one batch, which differs from no other",
        },
    ),
)
