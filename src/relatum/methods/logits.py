"""Methods on the labels and on what the networks put out."""

from relatum.losses import KD, Reconstruction
from relatum.methods.setting import Setting, Stage, distil, task
from relatum.objective import Objective, Term
from relatum.types import Fault


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
    terms = {"kd": Term(KD(), on=setting.logits("kd"), weight=0.9)}
    return distil(setting, terms, task_weight=0.1)
