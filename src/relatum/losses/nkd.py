"""NKD, normalised knowledge distillation (Yang et al., ICCV 2023, arXiv 2303.13005)."""

import torch.nn.functional as F
from torch import nn

from relatum.divergences import check_temperature, cross_entropy
from relatum.losses.target import labelled, others, own
from relatum.precision import exact
from relatum.types import Fault, Labels, Logits, Scalar


class NKD(nn.Module):
    r"""Learn the label as surely as the teacher does, and the order of the other classes.

    .. math::
        \mathcal L = -p^t_y \log p^s_y
        - \gamma T^2 \sum_{c \ne y} \hat p^t_c \log \hat p^s_c

    means over the batch, with p the soft-max at temperature 1 and :math:`\hat p` that over the
    classes that are not the label, at temperature T: normalised, so that the two networks' sums
    agree. Cross-entropies, whose least value is not zero; the
    ordinary cross-entropy with the labels is added beside it.

    Equal to the authors' code (yzd-v/cls_KD), which the temperature does not reach in the first
    term either. (The copy in SDD's code keeps the label among the others.)

    Args:
        gamma: weight of the other classes; 1.5 as published for ImageNet. The authors' setting
            for CIFAR-100 is 3.5 at temperature 3.
        temperature: T > 0 of the other classes; 1 likewise.

    Raises:
        Fault: a negative weight, or a temperature that is not positive.

    Example:
        >>> import torch
        >>> student, teacher = torch.randn(8, 10), torch.randn(8, 10)
        >>> loss = NKD()(student, teacher, labels=torch.arange(8))
        >>> bool(loss > 0)
        True
    """

    def __init__(self, gamma: float = 1.5, temperature: float = 1.0) -> None:
        super().__init__()
        if not gamma >= 0:
            raise Fault(f"NKD: gamma must not be negative, got {gamma}")
        check_temperature(temperature, "NKD")
        self.gamma = gamma
        self.temperature = temperature

    def extra_repr(self) -> str:
        """Its settings."""
        return f"gamma={self.gamma}, temperature={self.temperature}"

    @exact
    def forward(self, student: Logits, teacher: Logits, labels: Labels) -> Scalar:
        """Logits (B, classes) of both networks and labels (B,) to a scalar.

        Raises:
            Fault: the shapes differ, or there is one class only.
        """
        labelled("NKD", student, teacher, labels)
        teacher, warmth = teacher.detach(), self.temperature
        sureness = own(F.softmax(teacher, dim=1), labels)
        target = -(sureness * own(F.log_softmax(student, dim=1), labels)).mean()
        rest = cross_entropy(others(student, labels) / warmth, others(teacher, labels) / warmth)
        return target + self.gamma * warmth**2 * rest
