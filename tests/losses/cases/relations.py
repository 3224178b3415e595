"""The losses of the three papers, of what they are closest to, and of the student's own task."""

from functools import partial

from relatum import losses
from tests.losses.contract import (
    ANCHORED,
    CLASSES,
    EMBEDDINGS,
    LOGITS,
    MAPS,
    STAGES,
    Case,
)

_rrd = partial(Case, loss=losses.RRD, shapes=EMBEDDINGS)
_DRAWN = "triplets are drawn by the samples' places in the batch"
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
    Case(
        loss=losses.RKDAngle,
        name="triplets",
        settings={"triplets": 16, "seed": 1},
        shapes=EMBEDDINGS,
        others={"triplets": 12, "seed": 2},
        refused=(
            {"triplets": 0},
            {"triplets": 2.5},
            {"triplets": None},
            {"seed": -1},
            {"seed": 2**31},
        ),
        zero=True,
        excused={"order_of_the_batch_does_not_matter": _DRAWN},
    ),
    Case(
        loss=losses.RKD,
        name="triplets",
        settings={"triplets": 16, "seed": 1},
        shapes=EMBEDDINGS,
        others={"triplets": 12, "seed": 2},
        refused=({"triplets": 0}, {"triplets": None}, {"seed": -1}),
        zero=True,
        excused={"order_of_the_batch_does_not_matter": _DRAWN},
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
