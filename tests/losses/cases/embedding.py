"""The losses on embeddings that have heads, or banks of what was said of every sample."""

from functools import partial

import torch

from relatum import losses
from tests.losses.contract import EMBEDDINGS, SAMPLES, Case, Shape

NARROW: dict[str, Shape] = {"student": (5,), "teacher": (5,)}
INDEXED: dict[str, Shape] = {**EMBEDDINGS, "indices": ()}
WIDTHS = {"student_dim": 6, "teacher_dim": 5}
NO_WIDTHS = ({"student_dim": 0}, {"teacher_dim": -1})
LONE_WIDTHS = ({"student_dim": None}, {"teacher_dim": None})
NEIGHBOURS = "it compares neighbours in the batch"
OWN_HEADS = "without heads of its own it serves embeddings that heads of the user's put out"
NORMALISER = "no gradient passes the normaliser, which the first training step fixes"

_CRD = {**WIDTHS, "num_samples": SAMPLES, "dim": 4, "negatives": 6}
_LABELS = torch.arange(SAMPLES) % 3
_crd = partial(Case, loss=losses.CRD, shapes=INDEXED, excused={"gradcheck": NORMALISER})

CASES: tuple[Case, ...] = (
    Case(
        loss=losses.CC,
        settings=WIDTHS | {"dim": 4},
        shapes=EMBEDDINGS,
        others={"student_dim": 7, "teacher_dim": 7, "dim": 3, "kind": "rbf"},
        refused=(
            *NO_WIDTHS,
            *LONE_WIDTHS,
            {"dim": 0},
            {"kind": "linear"},
            {"gamma": 0.0},
            {"order": 0},
        ),
        excused={"order_of_the_batch_does_not_matter": NEIGHBOURS},
    ),
    Case(
        loss=losses.CC,
        name="embedded",
        shapes=NARROW,
        zero=True,
        excused={
            "order_of_the_batch_does_not_matter": NEIGHBOURS,
            "gradient_reaches_the_student_alone": OWN_HEADS,
        },
    ),
    Case(
        loss=losses.CC,
        name="rbf",
        settings={"kind": "rbf"},
        shapes=EMBEDDINGS,
        others={"gamma": 0.3, "order": 3},
        zero=True,
    ),
    Case(
        loss=losses.CC,
        name="rbf-heads",
        settings={**WIDTHS, "dim": 4, "kind": "rbf"},
        shapes=EMBEDDINGS,
    ),
    Case(
        loss=losses.DCD,
        settings=WIDTHS | {"dim": 4},
        shapes=EMBEDDINGS,
        others={"student_dim": 7, "teacher_dim": 7, "dim": 3, "consistency_weight": 1.0},
        refused=(*NO_WIDTHS, {"dim": 0}, {"consistency_weight": -0.5}),
    ),
    Case(
        loss=losses.EGA,
        settings=WIDTHS,
        shapes=EMBEDDINGS,
        others={"student_dim": 7, "teacher_dim": 7, "node_weight": 2.0, "edge_weight": 0.0},
        refused=(*NO_WIDTHS, *LONE_WIDTHS, {"node_weight": -1.0}, {"edge_weight": -1.0}),
    ),
    Case(loss=losses.EGA, name="one-width", shapes=NARROW),
    Case(
        loss=losses.ITRD,
        settings=WIDTHS,
        shapes=EMBEDDINGS,
        others={
            "student_dim": 7,
            "teacher_dim": 7,
            "alpha": 1.01,
            "correlation_weight": 1.0,
            "mutual_weight": 1.0,
        },
        refused=(
            *NO_WIDTHS,
            {"alpha": 0.0},
            {"correlation_weight": -1.0},
            {"mutual_weight": -1.0},
            {"correlation_weight": 0.0, "mutual_weight": 0.0},
        ),
    ),
    Case(
        loss=losses.VkD,
        settings=WIDTHS,
        shapes=EMBEDDINGS,
        others={"student_dim": 7, "teacher_dim": 7, "normalisation": "whiten"},
        refused=(*NO_WIDTHS, {"normalisation": "batch"}),
    ),
    Case(
        loss=losses.VkD,
        name="widens-whitened",
        settings={"student_dim": 3, "teacher_dim": 5, "normalisation": "whiten"},
        shapes={"student": (3,), "teacher": (5,)},
    ),
    _crd(
        settings=_CRD,
        others={
            "student_dim": 7,
            "teacher_dim": 7,
            "num_samples": SAMPLES + 10,
            "labels": _LABELS,
            "dim": 3,
            "negatives": 7,
            "temperature": 0.1,
            "momentum": 0.9,
            "seed": 3,
        },
        refused=(
            *NO_WIDTHS,
            {"num_samples": 6},
            {"labels": _LABELS[1:]},
            {"labels": _LABELS.float()},
            {"labels": torch.zeros_like(_LABELS)},
            {"labels": _LABELS, "negatives": 21},
            {"dim": 0},
            {"negatives": 0},
            {"negatives": SAMPLES},
            {"temperature": 0.0},
            {"momentum": -0.1},
            {"momentum": 1.0},
            {"seed": -1},
            {"seed": 2**31},
        ),
    ),
    _crd(name="classes", settings={**_CRD, "labels": _LABELS, "negatives": 20}),
)
