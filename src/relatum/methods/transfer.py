"""What a trained network's features are worth on other images: its classifier learns anew."""

from relatum.discovery import find_classifier
from relatum.losses import CrossEntropy
from relatum.methods.method import Method
from relatum.methods.setting import Setting
from relatum.methods.stage import Stage, task
from relatum.objective import Objective
from relatum.types import Fault


def linear(setting: Setting) -> tuple[Stage, ...]:
    """The classifier alone, on frozen features: nothing else of the student changes by a bit.

    Cross-entropy, in the way of CRD's transfer to STL-10 and Tiny-ImageNet, with the rest of the
    student at rest: its BatchNorm keeps the statistics that it was distilled with, its dropout is
    off. That differs from the published code (giakoumoglou/distillers ``transfer_student.py``),
    which is ``linear-drifting``; numbers of the two are not comparable.
    """
    return _linear("linear", setting, drifting=False)


def linear_drifting(setting: Setting) -> tuple[Stage, ...]:
    """As ``linear``, but BatchNorm drifts to the new images, as in the published code.

    Its whole network is in training mode: features are normalised by the statistics of their
    batch, and the running ones move to the new set, so that they are frozen in name only.
    """
    return _linear("linear-drifting", setting, drifting=True)


def _linear(name: str, setting: Setting, *, drifting: bool) -> tuple[Stage, ...]:
    if not setting.supervised:
        raise Fault(f"{name} trains a classifier: it needs labels, and a student with logits")
    student = setting.student_network
    path = None if student is None else find_classifier(student.network, student.taps)
    if path is None:
        raise Fault(
            f"{name} trains the linear layer that reads the embedding, and this student does not"
            " end in one"
        )
    return (Stage(Objective(**task(setting)), only=(path,), drifting=drifting),)


_CRD = "Tian et al., ICLR 2020, arXiv 1910.10699"

TRANSFER: dict[str, Method] = {
    "linear": Method(linear, CrossEntropy, "task", 2020, _CRD),
    "linear-drifting": Method(linear_drifting, CrossEntropy, "task", 2020, _CRD),
}
