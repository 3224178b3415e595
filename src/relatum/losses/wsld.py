"""WSLD, weighted soft labels (Zhou et al., ICLR 2021, arXiv 2102.00650)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relatum.divergences import check_temperature
from relatum.losses.target import labelled, own
from relatum.precision import exact
from relatum.types import Labels, Logits, Scalar


class WSLD(nn.Module):
    r"""Soft targets, heeded less for samples on which the student already beats the teacher.

    .. math::
        \mathcal L = \frac{T^2}{B} \sum_i w_i \, H(\sigma(z^t_i / T), \sigma(z^s_i / T)),
        \qquad w_i = 1 - \exp\Bigl(- \frac{\ell^s_i}{\ell^t_i + 10^{-7}}\Bigr)

    with :math:`\ell` the cross-entropies with the labels at
    temperature 1; no gradient passes the weights. H is a cross-entropy, not a divergence: it
    keeps the teacher's entropy, so its least value is not zero. This is the soft part alone, to
    which the authors add cross-entropy with weight 1.

    Equal to the authors' code and to that of cls_KD. (giakoumoglou/distillers reads T from the
    option of another method: 0.07.)

    Args:
        temperature: T > 0; 4 as for CIFAR-100 in cls_KD, at weight 2.25; the authors' ImageNet
            setting is 2, at weight 2.5.

    Raises:
        Fault: a temperature that is not positive.

    Example:
        >>> student, teacher = torch.randn(8, 10), torch.randn(8, 10)
        >>> loss = WSLD()(student, teacher, labels=torch.arange(8))
        >>> bool(loss > 0)
        True
    """

    def __init__(self, temperature: float = 4.0) -> None:
        super().__init__()
        check_temperature(temperature, "WSLD")
        self.temperature = temperature

    def extra_repr(self) -> str:
        """Its setting."""
        return f"temperature={self.temperature}"

    @exact
    def forward(self, student: Logits, teacher: Logits, labels: Labels) -> Scalar:
        """Logits (B, classes) of both networks and labels (B,) to a scalar.

        Raises:
            Fault: the shapes differ, or there is one class only.
        """
        labelled("WSLD", student, teacher, labels)
        teacher, warmth = teacher.detach(), self.temperature
        target_BC = F.softmax(teacher / warmth, dim=1)
        soft_B = -(target_BC * F.log_softmax(student / warmth, dim=1)).sum(1)
        ratio_B = _hard(student.detach(), labels) / (_hard(teacher, labels) + 1e-7)
        return warmth**2 * (-torch.expm1(-ratio_B) * soft_B).mean()


def _hard(logits: Logits, labels: Labels) -> Tensor:
    return -own(F.log_softmax(logits, dim=1), labels)
