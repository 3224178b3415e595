"""Logits seen from the labels: what says the label's own class, and what says the others."""

import torch
from torch import Tensor

from relatum.divergences import same
from relatum.types import Fault, Labels, Logits


def labelled(name: str, student: Logits, teacher: Logits, labels: Labels) -> None:
    """Refuse logits and labels that do not belong together, or that tell no classes apart."""
    same(student, teacher)
    if labels.shape != student.shape[:1]:
        raise Fault(
            f"{name}: {len(student)} rows of logits need as many labels, each the number of a"
            f" class; got labels of shape {tuple(labels.shape)}"
        )
    if student.shape[1] < 2:
        raise Fault(f"{name} tells the label's class from the others, and there is but one class")


def own(logits: Logits, labels: Labels) -> Tensor:
    """What each row says of its label: one number a row."""
    return logits.gather(1, labels[:, None]).squeeze(1)


def others(logits: Logits, labels: Labels) -> Tensor:
    """What each row says of the classes that are not its label, in order: (B, classes - 1).

    They are picked, not masked: a large constant subtracted from the label's logit leaves it in
    the soft-max of logits as large, and minus infinity makes its gradient not a number.
    """
    places = torch.arange(logits.shape[1] - 1, device=logits.device)
    return logits.gather(1, places + (places >= labels[:, None]))
