"""How often a network is right, and how often it says what its teacher says.

Whole numbers are counted, on the device of the logits, so percentages are exact whatever that is.
"""

import torch
from torch import Tensor

from relatum.types import Fault, Labels, Logits


def accuracy(logits: Logits, labels: Labels) -> dict[str, float]:
    """How many samples have their class on top, and among the five on top, in percent.

    A row that holds NaN counts as wrong, not as class 0.

    Args:
        logits: a score for each sample and class.
        labels: the class of each sample, from 0.

    Returns:
        ``top1``, and ``top5`` where there are more than five classes.

    Raises:
        Fault: the shapes do not fit, or a label has no logit.

    Example:
        >>> import torch
        >>> accuracy(torch.tensor([[2.0, 1.0], [2.0, 1.0]]), torch.tensor([0, 1]))
        {'top1': 50.0}
    """
    _check_logits(logits)
    if labels.shape != logits.shape[:1] or not len(labels):
        raise Fault(f"wanted {len(logits)} labels (at least one), came {list(labels.shape)}")
    classes = logits.shape[1]
    labels_N1 = labels.to(logits.device)[:, None]
    best = logits.topk(min(classes, 5), dim=1).indices
    hits = (best == labels_N1) & ~logits.isnan().any(dim=1, keepdim=True)
    asked = (labels_N1.min(), labels_N1.max(), hits[:, 0].sum(), hits.any(dim=1).sum())
    least, most, first, five = torch.stack(asked).tolist()  # the device is waited for once
    if least < 0 or most >= classes:
        raise Fault(
            f"labels go from {least} to {most}, the logits have {classes} classes; give the"
            " network a head for this set"
        )
    result = {"top1": 100 * first / len(labels)}
    if classes > 5:
        result["top5"] = 100 * five / len(labels)
    return result


def agreement(student: Logits, teacher: Logits) -> float:
    """How many samples the two networks put into the same class, right or wrong, in percent.

    Also known as fidelity (Stanton et al., "Does Knowledge Distillation Really Work?", 2021).
    A sample whose logits hold NaN counts as a disagreement.

    Raises:
        Fault: the networks were not asked about the same samples and classes.

    Example:
        >>> import torch
        >>> teacher = torch.tensor([[9.0, 1.0], [9.0, 1.0]])
        >>> agreement(torch.tensor([[2.0, 1.0], [0.0, 1.0]]), teacher)
        50.0
    """
    _check_logits(student)
    if student.shape != teacher.shape or not len(student):
        raise Fault(
            "wanted the student's and the teacher's logits for the same samples and classes, came"
            f" {list(student.shape)} and {list(teacher.shape)}"
        )
    teacher = teacher.to(student.device)
    known = ~(student.isnan() | teacher.isnan()).any(dim=1)
    hits = (student.argmax(dim=1) == teacher.argmax(dim=1)) & known
    return 100 * int(hits.sum()) / len(hits)


def kept(student: float, teacher: float) -> float:
    r"""The share of the teacher's performance that the student keeps, in percent.

    :math:`100 \, a_S / a_T`, for two accuracies in the same unit: what the abstract of RRKD
    (Ramos, Alampay, Abu 2023) gives as 91.92 % on MNIST. More than 100 when the student is better.

    Raises:
        Fault: the teacher's accuracy is not above zero.

    Example:
        >>> kept(45.0, 90.0)
        50.0
    """
    if not teacher > 0:
        raise Fault(f"wanted a teacher's accuracy above zero, came {teacher}")
    return 100 * student / teacher


def _check_logits(logits: Tensor) -> None:
    if logits.ndim != 2:
        raise Fault(
            f"wanted logits of samples by classes, came {list(logits.shape)}; a network without"
            " classes is judged by linear_probe or knn"
        )
