"""The named methods: which losses, on which taps, with the papers' weights.

A method is a function from a ``Setting`` to its stages. To add one: its loss, a line in
``losses/__init__.py``, a function and its name here, and its test.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Size

from relatum.losses import KD, LP, PKT, RKD, RRD, RRKD, SP, CrossEntropy, Reconstruction
from relatum.objective import Objective, On, Term
from relatum.types import Fault, Shapes

Says = Literal["logits", "embedding", "reconstruction"]
TASK = "ce"
"""What cross-entropy with the labels is called, in objectives and on the command line."""


@dataclass(frozen=True)
class Setting:
    """What may be asked of a pair of networks on a set, before anything is trained.

    Attributes:
        student: shapes of its output and taps on a dry batch.
        teacher: likewise; ``None`` where there is no teacher.
        student_says: what its output is.
        teacher_says: likewise.
        samples: how many the student is trained on.
        classes: how many the labels tell apart; ``None`` where there are no labels.
        same_classes: whether the teacher's logits mean the student's classes, as far as known.
        on: the tap that the terms shall read instead of their usual one.
    """

    student: Shapes
    teacher: Shapes | None
    student_says: Says
    teacher_says: Says | None
    samples: int
    classes: int | None
    same_classes: bool = True
    on: On | None = None

    def tap(self, usual: str, otherwise: str | None = None) -> On:
        """The tap to read: the one asked for, or the usual one, or else another.

        Raises:
            Fault: one of the networks has none of them.
        """
        wanted = [self.on] if self.on is not None else [usual, *([otherwise] if otherwise else [])]
        for on in wanted:
            names = {on} if isinstance(on, str) else set(on)
            if all(names <= set(each) for each in self._pair()):
                return on
        lists = " and ".join(", ".join(sorted(each)) for each in self._pair())
        raise Fault(f"both networks need the tap {wanted[0]!r}; they have {lists}")

    def layer(self, usual: str) -> On:
        """As ``tap``, for a loss that reads one layer.

        Raises:
            Fault: likewise, or the tap gives several.
        """
        on = self.tap(usual)
        self.widths(on)
        return on

    def widths(self, on: On) -> tuple[int, int]:
        """Width of the student's and of the teacher's value there, behind the batch."""
        student, teacher = (Size(size[1:]).numel() for size in self.sizes(on))
        return student, teacher

    def sizes(self, on: On) -> list[Size]:
        """Shape of the student's and of the teacher's value there.

        Raises:
            Fault: there are several layers.
        """
        if not isinstance(on, str):
            raise Fault(f"this loss reads one tap, got {', '.join(on)}")
        sizes = [each[on] for each in self._pair()]
        if not all(isinstance(size, Size) for size in sizes):
            raise Fault(f"this loss reads one layer, and the tap {on!r} has several")
        return sizes  # type: ignore[return-value]

    def _pair(self) -> tuple[Shapes, Shapes]:
        if self.teacher is None:
            raise Fault("this method learns from a teacher, but there is none")
        return self.student, self.teacher

    @property
    def supervised(self) -> bool:
        """Whether cross-entropy with the labels is to be had."""
        return self.classes is not None and self.student_says == "logits"

    @property
    def shares_classes(self) -> bool:
        """Whether both networks put out logits over the same classes."""
        return (
            self.student_says == self.teacher_says == "logits"
            and self.teacher is not None
            and self.student["output"] == self.teacher["output"]
            and self.student["output"] != (self.student["output"][0], 1)
            and self.same_classes
        )


@dataclass(frozen=True)
class Stage:
    """A part of a training: what is minimised, and for how long.

    Attributes:
        objective: the terms.
        epochs: how many, or ``None`` for the recipe's.
    """

    objective: Objective
    epochs: int | None = None


Method = Callable[[Setting], tuple[Stage, ...]]


def none(setting: Setting) -> tuple[Stage, ...]:
    """The student alone: cross-entropy, or reconstruction for an auto-encoder."""
    if setting.supervised:
        return (Stage(Objective(**task(setting))),)
    if setting.student_says == "reconstruction":
        return (Stage(Objective(reconstruction=Term(Reconstruction()))),)
    raise Fault(
        "a student alone learns from labels or by reconstruction: this set has no labels to use"
        " and the student is no auto-encoder; choose a method that learns from a teacher"
    )


def kd(setting: Setting) -> tuple[Stage, ...]:
    """Soft targets: 0.1 · cross-entropy + 0.9 · KD at temperature 4 (RepDistiller)."""
    if setting.on is None and not setting.shares_classes:
        raise Fault(
            "kd compares logits over the same classes: here the student gives"
            f" {_said(setting.student_says, setting.student)} and the teacher"
            f" {_said(setting.teacher_says, setting.teacher)}"
            f"{'' if setting.same_classes else ' of other classes'}"
        )
    terms = {"kd": Term(KD(), on=setting.layer("output"), weight=0.9)}
    return _distil(setting, terms, task_weight=0.1)


def sp(setting: Setting) -> tuple[Stage, ...]:
    """SP: weight 3000 on the last feature map (RepDistiller), or on the embedding without one."""
    return _distil(setting, {"sp": Term(SP(), on=setting.tap("maps", "embedding"), weight=3000.0)})


def rrkd(setting: Setting) -> tuple[Stage, ...]:
    """RRKD: weight 1 on the embedding (the authors' notebook)."""
    return _distil(setting, {"rrkd": Term(RRKD(), on=setting.layer("embedding"))})


def rrd(setting: Setting) -> tuple[Stage, ...]:
    """RRD as its code has it since 2025: weight 1, teacher sharper, enqueue before."""
    return _distil(setting, {"rrd": _rrd("2025", setting)})


def rrd_2024(setting: Setting) -> tuple[Stage, ...]:
    """RRD as in all published tables: weight 1, student sharper, enqueue after."""
    return _distil(setting, {"rrd-2024": _rrd("2024", setting)})


def lp(setting: Setting) -> tuple[Stage, ...]:
    """LP: weight 1.5 on the embedding + 2 · KD at temperature 1 (the rrkd notebook).

    Mended: sigma is the median distance to a neighbour, for the notebook's 1 makes the loss
    vanish on wide features; and the mean over the batch is taken, for its sum, once it does
    not vanish, drives the student to a constant.
    """
    loss = LP(sigma="median", batch_invariant=True)
    terms = {"lp": Term(loss, on=setting.layer("embedding"), weight=1.5)}
    if setting.shares_classes:
        terms["soft"] = Term(KD(temperature=1.0), weight=2.0)
    return _distil(setting, terms)


def rkd(setting: Setting) -> tuple[Stage, ...]:
    """RKD: 25 · distances + 50 · angles on the embedding (RepDistiller)."""
    return _distil(setting, {"rkd": Term(RKD(), on=setting.layer("embedding"))})


def pkt(setting: Setting) -> tuple[Stage, ...]:
    """PKT: weight 30,000 on the embedding (RepDistiller)."""
    return _distil(setting, {"pkt": Term(PKT(), on=setting.layer("embedding"), weight=30000.0)})


METHODS: dict[str, Method] = {
    "none": none,
    "kd": kd,
    "sp": sp,
    "rrkd": rrkd,
    "rrd": rrd,
    "rrd-2024": rrd_2024,
    "lp": lp,
    "rkd": rkd,
    "pkt": pkt,
}


def task(setting: Setting, weight: float = 1.0) -> dict[str, Term]:
    """Cross-entropy at a weight, or nothing where there are no labels or no logits."""
    return {TASK: Term(CrossEntropy(), weight=weight)} if setting.supervised else {}


def _distil(
    setting: Setting, terms: dict[str, Term], task_weight: float = 1.0
) -> tuple[Stage, ...]:
    return (Stage(Objective(**task(setting, task_weight), **terms)),)


def _rrd(year: str, setting: Setting) -> Term:
    on = setting.layer("embedding")
    if any(len(each) != 2 for each in setting.sizes(on)):
        raise Fault(f"rrd projects vectors, and {on!r} gives maps; choose another tap (rrd@TAP)")
    # 16,384 of CIFAR's 50,000: a queue that outlives an epoch holds samples twice
    size = min(16384, max(setting.samples // 3, 1))
    return Term(RRD.preset(year, *setting.widths(on), queue_size=size), on=on)


def _said(says: str | None, shapes: Shapes | None) -> str:
    if says is None or shapes is None:
        return "nothing"
    size = shapes["output"]
    return {
        "logits": f"{size[-1]} logits",
        "reconstruction": "a reconstruction",
        "embedding": "an embedding",
    }[says]
