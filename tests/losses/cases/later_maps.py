"""The later losses on feature maps, and those that use the teacher's classifier."""

import torch
from torch import Tensor, nn

from relatum import losses
from tests.losses.contract import MAPS, Case, Shape

EQUAL: dict[str, Shape] = {"student": (4, 3, 3), "teacher": (4, 3, 3)}
LARGER: dict[str, Shape] = {"student": (4, 4, 4), "teacher": (4, 2, 2)}
PAIRS: dict[str, tuple[Shape, ...]] = {
    "student": ((3, 4, 4), (4, 2, 2)),
    "teacher": ((5, 4, 4), (2, 3, 3)),
}
ALIKE: dict[str, tuple[Shape, ...]] = {
    "student": ((3, 5, 5), (4, 2, 2)),
    "teacher": ((3, 5, 5), (4, 2, 2)),
}
REVIEWED: dict[str, tuple[Shape, ...]] = {
    "student": ((3, 4, 4), (4, 2, 2), (6,)),
    "teacher": ((2, 6, 6), (3, 3, 3), (5,)),
}


def margins(*widths: int, least: float = -1.0) -> tuple[Tensor, ...]:
    """A margin for each channel of each stage."""
    return tuple(torch.linspace(least, -0.1, width) for width in widths)


def classifier(seed: int = 0) -> nn.Linear:
    """A teacher's, for embeddings of width 5 and 7 classes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Linear(5, 7)


CASES: tuple[Case, ...] = (
    Case(
        loss=losses.OFD,
        settings={"margins": margins(5, 2), "student_channels": (3, 4)},
        shapes=PAIRS,
        others={"margins": margins(5, 2, least=-2.0), "student_channels": (2, 4)},
        refused=(
            {"margins": ()},
            {"margins": (torch.zeros(5, 1), torch.zeros(2))},
            {"student_channels": (3,)},
            {"student_channels": (0, 4)},
        ),
    ),
    Case(
        loss=losses.OFD,
        name="connected",
        settings={"margins": margins(3, 4)},
        shapes=ALIKE,
        zero=True,
    ),
    Case(loss=losses.HCL, shapes=ALIKE, zero=True),
    Case(loss=losses.HCL, name="one", shapes=EQUAL, zero=True),
    Case(
        loss=losses.ReviewKD,
        settings={"student_channels": (3, 4, 6), "teacher_channels": (2, 3, 5)},
        shapes=REVIEWED,
        others={
            "student_channels": (2, 4, 6),
            "teacher_channels": (2, 3, 4),
            "middle_channels": 2,
        },
        refused=(
            {"student_channels": ()},
            {"student_channels": (3, 4)},
            {"student_channels": (0, 4, 6)},
            {"teacher_channels": (2, 3, 0)},
            {"middle_channels": 0},
        ),
    ),
    Case(loss=losses.SimKD, shapes=EQUAL, zero=True),
    Case(loss=losses.SimKD, name="pooled", shapes=LARGER),
    Case(
        loss=losses.SRRL,
        settings={"classifier": classifier(), "student_channels": 3},
        shapes=MAPS,
        others={
            "classifier": classifier(seed=1),
            "student_channels": 2,
            "feature_weight": 2.0,
            "logit_weight": 2.0,
        },
        refused=(
            {"classifier": nn.Identity()},
            {"student_channels": 0},
            {"feature_weight": -1.0},
            {"logit_weight": float("nan")},
        ),
    ),
    Case(
        loss=losses.SRRL,
        name="vectors",
        settings={"classifier": classifier(), "student_channels": 6},
        shapes={"student": (6,), "teacher": (5,)},
    ),
    Case(
        loss=losses.SRRL,
        name="connected",
        settings={"classifier": classifier()},
        shapes={"student": (5, 2, 2), "teacher": (5,)},
    ),
    Case(
        loss=losses.SemCKD,
        settings={"student_channels": (3, 4), "teacher_channels": (5, 2), "batch": 8},
        shapes=PAIRS,
        others={
            "student_channels": (2, 4),
            "teacher_channels": (5, 3),
            "batch": 9,
            "temperature": 0.1,
        },
        refused=(
            {"student_channels": ()},
            {"teacher_channels": ()},
            {"student_channels": (3, 0)},
            {"batch": 7},
            {"temperature": 0.0},
        ),
        excused={
            "order_of_the_batch_does_not_matter": "queries read a row of the Gram matrix in order",
            "gradcheck": "it is tried with 4 samples; test_semckd.py tries it with 8",
            "traces_without_a_break": "it ends with 5 samples; test_semckd.py traces it with 8",
        },
    ),
    Case(loss=losses.ICKD, shapes=EQUAL, others={}, zero=True),
    Case(
        loss=losses.ICKD,
        name="connected",
        settings={"student_channels": 3, "teacher_channels": 5},
        shapes=MAPS,
        others={"student_channels": 2, "teacher_channels": 4},
        refused=(
            {"student_channels": None},
            {"teacher_channels": (5, 5)},
            {"student_channels": 0},
        ),
    ),
    Case(
        loss=losses.ICKD,
        name="stages",
        settings={"student_channels": (3, 4), "teacher_channels": (5, 2)},
        shapes=PAIRS,
    ),
)
