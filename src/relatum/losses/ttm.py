"""TTM and WTTM, transformed teacher matching (Zheng & Yang, ICLR 2024, arXiv 2402.11148)."""

import torch.nn.functional as F
from torch import nn

from relatum.divergences import kl, same
from relatum.precision import exact
from relatum.types import Fault, Logits, Scalar


class TTM(nn.Module):
    r"""Match the softened teacher with the student as it is: only the teacher has a temperature.

    .. math::
        \mathcal L = \mathrm{KL}(q \,\|\, p^s),
        \qquad q_c = \frac{(p^t_c)^\gamma}{\sum_k (p^t_k)^\gamma}

    the mean over the batch; p are soft-maxes at temperature 1, so q is the teacher's at
    temperature :math:`T = 1/\gamma`. It is KD at T with the student's Rényi entropy of order
    :math:`\gamma` as a reward (equation 15 of the paper). No factor :math:`T^2`; its least
    value is zero, where the student equals q.

    Equal to the authors' code (zkxufo/TTM), but the power is taken of the logits, so that
    probabilities that underflow do no harm.

    Args:
        gamma: the exponent, one over the teacher's temperature; 0.1 as in the authors' example
            (vgg13 → vgg8, at weight 45). They tune both for each pair (the paper's tables 8 to
            10).

    Raises:
        Fault: an exponent that is not positive.

    Example:
        >>> import torch
        >>> bool(TTM()(torch.randn(8, 10), torch.randn(8, 10)) > 0)
        True
    """

    def __init__(self, gamma: float = 0.1) -> None:
        super().__init__()
        if not gamma > 0:
            raise Fault(f"{type(self).__name__}: gamma must be positive, got {gamma}")
        self.gamma = gamma

    def extra_repr(self) -> str:
        """Its setting."""
        return f"gamma={self.gamma}"

    @exact
    def forward(self, student: Logits, teacher: Logits) -> Scalar:
        """Logits (B, classes) of both networks to a scalar.

        Raises:
            Fault: the shapes differ.
        """
        return kl(student, self.gamma * teacher.detach())


class WTTM(TTM):
    r"""TTM that heeds most the samples of which the teacher is least sure.

    .. math::
        \mathcal L = \frac1B \sum_i U_i \, \mathrm{KL}(q_i \,\|\, p^s_i),
        \qquad U_i = \sum_c (p^t_{ic})^\gamma

    so U is 1 for a certain teacher and :math:`C^{1 - \gamma}` for one
    that knows nothing. Equal to the authors' code (zkxufo/TTM) as TTM is.

    Args:
        gamma: as in TTM; 0.1 as published for vgg13 → vgg8, at weight 2.25.

    Raises:
        Fault: an exponent that is not positive.

    Example:
        >>> import torch
        >>> bool(WTTM()(torch.randn(8, 10), torch.randn(8, 10)) > 0)
        True
    """

    @exact
    def forward(self, student: Logits, teacher: Logits) -> Scalar:
        """Logits (B, classes) of both networks to a scalar.

        Raises:
            Fault: the shapes differ.
        """
        same(student, teacher)
        power_BC = self.gamma * F.log_softmax(teacher.detach(), dim=1)
        target_BC = F.log_softmax(power_BC, dim=1)
        divergence_BC = F.kl_div(
            F.log_softmax(student, dim=1), target_BC, reduction="none", log_target=True
        )
        return (power_BC.logsumexp(1).exp() * divergence_BC.sum(1)).mean()
