"""The losses on what the two networks say of the same classes."""

from functools import partial

from relatum import losses
from tests.losses.contract import LOGITS, Case, Shape

LABELLED: dict[str, Shape] = {**LOGITS, "labels": ()}
NOT_POSITIVE = ({"temperature": 0.0}, {"temperature": -1.0}, {"temperature": float("nan")})
NO_LOSS: tuple[dict[str, object], ...] = (
    {"loss": "kd"},
    {"loss": losses.CrossEntropy()},
    {"loss": losses.RRKD},
)
REVERSED = "the gradient of the temperature is reversed: it ascends where the student descends"
RAMP = "the ramp acts through at(progress), which nobody calls here; test_ctkd.py has it"
DETACHED = "no gradient passes the weights of the samples"

_mlkd = partial(Case, loss=losses.MLKD, shapes=LOGITS, zero=True)
_skd = partial(Case, loss=losses.SKD, shapes=LOGITS, zero=True)
_ctkd = partial(
    Case,
    loss=losses.CTKD,
    zero=True,
    others={"loss": losses.DIST(), "lowest": 2.0, "span": 5.0, "ramp": 0.0},
)

CASES: tuple[Case, ...] = (
    Case(
        loss=losses.DKD,
        shapes=LABELLED,
        others={"alpha": 2.0, "beta": 2.0, "temperature": 2.0},
        refused=(*NOT_POSITIVE, {"alpha": -1.0}, {"beta": -1.0}),
        zero=True,
    ),
    Case(
        loss=losses.RLD,
        shapes=LABELLED,
        others={"alpha": 2.0, "beta": 2.0, "temperature": 2.0, "confidence_temperature": 2.0},
        refused=(
            *NOT_POSITIVE,
            {"confidence_temperature": 0.0},
            {"alpha": -1.0},
            {"beta": -1.0},
        ),
    ),
    Case(
        loss=losses.NKD,
        shapes=LABELLED,
        others={"gamma": 1.0, "temperature": 2.0},
        refused=(*NOT_POSITIVE, {"gamma": -1.0}),
    ),
    Case(
        loss=losses.WSLD,
        shapes=LABELLED,
        others={"temperature": 2.0},
        refused=NOT_POSITIVE,
        excused={"gradcheck": DETACHED},
    ),
    Case(
        loss=losses.DIST,
        shapes=LOGITS,
        others={"beta": 2.0, "gamma": 2.0, "temperature": 2.0},
        refused=(*NOT_POSITIVE, {"beta": -1.0}, {"gamma": -1.0}),
    ),
    _mlkd(
        others={"term": "batch", "temperature": 4.0, "mask": "scalar"},
        refused=(
            *NOT_POSITIVE,
            {"temperature": ()},
            {"temperature": (1.0, 0.0)},
            {"term": "samples"},
            {"mask": "rows"},
        ),
    ),
    _mlkd(name="instance", settings={"term": "instance", "temperature": (1.0, 4.0)}),
    _mlkd(name="batch", settings={"term": "batch", "temperature": 1.0}),
    _mlkd(name="class", settings={"term": "class", "temperature": 1.0}),
    _mlkd(name="scalar", settings={"mask": "scalar"}),
    _skd(
        others={"term": "direction", "temperature": 2.0, "tikhonov": 1.0, "mask": "scalar"},
        refused=(
            *NOT_POSITIVE,
            {"tikhonov": 0.0},
            {"tikhonov": -0.1},
            {"term": "batch"},
            {"mask": "rows"},
        ),
    ),
    _skd(name="direction", settings={"term": "direction"}),
    _skd(name="instance", settings={"term": "instance"}),
    _skd(name="scalar", settings={"mask": "scalar"}),
    Case(
        loss=losses.TTM,
        shapes=LOGITS,
        others={"gamma": 0.5},
        refused=({"gamma": 0.0}, {"gamma": -1.0}),
    ),
    Case(
        loss=losses.WTTM,
        shapes=LOGITS,
        others={"gamma": 0.5},
        refused=({"gamma": 0.0}, {"gamma": -1.0}),
    ),
    Case(
        loss=losses.LumiNet,
        shapes=LOGITS,
        others={"temperature": 2.0},
        refused=NOT_POSITIVE,
        zero=True,
    ),
    Case(
        loss=losses.LSKD,
        shapes=LOGITS,
        others={"temperature": 3.0, "loss": losses.TTM()},
        refused=(*NOT_POSITIVE, *NO_LOSS, {"temperature": 2.0, "loss": losses.KD()}),
        zero=True,
    ),
    Case(
        loss=losses.LSKD,
        name="dkd",
        settings={"loss": losses.DKD()},
        shapes=LABELLED,
        zero=True,
    ),
    Case(
        loss=losses.LSKD,
        name="mlkd",
        settings={"loss": losses.MLKD()},
        shapes=LOGITS,
        zero=True,
    ),
    _ctkd(
        shapes=LOGITS,
        refused=(
            *NO_LOSS,
            {"loss": losses.LSKD()},
            {"loss": losses.CTKD()},
            {"loss": losses.TTM()},
            {"lowest": 0.0},
            {"span": 0.0},
            {"ramp": -0.1},
            {"ramp": 1.1},
        ),
        excused={"gradcheck": REVERSED, "every_argument_counts": RAMP},
    ),
    _ctkd(
        name="dkd",
        settings={"loss": losses.DKD()},
        shapes=LABELLED,
        excused={"gradcheck": REVERSED, "every_argument_counts": RAMP},
    ),
)
